//! Who may send events: Basic credentials of an integration's event endpoint.
//!
//! A password is stored as Argon2id. All hashes of one integration share a salt, so that an attempt costs exactly one
//! computation, however many regions and generations there are and whether or not the integration exists; what a
//! process has computed it remembers under a keyed HMAC, so that the price is paid once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use argon2::{Algorithm, Argon2, Params};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::{
    event::Claim,
    id::{AccountId, ExternalId, IntegrationId, Region, TenantId},
    random::{Randomness, random_secret},
    scope::TenantScope,
};

/// What is known of an event endpoint before its caller is: no tenant's content.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Whose endpoint it is.
    pub tenant: TenantId,
    /// Which integration's.
    pub integration: IntegrationId,
    /// The account that events must come from, once it is proven.
    pub account: Option<AccountId>,
    /// The ExternalId that claims must carry.
    pub external_id: ExternalId,
    /// Whether the integration is removed, with its credentials kept to tell so.
    pub removed: bool,
    /// The salt of its hashes.
    pub salt: Salt,
    /// The regions, with the credentials of each.
    pub regions: BTreeMap<Region, EndpointRegion>,
}

/// One region of an [`Endpoint`].
#[derive(Debug, Clone)]
pub struct EndpointRegion {
    /// Whether the region's role is proven, so that its events are accepted.
    pub proven: bool,
    /// The credentials that it may send with, at most two generations, the newest last.
    pub credentials: Vec<Credential>,
    /// What its stack said when its role was last found to be trusted.
    pub claim: Option<Claim>,
    /// Until when other credentials are expected, since the stack makes new ones.
    pub renewal_until: Option<Timestamp>,
    /// From when on it counts as silent, if its stack says how often it sends something.
    pub silent_from: Option<Timestamp>,
}

impl Endpoint {
    /// Tells whether a claim without proof is to be looked at: only while something of its region is to be connected.
    ///
    /// Once the tenant has named the account, a stack in another region of it is all that this region needs.
    pub fn awaits(&self, region: &Region, claim: &Claim, now: Timestamp) -> bool {
        let named = self.account.as_ref();
        let is_ours = claim.external_id == self.external_id
            && named.is_none_or(|account| account == claim.role.account());
        let is_wanted = match self.regions.get(region) {
            Some(region) => region.awaits(now),
            None => named.is_some(),
        };
        is_ours && is_wanted && !self.removed
    }
}

impl EndpointRegion {
    fn awaits(&self, now: Timestamp) -> bool {
        !self.proven
            || self.credentials.is_empty()
            || self.renewal_until.is_some_and(|until| now < until)
            || self.silent_from.is_some_and(|from| from <= now)
    }

    /// Returns the credentials that are valid, and whether each is the first use of new ones.
    fn valid(&self, now: Timestamp) -> impl Iterator<Item = (&Credential, bool)> {
        let newest = self.credentials.last();
        let first_used = newest.and_then(|newest| newest.first_used_at);
        let old_are_valid = first_used.is_none_or(|first| now < first + Credential::OLD_LAST);
        self.credentials.iter().filter_map(move |credential| {
            let is_newest = newest == Some(credential);
            let is_first_use = is_newest && self.credentials.len() > 1 && first_used.is_none();
            (is_newest || old_are_valid).then_some((credential, is_first_use))
        })
    }
}

/// A user name and the hash of its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The user name.
    pub username: Username,
    /// The hash of the password under the integration's salt.
    pub hash: PasswordHash,
    /// Counts the credentials that a region's stack has had, from 1.
    pub generation: u32,
    /// When an event first came with them, if they took the place of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Timestamp>,
}

impl Credential {
    /// How long old credentials stay valid after the first use of new ones: as long as EventBridge repeats a delivery.
    pub const OLD_LAST: SignedDuration = SignedDuration::from_hours(24);

    /// Makes credentials that nothing came with yet.
    pub fn new(username: Username, hash: PasswordHash, generation: u32) -> Self {
        Self {
            username,
            hash,
            generation,
            first_used_at: None,
        }
    }
}

/// The name that a caller gives: 1 to 128 printable ASCII characters without a colon, which ends it in a header, and
/// without double quotes and backslashes, which would end it in the secret of the tenant's stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

/// A salt of 16 random bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Salt(#[serde(with = "hex::serde")] [u8; 16]);

/// An Argon2id hash of 32 bytes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(#[serde(with = "hex::serde")] [u8; 32]);

