//! Identifiers: parsed once at the edge, never bare strings.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::random::Randomness;

/// Why a text is not an identifier; says what was expected, never what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct IdError {
    /// What a right text looks like.
    pub expected: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $is_valid:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn check(text: &str) -> Result<(), IdError> {
                let is_valid: fn(&str) -> bool = $is_valid;
                is_valid(text).then_some(()).ok_or(IdError { expected: $expected })
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A customer of the operator: `t-` and 26 characters, or `operator` for the operator's own account.
    TenantId,
    |text| text == OPERATOR || has_form(text, "t-"),
    "a tenant's id: t- and 26 letters or digits"
);

text_id!(
    /// One AWS account that a tenant connects: `i-` and 26 characters; also the last part of its event endpoint's path.
    IntegrationId,
    |text| text == OPERATOR || has_form(text, "i-"),
    "an integration's id: i- and 26 letters or digits"
);

text_id!(
    /// What a tenant's trust policy demands: made by Portwarden, never by a person, and unique for ever.
    ///
    /// AWS allows 2 to 1,224 characters of `[\w+=,.@:/-]`.
    ExternalId,
    |text| has_form(text, "pw-")
        || text.strip_prefix("pw-").is_some_and(|uuid| {
            // The operator's own, made from its stack's id.
            uuid.len() == 36 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        }),
    "an ExternalId that Portwarden made"
);

text_id!(
    /// The id that EventBridge gave an event; a redelivery keeps it.
    EventId,
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:.".contains(&b)),
    "an event's id: up to 128 letters, digits, hyphens, underscores, colons and periods"
);

text_id!(
    /// An AWS account: 12 digits.
    AccountId,
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()),
    "an AWS account: 12 digits"
);

text_id!(
    /// An AWS region, such as `eu-central-1`.
    Region,
    |text| {
        let mut parts = text.rsplit('-');
        let number = parts.next().unwrap_or_default();
        let words: Vec<&str> = parts.collect();
        text.len() <= 32
            && (1..=2).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
            && words.len() >= 2
            && words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
    },
    "an AWS region, such as eu-central-1"
);

text_id!(
    /// One piece of work of ours, from the event to the report; also part of the session names that tenants see.
    RequestId,
    |text| has_form(text, ""),
    "a request's id: 26 letters or digits"
);

text_id!(
    /// Somebody whom an issuer of tokens names: `p-` and 26 characters, the same for the same issuer and subject.
    PersonId,
    |text| has_form(text, "p-"),
    "a person's id: p- and 26 letters or digits"
);

text_id!(
    /// A key of a tenant's for the API: `k-` and 26 characters.
    ApiKeyId,
    |text| has_form(text, "k-"),
    "an API key's id: k- and 26 letters or digits"
);

text_id!(
    /// Something that a tenant is told: `n-` and 26 characters, which sort the newest first.
    NotificationId,
    |text| has_form(text, "n-"),
    "a notification's id: n- and 26 letters or digits"
);

text_id!(
    /// A tenant's webhook: `w-` and 26 characters.
    WebhookId,
    |text| has_form(text, "w-"),
    "a webhook's id: w- and 26 letters or digits"
);

const OPERATOR: &str = "operator";

/// Crockford's base 32 in lower case: no letter that is mistaken for another.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// How many characters of 5 bits a random part has: 130 bits.
const RANDOM_CHARACTERS: usize = 26;

/// Which bytes the alphabet has: ids are read all the time.
const IS_OF_ALPHABET: [bool; 256] = {
    let mut is_of = [false; 256];
    let mut place = 0;
    while place < ALPHABET.len() {
        is_of[ALPHABET[place] as usize] = true;
        place += 1;
    }
    is_of
};

fn has_form(text: &str, prefix: &str) -> bool {
    let is_of_alphabet = |byte: u8| IS_OF_ALPHABET[usize::from(byte)];
    text.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == RANDOM_CHARACTERS && rest.bytes().all(is_of_alphabet))
}

pub(crate) fn random_text(randomness: &dyn Randomness, characters: usize) -> String {
    let mut bytes = vec![0; characters];
    randomness.fill(&mut bytes);
    text_of(&bytes)
}

/// Writes 5 bits of each byte.
fn text_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
        .collect()
}

impl TenantId {
    /// Makes a new id.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self(format!("t-{}", random_text(randomness, RANDOM_CHARACTERS)))
    }

    /// Returns the reserved tenant that owns the operator's own account.
    pub fn operator() -> Self {
        Self(OPERATOR.to_owned())
    }
}

impl IntegrationId {
    /// Makes a new id.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self(format!("i-{}", random_text(randomness, RANDOM_CHARACTERS)))
    }

    /// Returns the reserved integration of the operator's own account.
    pub fn operator() -> Self {
        Self(OPERATOR.to_owned())
    }
}

