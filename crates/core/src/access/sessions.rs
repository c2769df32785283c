use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Person, Token, TokenKind, token_key};
use crate::{
    random::Randomness,
    store::{Condition, Store, StoreError, Write, contended, try_write},
};

/// How long somebody stays signed in.
pub const SESSION_LASTS: SignedDuration = SignedDuration::from_hours(12);

/// How long a sign-in may take.
const SIGN_IN_LASTS: SignedDuration = SignedDuration::from_mins(10);

/// Somebody who has signed in with a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who.
    pub person: Person,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A sign-in that is under way in one browser.
///
/// What it sends to the issuer and gets back is derived from its token, which only the browser has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// Where to go on afterwards: a path of ours.
    pub return_to: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Who is signed in, and who is about to.
#[derive(Clone)]
pub struct Sessions {
    store: Arc<dyn Store>,
}

impl Sessions {
    /// Opens the sessions in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Begins a sign-in.
    pub async fn begin(
        &self,
        return_to: String,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<Token, StoreError> {
        let expires_at = now + SIGN_IN_LASTS;
        let sign_in = SignIn {
            return_to,
            expires_at,
        };
        self.put(TokenKind::SignIn, &sign_in, expires_at, randomness)
            .await
    }

    /// Takes up a sign-in, once.
    pub async fn take(&self, token: &Token, now: Timestamp) -> Result<Option<SignIn>, StoreError> {
        let key = token_key(&token.hash());
        let Some(stored) = self.store.get(&key).await? else {
            return Ok(None);
        };
        let sign_in: SignIn = stored.parse()?;
        let condition = Condition::Unchanged(stored.revision);
        let is_first = try_write(&*self.store, &[Write::Delete { key, condition }]).await?;
        Ok((is_first && now < sign_in.expires_at).then_some(sign_in))
    }

    /// Opens a session; its token is known to the browser only.
    pub async fn open(
        &self,
        person: Person,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<Token, StoreError> {
        let expires_at = now + SESSION_LASTS;
        let session = Session { person, expires_at };
        self.put(TokenKind::Session, &session, expires_at, randomness)
            .await
    }

    /// Finds a session that has not ended.
    pub async fn find(&self, token: &Token, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let stored = self.store.get(&token_key(&token.hash())).await?;
        let session: Option<Session> = stored.map(|stored| stored.parse()).transpose()?;
        Ok(session.filter(|session| now < session.expires_at))
    }

    /// Ends a session.
    pub async fn end(&self, token: &Token) -> Result<(), StoreError> {
        let key = token_key(&token.hash());
        let condition = Condition::None;
        try_write(&*self.store, &[Write::Delete { key, condition }]).await?;
        Ok(())
    }

    async fn put(
        &self,
        kind: TokenKind,
        what: &(impl Serialize + Sync),
        expires_at: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<Token, StoreError> {
        let token = Token::generate(kind, randomness);
        let write = Write::put(token_key(&token.hash()), what, Condition::Absent).expiring(expires_at);
        if try_write(&*self.store, &[write]).await? {
            Ok(token)
        } else {
            Err(contended())
        }
    }
}