/// A password that is good enough to be stored: generated, or at least 24 characters long.
#[derive(Clone)]
pub struct Password(SecretString);

/// What a caller presents.
#[derive(Clone)]
pub struct BasicCredentials {
    username: String,
    password: SecretString,
}

/// A caller whose credentials are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// What follows is done for this tenant.
    pub scope: TenantScope,
    /// The integration.
    pub integration: IntegrationId,
    /// The region whose credentials these are, and their generation.
    pub region: Region,
    /// The generation of the credentials.
    pub generation: u32,
    /// Whether nothing came with them before, and they take the place of others.
    pub is_first_use: bool,
}

/// Why a chosen name or password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The user name has characters or a length that Basic authentication cannot carry safely.
    #[error("a user name has 1 to 128 printable ASCII characters and no colon, double quote or backslash")]
    Username,
    /// The password is too short, or has characters that cannot be sent.
    #[error("a password has 24 to 512 characters and no control characters")]
    Password,
}

impl Username {
    /// Takes a chosen name.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let is_valid = |b: u8| b.is_ascii_graphic() && !br#":"\"#.contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(is_valid) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CredentialError::Username)
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Username {
    type Error = CredentialError;

    fn try_from(text: String) -> Result<Self, CredentialError> {
        Self::parse(&text)
    }
}

impl From<Username> for String {
    fn from(name: Username) -> Self {
        name.0
    }
}

impl Salt {
    /// Makes a new salt.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 16];
        randomness.fill(&mut bytes);
        Self(bytes)
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt")
    }
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other).into()
    }
}

impl Eq for PasswordHash {}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    fn matches(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }

    /// Computes the hash with OWASP's least parameters for Argon2id: 19 MiB, two passes, one lane.
    fn compute(salt: &Salt, password: &SecretString) -> Self {
        let params = Params::new(19 * 1024, 2, 1, Some(32)).expect("constant parameters are valid");
        let mut hash = [0; 32];
        Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password_into(password.expose_secret().as_bytes(), &salt.0, &mut hash)
            .expect("the salt and the output have lengths that Argon2 takes");
        Self(hash)
    }
}

impl Password {
    /// The least length of a chosen password in characters.
    pub const MIN_LENGTH: usize = 24;

    /// The greatest length of a password in bytes: EventBridge's limit for a connection's password.
    pub const MAX_LENGTH: usize = 512;

    /// Takes a chosen password.
    pub fn parse(text: &SecretString) -> Result<Self, CredentialError> {
        let text = text.expose_secret();
        let long_enough = text.chars().count() >= Self::MIN_LENGTH && text.len() <= Self::MAX_LENGTH;
        if long_enough && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned().into()))
        } else {
            Err(CredentialError::Password)
        }
    }

    /// Makes a password of 200 random bits.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self(random_secret(randomness, 40))
    }

    /// Hashes the password for one integration.
    pub fn hash(&self, salt: &Salt) -> PasswordHash {
        PasswordHash::compute(salt, &self.0)
    }

    /// Returns the password, to be shown once.
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

impl BasicCredentials {
    /// Reads the value of an `Authorization` header.
    ///
    /// Source: RFC 7617. Anything else than Basic, and anything garbled, is no credentials.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let (scheme, encoded) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64_STANDARD.decode(encoded.trim_matches(' ')).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (username, password) = decoded.split_once(':')?;
        let fits = username.len() <= 128 && password.len() <= Password::MAX_LENGTH;
        fits.then(|| Self {
            username: username.to_owned(),
            password: password.to_owned().into(),
        })
    }
}

/// Checks what callers present, and remembers what it has computed.
pub struct CredentialChecker {
    key: [u8; 32],
    no_salt: Salt,
    computed: Mutex<Computed>,
}

#[derive(Default)]
struct Computed {
    hashes: BTreeMap<[u8; 32], PasswordHash>,
    order: VecDeque<[u8; 32]>,
}

impl CredentialChecker {
    /// How many computations a process remembers: some 100 KiB.
    const REMEMBERED: usize = 1024;

    /// Makes a checker with a key of its own.
    pub fn new(randomness: &dyn Randomness) -> Self {
        let mut key = [0; 32];
        randomness.fill(&mut key);
        Self {
            key,
            no_salt: Salt::generate(randomness),
            computed: Mutex::default(),
        }
    }

