use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of some content, written `sha256:` and 64 lower-case hexadecimal digits.
///
/// The image specification allows other algorithms; every registry in use, Amazon ECR included, addresses by SHA-256,
/// so any other one is refused by name instead of being trusted unverified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Computes the digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// Returns the 64 hexadecimal digits without the algorithm.
    pub fn hex(&self) -> String {
        self.digits(str::to_owned)
    }

    fn digits<T>(&self, with: impl FnOnce(&str) -> T) -> T {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).expect("32 bytes are 64 digits");
        with(std::str::from_utf8(&digits).expect("digits are ASCII"))
    }
}

/// Computes a [`Digest`] of content that comes in pieces.
#[derive(Clone, Default)]
pub struct DigestHasher(Sha256);

impl DigestHasher {
    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the digest of everything that was added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is not SHA-256.
    #[error("the digest's algorithm is not sha256")]
    Algorithm,
    /// What follows the algorithm is not 64 lower-case hexadecimal digits.
    #[error("a sha256 digest has 64 lower-case hexadecimal digits")]
    Encoding,
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let encoded = text.strip_prefix("sha256:").ok_or(DigestError::Algorithm)?;
        if encoded.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(DigestError::Encoding);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(encoded, &mut bytes).map_err(|_| DigestError::Encoding)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits(|digits| f.write_str("sha256:").and_then(|()| f.write_str(digits)))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_other_algorithms_and_spellings() {
        let of_nothing = Digest::of(b"").to_string();
        assert_eq!(of_nothing.parse(), Ok(Digest::of(b"")));
        let upper = of_nothing.to_uppercase().replace("SHA256", "sha256");
        for (text, error) in [
            ("", DigestError::Algorithm),
            ("sha512:00", DigestError::Algorithm),
            ("sha256:", DigestError::Encoding),
            (upper.as_str(), DigestError::Encoding),
            (&of_nothing[..of_nothing.len() - 1], DigestError::Encoding),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(content: Vec<u8>, cut in 0usize..64) {
            let (head, tail) = content.split_at(cut.min(content.len()));
            let mut hasher = DigestHasher::default();
            hasher.update(head);
            hasher.update(tail);
            prop_assert_eq!(hasher.finish(), Digest::of(&content));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
