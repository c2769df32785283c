use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Role, Token, TokenHash, TokenKind, token_key};
use crate::{
    id::{ApiKeyId, TenantId},
    random::Randomness,
    scope::TenantScope,
    store::{Condition, Key, Partition, Store, StoreError, Stored, Write, contended, try_write},
};

/// A key that opens the API of one tenant for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it opens anything.
    pub expires_at: Timestamp,
    hash: TokenHash,
}

/// Where a key's token leads.
#[derive(Serialize, Deserialize)]
struct Owner {
    tenant: TenantId,
    key: ApiKeyId,
}

/// The API keys of tenants.
#[derive(Clone)]
pub struct ApiKeys {
    store: Arc<dyn Store>,
}

fn partition(scope: &TenantScope) -> Partition {
    scope.partition(&["api-keys"])
}

fn key_of(scope: &TenantScope, id: &ApiKeyId) -> Key {
    partition(scope).key(&[id.as_str()])
}

/// Finds the key that a token is, valid or not any more.
pub(super) async fn find(
    store: &dyn Store,
    hash: &TokenHash,
) -> Result<Option<(TenantScope, ApiKey)>, StoreError> {
    let Some(stored) = store.get(&token_key(hash)).await? else {
        return Ok(None);
    };
    let owner: Owner = stored.parse()?;
    let scope = TenantScope::of(owner.tenant);
    let stored = store.get(&key_of(&scope, &owner.key)).await?;
    let key: Option<ApiKey> = stored.map(|stored| stored.parse()).transpose()?;
    Ok(key.filter(|key| key.hash == *hash).map(|key| (scope, key)))
}

impl ApiKeys {
    /// Opens the keys in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Makes a key; its token is shown once and known to nobody afterwards but its owner.
    pub async fn create(
        &self,
        scope: &TenantScope,
        name: &str,
        role: Role,
        (now, expires_at): (Timestamp, Timestamp),
        randomness: &dyn Randomness,
    ) -> Result<(ApiKey, Token), StoreError> {
        let token = Token::generate(TokenKind::ApiKey, randomness);
        let key = ApiKey {
            id: ApiKeyId::generate(randomness),
            name: name.to_owned(),
            role,
            created_at: now,
            expires_at,
            hash: token.hash(),
        };
        let owner = Owner {
            tenant: scope.tenant().clone(),
            key: key.id.clone(),
        };
        let writes = [
            Write::put(key_of(scope, &key.id), &key, Condition::Absent),
            Write::put(token_key(&key.hash), &owner, Condition::Absent),
        ];
        if try_write(&*self.store, &writes).await? {
            Ok((key, token))
        } else {
            Err(contended())
        }
    }

    /// Lists a tenant's keys behind one of them, at most `limit`, and tells whether there are more.
    pub async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&ApiKeyId>,
        limit: usize,
    ) -> Result<(Vec<ApiKey>, bool), StoreError> {
        let after = after.map(|id| key_of(scope, id));
        let page = self
            .store
            .query(&partition(scope), "", after.as_ref(), limit)
            .await?;
        let keys = page.items.iter().map(Stored::parse).collect::<Result<_, _>>()?;
        Ok((keys, page.more))
    }

    /// Finds a key.
    pub async fn find(&self, scope: &TenantScope, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        let stored = self.store.get(&key_of(scope, id)).await?;
        stored.map(|stored| stored.parse()).transpose()
    }

    /// Revokes a key for good; tells whether there was one.
    pub async fn revoke(&self, scope: &TenantScope, id: &ApiKeyId) -> Result<bool, StoreError> {
        let Some(key) = self.find(scope, id).await? else {
            return Ok(false);
        };
        let delete = |key| Write::Delete {
            key,
            condition: Condition::Present,
        };
        try_write(
            &*self.store,
            &[delete(key_of(scope, id)), delete(token_key(&key.hash))],
        )
        .await
    }
}