    /// Tells whose credentials these are, if they are the endpoint's.
    ///
    /// The work is the same for a missing endpoint, an unknown name and a wrong password.
    pub fn check(
        &self,
        endpoint: Option<&Endpoint>,
        presented: Option<&BasicCredentials>,
        now: Timestamp,
    ) -> Option<Authenticated> {
        let nobody = BasicCredentials {
            username: String::new(),
            password: String::new().into(),
        };
        let presented_or_nobody = presented.unwrap_or(&nobody);
        let salt = endpoint.map_or(&self.no_salt, |endpoint| &endpoint.salt);
        let hash = self.hash(salt, &presented_or_nobody.password);
        let username = presented_or_nobody.username.as_bytes();
        let mut found = None;
        for (region, settings) in endpoint.iter().flat_map(|endpoint| &endpoint.regions) {
            for (credential, is_first_use) in settings.valid(now) {
                let right = credential.username.0.as_bytes().ct_eq(username) & credential.hash.matches(&hash);
                // Regions may share credentials; one that is still to be proven does not stand before one that is.
                if right.into() && (found.is_none() || settings.proven) {
                    found = Some((region, credential.generation, is_first_use));
                }
            }
        }
        presented?;
        let ((region, generation, is_first_use), endpoint) = found.zip(endpoint)?;
        Some(Authenticated {
            scope: TenantScope::of(endpoint.tenant.clone()),
            integration: endpoint.integration.clone(),
            region: region.clone(),
            generation,
            is_first_use,
        })
    }

    fn hash(&self, salt: &Salt, password: &SecretString) -> PasswordHash {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(&salt.0);
        mac.update(password.expose_secret().as_bytes());
        let name: [u8; 32] = mac.finalize().into_bytes().into();
        let known = self.computed().hashes.get(&name).cloned();
        known.unwrap_or_else(|| {
            let hash = PasswordHash::compute(salt, password);
            let mut computed = self.computed();
            if computed.hashes.insert(name, hash.clone()).is_none() {
                computed.order.push_back(name);
            }
            if computed.order.len() > Self::REMEMBERED
                && let Some(oldest) = computed.order.pop_front()
            {
                computed.hashes.remove(&oldest);
            }
            hash
        })
    }

    fn computed(&self) -> std::sync::MutexGuard<'_, Computed> {
        self.computed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    use crate::random::OsRandomness;

    const PASSWORD: &str = "correct:horse battery staple ü";

    fn endpoint() -> Endpoint {
        let salt = Salt::generate(&OsRandomness);
        let password = Password::parse(&PASSWORD.into()).unwrap();
        let credential = |name: &str, password: &Password, generation| {
            Credential::new(Username::parse(name).unwrap(), password.hash(&salt), generation)
        };
        let other = Password::generate(&OsRandomness);
        let credentials = vec![
            credential("events", &other, 1),
            credential("events", &password, 2),
        ];
        let region = |proven, credentials| EndpointRegion {
            proven,
            credentials,
            claim: None,
            renewal_until: None,
            silent_from: None,
        };
        let regions = BTreeMap::from([
            ("eu-central-1".parse().unwrap(), region(true, credentials)),
            (
                "us-east-1".parse().unwrap(),
                region(false, vec![credential("other", &other, 1)]),
            ),
        ]);
        Endpoint {
            tenant: TenantId::generate(&OsRandomness),
            integration: IntegrationId::generate(&OsRandomness),
            account: None,
            external_id: ExternalId::generate(&OsRandomness),
            removed: false,
            salt,
            regions,
        }
    }

    fn header(text: &str) -> Option<BasicCredentials> {
        BasicCredentials::parse(format!("Basic {}", BASE64_STANDARD.encode(text)).as_bytes())
    }

    #[test]
    fn names_can_be_sent_and_written_by_a_stack() {
        for name in ["portwarden", "a.b-c_d@e!~", &"a".repeat(128)] {
            assert_eq!(Username::parse(name).map(String::from), Ok(name.to_owned()));
        }
        for name in ["", "a:b", "a b", "a\"b", "a\\b", "ä", "a\n", &"a".repeat(129)] {
            assert_eq!(Username::parse(name), Err(CredentialError::Username), "{name:?}");
        }
    }