impl PersonId {
    /// Takes the first bytes of a hash of what names a person.
    pub(crate) fn of_hash(hash: &[u8]) -> Self {
        Self(format!("p-{}", text_of(&hash[..RANDOM_CHARACTERS])))
    }
}

impl ApiKeyId {
    /// Makes a new id.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self(format!("k-{}", random_text(randomness, RANDOM_CHARACTERS)))
    }
}

impl NotificationId {
    /// Makes the id of what happened at a time, from what tells it from everything else: the same id each time.
    pub fn of(at: Timestamp, parts: &[&str]) -> Self {
        // 45 bits of milliseconds last until the year 3084; counted backwards, since lists are read in ascending order.
        const TIME_CHARACTERS: usize = 9;
        let backwards = (1_i64 << 45) - 1 - at.as_millisecond().clamp(0, (1 << 45) - 1);
        let five_bits = |index: usize| {
            u8::try_from(backwards >> (5 * (TIME_CHARACTERS - 1 - index)) & 31).unwrap_or_default()
        };
        let time: Vec<u8> = (0..TIME_CHARACTERS).map(five_bits).collect();
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let rest = &hash.finalize()[..RANDOM_CHARACTERS - TIME_CHARACTERS];
        Self(format!("n-{}{}", text_of(&time), text_of(rest)))
    }
}

impl WebhookId {
    /// Makes a new id.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self(format!("w-{}", random_text(randomness, RANDOM_CHARACTERS)))
    }
}

impl ExternalId {
    /// Makes a new id of 130 random bits.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self(format!("pw-{}", random_text(randomness, RANDOM_CHARACTERS)))
    }
}

impl RequestId {
    /// Makes a new id.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self(random_text(randomness, RANDOM_CHARACTERS))
    }
}

impl Region {
    /// Returns the AWS partition that the region lies in.
    pub fn partition(&self) -> &'static str {
        match self.0.split('-').next() {
            Some("cn") => "aws-cn",
            _ if self.0.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::random::OsRandomness;

    #[test]
    fn generated_ids_are_valid_and_differ() {
        let mut seen = HashSet::new();
        for number in 0..1_000_000 {
            let id = ExternalId::generate(&OsRandomness);
            if number < 1_000 {
                assert_eq!(id.as_str().parse::<ExternalId>(), Ok(id.clone()));
            }
            assert!(seen.insert(id));
        }
    }

    #[test]
    fn notifications_sort_newest_first_and_are_named_by_what_happened() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let id = NotificationId::of(at(1_800_000_000), &["a", "b"]);
        assert_eq!(id.as_str().parse::<NotificationId>(), Ok(id.clone()));
        assert_eq!(id, NotificationId::of(at(1_800_000_000), &["a", "b"]));
        assert_ne!(id, NotificationId::of(at(1_800_000_000), &["ab"]));
        assert!(NotificationId::of(at(1_800_000_001), &["z"]) < id);
        assert!(NotificationId::of(at(-5), &["a"]) > id);
        assert!(NotificationId::of(Timestamp::MAX, &["a"]) < id);
    }

    #[test]
    fn regions_and_partitions() {
        for (text, partition) in [
            ("us-east-1", "aws"),
            ("ap-southeast-2", "aws"),
            ("us-gov-west-1", "aws-us-gov"),
            ("cn-north-1", "aws-cn"),
        ] {
            assert_eq!(text.parse::<Region>().unwrap().partition(), partition);
        }
        for text in [
            "",
            "us",
            "us-1",
            "us-east-",
            "us-east-1a",
            "US-EAST-1",
            "us--east-1",
            "us-east-123",
            "us-east-1\n",
        ] {
            assert!(text.parse::<Region>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn accounts_are_twelve_ascii_digits() {
        for text in [
            "",
            "12345678901",
            "1234567890123",
            "12345678901a",
            "１２３４５６７８９０１２",
            "123456789012 ",
        ] {
            assert!(text.parse::<AccountId>().is_err(), "{text:?}");
        }
        assert_eq!(
            "123456789012".parse::<AccountId>().unwrap().as_str(),
            "123456789012"
        );
    }

    #[test]
    fn external_ids_are_only_ours() {
        for text in [
            "",
            "pw-",
            "pw-ILOUilou012345678901234567",
            "mine",
            "pw-0123456789012345678901234",
        ] {
            assert!(text.parse::<ExternalId>().is_err(), "{text:?}");
        }
        assert!(
            "pw-1f0e5c4a-0000-11ef-8000-0e0000000000"
                .parse::<ExternalId>()
                .is_ok()
        );
    }
}
