use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::random::{Randomness, random_secret};

/// A secret that opens something by itself: an API key, an invitation, a session, a sign-in that is under way.
///
/// `pwk_`, 32 random letters and digits, and 8 that are computed from the rest: whoever scans text for leaked secrets
/// finds it by its form, and a mistyped one is refused without a look into the table.
#[derive(Clone)]
pub struct Token(SecretString);

/// What a token is for; one of another kind is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Opens the API for a program.
    ApiKey,
    /// Makes whoever redeems it a member.
    Invitation,
    /// Opens the pages for somebody who has signed in.
    Session,
    /// Ties a sign-in to the browser that began it.
    SignIn,
}

/// What is stored of a token.
///
/// A plain hash is enough: nobody guesses 160 random bits, whatever a guess costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(String);

/// How many random characters a token has, of 5 bits each.
const RANDOM: usize = 32;

/// How many characters the check has.
const CHECK: usize = 8;

impl TokenKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "pwk_",
            Self::Invitation => "pwi_",
            Self::Session => "pws_",
            Self::SignIn => "pwl_",
        }
    }
}

impl Token {
    /// Makes a new token.
    pub fn generate(kind: TokenKind, randomness: &dyn Randomness) -> Self {
        let random = random_secret(randomness, RANDOM);
        let body = format!("{}{}", kind.prefix(), random.expose_secret());
        Self(format!("{body}{}", check(&body)).into())
    }

    /// Takes what somebody presents, if it has the form of such a token.
    pub fn parse(kind: TokenKind, text: &str) -> Option<Self> {
        let random = text.strip_prefix(kind.prefix())?;
        let is_plain = random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if random.len() != RANDOM + CHECK || !is_plain {
            return None;
        }
        let (body, checked) = text.split_at(text.len() - CHECK);
        (check(body) == checked).then(|| Self(text.to_owned().into()))
    }

    /// Returns the token itself, to be shown or sent once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns what is stored of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(hex::encode(Sha256::digest(self.expose().as_bytes())))
    }

    /// Derives another secret that tells nothing of this one, such as a session's token for forms.
    ///
    /// # Panics
    ///
    /// Never: HMAC takes keys of any length.
    pub fn derive(&self, purpose: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.expose().as_bytes()).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl TokenHash {
    /// Returns the hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(body: &str) -> String {
    let mut text = hex::encode(Sha256::digest(body.as_bytes()));
    text.truncate(CHECK);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandomness;

    #[test]
    fn a_token_is_taken_as_it_was_made_and_in_no_other_way() {
        let token = Token::generate(TokenKind::ApiKey, &OsRandomness);
        let text = token.expose();
        assert!(text.starts_with("pwk_") && text.len() == 44, "{text}");
        let parsed = Token::parse(TokenKind::ApiKey, text).unwrap();
        assert_eq!(parsed.hash(), token.hash());
        assert!(Token::parse(TokenKind::Session, text).is_none());
        // Any one character changed, missing or added.
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(Token::parse(TokenKind::ApiKey, &changed).is_none(), "{changed}");
        }
        for other in [
            &text[..text.len() - 1],
            &format!("{text}0"),
            &format!(" {text}"),
            &text.to_uppercase(),
            "",
        ] {
            assert!(Token::parse(TokenKind::ApiKey, other).is_none(), "{other}");
        }
    }

    #[test]
    fn nothing_shows_a_token() {
        let token = Token::generate(TokenKind::Session, &OsRandomness);
        let shown = format!("{token:?}{:?}{}", token.hash(), token.derive("forms"));
        assert!(!shown.contains(&token.expose()[4..20]));
        assert_ne!(token.derive("a"), token.derive("b"));
        assert_eq!(
            token.derive("a"),
            Token::parse(TokenKind::Session, token.expose())
                .unwrap()
                .derive("a")
        );
    }
}