    #[test]
    fn right_credentials_open_in_either_generation() {
        let endpoint = endpoint();
        let checker = CredentialChecker::new(&OsRandomness);
        for _ in 0..2 {
            let found = checker
                .check(
                    Some(&endpoint),
                    header(&format!("events:{PASSWORD}")).as_ref(),
                    NOW,
                )
                .unwrap();
            assert_eq!(found.scope.tenant(), &endpoint.tenant);
            assert_eq!((found.region.as_str(), found.generation), ("eu-central-1", 2));
        }
    }

    #[test]
    fn of_regions_with_the_same_credentials_a_proven_one_is_found() {
        let mut endpoint = endpoint();
        let proven = endpoint.regions[&"eu-central-1".parse().unwrap()].clone();
        for name in ["af-south-1", "us-west-2"] {
            let unproven = EndpointRegion {
                proven: false,
                ..proven.clone()
            };
            endpoint.regions.insert(name.parse().unwrap(), unproven);
        }
        let checker = CredentialChecker::new(&OsRandomness);
        let found = checker
            .check(
                Some(&endpoint),
                header(&format!("events:{PASSWORD}")).as_ref(),
                NOW,
            )
            .unwrap();
        assert_eq!(found.region.as_str(), "eu-central-1");
    }

    #[test]
    fn anything_else_opens_nothing() {
        let endpoint = endpoint();
        let checker = CredentialChecker::new(&OsRandomness);
        for presented in [
            "events:".to_owned(),
            format!("other:{PASSWORD}"),
            format!("Events:{PASSWORD}"),
            format!(":{PASSWORD}"),
            format!("events:{}", &PASSWORD[..PASSWORD.len() - 2]),
            format!("events:{PASSWORD} "),
        ] {
            assert_eq!(
                checker.check(Some(&endpoint), header(&presented).as_ref(), NOW),
                None,
                "{presented:?}"
            );
        }
        assert_eq!(checker.check(Some(&endpoint), None, NOW), None);
        assert_eq!(
            checker.check(None, header(&format!("events:{PASSWORD}")).as_ref(), NOW),
            None
        );
    }

    #[test]
    fn an_empty_stored_name_is_not_opened_by_no_credentials() {
        // The stand-in for missing credentials must never match, even if its hash were stored.
        let mut endpoint = endpoint();
        let salt = endpoint.salt.clone();
        let hash = PasswordHash::compute(&salt, &String::new().into());
        let credential = Credential::new(Username(String::new()), hash, 1);
        endpoint
            .regions
            .values_mut()
            .for_each(|region| region.credentials = vec![credential.clone()]);
        assert_eq!(
            CredentialChecker::new(&OsRandomness).check(Some(&endpoint), None, NOW),
            None
        );
    }

    #[test]
    fn headers_are_read_or_are_no_credentials() {
        for garbled in [
            &b""[..],
            b"Basic",
            b"Basic !",
            b"Bearer eDp5",
            b"Basic eHk=",
            b"Basic \xff",
            b"BasiceDp5",
        ] {
            assert!(BasicCredentials::parse(garbled).is_none(), "{garbled:?}");
        }
        for fine in ["Basic eDp5", "basic eDp5", "BASIC  eDp5 "] {
            let credentials = BasicCredentials::parse(fine.as_bytes()).unwrap();
            assert_eq!(
                (
                    credentials.username.as_str(),
                    credentials.password.expose_secret()
                ),
                ("x", "y")
            );
        }
    }

    #[test]
    fn passwords_are_long_and_never_shown() {
        assert_eq!(
            Password::parse(&"a".repeat(23).into()).err(),
            Some(CredentialError::Password)
        );
        assert_eq!(
            Password::parse(&"a".repeat(513).into()).err(),
            Some(CredentialError::Password)
        );
        assert_eq!(
            Password::parse(&format!("{}\n", "a".repeat(30)).into()).err(),
            Some(CredentialError::Password)
        );
        let endpoint = endpoint();
        let shown = format!("{endpoint:?}");
        let hash = serde_json::to_string(&endpoint.regions.values().next().unwrap().credentials).unwrap();
        let hash = hash.split("hash\":\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(!shown.contains(hash), "{shown}");
    }

    #[test]
    fn forgets_the_oldest_computations() {
        let checker = CredentialChecker::new(&OsRandomness);
        {
            let mut computed = checker.computed();
            for index in 0..CredentialChecker::REMEMBERED {
                let mut name = [0; 32];
                name[..8].copy_from_slice(&index.to_be_bytes());
                computed.hashes.insert(name, PasswordHash([0; 32]));
                computed.order.push_back(name);
            }
        }
        checker.check(None, header("a:b").as_ref(), NOW);
        let computed = checker.computed();
        assert_eq!(
            (computed.hashes.len(), computed.order.len()),
            (CredentialChecker::REMEMBERED, CredentialChecker::REMEMBERED)
        );
    }

    #[test]
    fn old_credentials_end_a_day_after_the_first_use_of_new_ones() {
        let mut endpoint = endpoint();
        let region: Region = "eu-central-1".parse().unwrap();
        let salt = endpoint.salt.clone();
        let new = Password::generate(&OsRandomness);
        let credential = Credential::new(Username::parse("events").unwrap(), new.hash(&salt), 3);
        let credentials = &mut endpoint.regions.get_mut(&region).unwrap().credentials;
        credentials.remove(0);
        credentials.push(credential);
        let checker = CredentialChecker::new(&OsRandomness);
        let check = |endpoint: &Endpoint, password: &str, now| {
            let found = checker.check(
                Some(endpoint),
                header(&format!("events:{password}")).as_ref(),
                now,
            );
            found.map(|found| (found.generation, found.is_first_use))
        };
        let new = new.secret().expose_secret();
        let first = NOW + SignedDuration::from_hours(100);
        assert_eq!(check(&endpoint, PASSWORD, first), Some((2, false)));
        assert_eq!(check(&endpoint, new, first), Some((3, true)));
        let credentials = &mut endpoint.regions.get_mut(&region).unwrap().credentials;
        credentials[1].first_used_at = Some(first);
        let last = first + SignedDuration::from_hours(24);
        for (password, now, expected) in [
            (PASSWORD, last - SignedDuration::from_millis(1), Some((2, false))),
            (PASSWORD, last, None),
            (new, last, Some((3, false))),
        ] {
            assert_eq!(check(&endpoint, password, now), expected);
        }
    }

    #[test]
    fn claims_are_looked_at_while_something_is_to_be_connected_and_never_else() {
        let endpoint = endpoint();
        let (proven, unproven): (Region, Region) =
            ("eu-central-1".parse().unwrap(), "us-east-1".parse().unwrap());
        let claim = |account: &str, external_id: &ExternalId| -> Claim {
            serde_json::from_value(serde_json::json!({
                "role-arn": format!("arn:aws:iam::{account}:role/r"),
                "external-id": external_id, "template-version": "2",
            }))
            .unwrap()
        };
        let right = claim("111122223333", &endpoint.external_id);
        assert!(endpoint.awaits(&unproven, &right, NOW));
        assert!(!endpoint.awaits(&proven, &right, NOW), "all is connected");
        let elsewhere: Region = "sa-east-1".parse().unwrap();
        assert!(!endpoint.awaits(&elsewhere, &right, NOW), "no account is named");
        let foreign = claim("111122223333", &ExternalId::generate(&OsRandomness));
        assert!(!endpoint.awaits(&unproven, &foreign, NOW));
        let changed = |change: &dyn Fn(&mut Endpoint)| {
            let mut endpoint = endpoint.clone();
            change(&mut endpoint);
            endpoint
        };
        let removed = changed(&|endpoint| endpoint.removed = true);
        assert!(!removed.awaits(&unproven, &right, NOW));
        let named = changed(&|endpoint| endpoint.account = Some("444455556666".parse().unwrap()));
        assert!(!named.awaits(&unproven, &right, NOW), "another account is named");
        assert!(!named.awaits(&elsewhere, &right, NOW), "another account is named");
        let own = changed(&|endpoint| endpoint.account = Some("111122223333".parse().unwrap()));
        assert!(own.awaits(&elsewhere, &right, NOW) && !own.awaits(&proven, &right, NOW));
        let later = NOW + SignedDuration::from_secs(1);
        let of_proven = |change: &dyn Fn(&mut EndpointRegion)| {
            changed(&|endpoint| change(endpoint.regions.get_mut(&proven).unwrap()))
        };
        let renewed = of_proven(&|region| region.renewal_until = Some(later));
        assert!(renewed.awaits(&proven, &right, NOW) && !renewed.awaits(&proven, &right, later));
        let silent = of_proven(&|region| region.silent_from = Some(later));
        assert!(!silent.awaits(&proven, &right, NOW) && silent.awaits(&proven, &right, later));
        let unread = of_proven(&|region| region.credentials.clear());
        assert!(unread.awaits(&proven, &right, NOW));
    }
}
