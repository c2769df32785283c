//! Who may do what: people and API keys, and the role that the table gives them.
//!
//! A signed token, a session or a key only says who somebody is. What they may do lies in the table, under the tenant
//! that it is about, and [`Access`] is where the one becomes the other: a [`Grant`] holds the tenant's scope.

mod api_keys;
mod invitations;
mod members;
mod sessions;
mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    id::{PersonId, TenantId},
    scope::{TenantScope, TenantsScope},
    store::{Key, Partition, Store, StoreError},
};

pub use api_keys::{ApiKey, ApiKeys};
pub use invitations::{Invitation, Invitations, Joined};
pub use members::{Member, Members, Operator, RoleChange};
pub use sessions::{SESSION_LASTS, Session, Sessions, SignIn};
pub use token::{Token, TokenHash, TokenKind};

/// What a member, or a key, may do in one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees everything that is the tenant's.
    Reader,
    /// Changes it, too.
    Administrator,
}

impl Role {
    /// Returns the word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Administrator => "administrator",
        }
    }
}

/// Somebody whose identity is proven, and who may do nothing by that alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    id: PersonId,
    name: String,
}

/// How long a person's name is at most, in characters.
const MAX_NAME: usize = 128;

impl Person {
    /// States that a signed token of `issuer` names `subject`: the caller has checked the token.
    ///
    /// `name` is what the token calls them; it is shown and means nothing.
    pub fn proven(issuer: &str, subject: &str, name: &str) -> Self {
        let mut hash = Sha256::new();
        // Lengths, so that no other issuer and subject can spell the same text.
        for part in [issuer, subject] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let name: String = name
            .chars()
            .filter(|character| !character.is_control())
            .take(MAX_NAME)
            .collect();
        Self {
            id: PersonId::of_hash(&hash.finalize()),
            name,
        }
    }

    /// Returns who it is.
    pub fn id(&self) -> &PersonId {
        &self.id
    }

    /// Returns what the issuer calls them.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The right of a caller to work in one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    scope: TenantScope,
    role: Role,
}

impl Grant {
    /// Returns the tenant's scope.
    pub fn scope(&self) -> &TenantScope {
        &self.scope
    }

    /// Returns what the caller may do in it.
    pub fn role(&self) -> Role {
        self.role
    }
}

/// Finds out what callers may do.
#[derive(Clone)]
pub struct Access {
    store: Arc<dyn Store>,
}

impl Access {
    /// Looks into a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Returns what a person may do in a tenant; for a stranger it is as if there were no such tenant.
    pub async fn of_person(&self, person: &Person, tenant: &TenantId) -> Result<Option<Grant>, StoreError> {
        let scope = TenantScope::of(tenant.clone());
        let stored = self.store.get(&members::member_key(&scope, person.id())).await?;
        let member: Option<Member> = stored.map(|stored| stored.parse()).transpose()?;
        Ok(member.map(|member| Grant {
            scope,
            role: member.role,
        }))
    }

    /// Returns what an API key may do, and whose key it is, if it is valid.
    pub async fn of_api_key(
        &self,
        token: &Token,
        now: jiff::Timestamp,
    ) -> Result<Option<(ApiKey, Grant)>, StoreError> {
        let Some((scope, key)) = api_keys::find(&*self.store, &token.hash()).await? else {
            return Ok(None);
        };
        Ok((now < key.expires_at).then(|| {
            let role = key.role;
            (key, Grant { scope, role })
        }))
    }

    /// Returns the authority over the list of tenants, if the person is an operator.
    pub async fn of_operator(&self, person: &Person) -> Result<Option<TenantsScope>, StoreError> {
        let stored = self.store.get(&members::operator_key(person.id())).await?;
        Ok(stored.map(|_| TenantsScope::granted()))
    }

    /// Lists the tenants that a person is a member of, with their role in each.
    pub async fn tenants_of(&self, person: &Person) -> Result<Vec<(TenantId, Role)>, StoreError> {
        let partition = members::person_partition(person.id());
        let mut tenants = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let page = self.store.query(&partition, "", after.as_ref(), 100).await?;
            for item in &page.items {
                let tenant: TenantId = item.parse()?;
                if let Some(grant) = self.of_person(person, &tenant).await? {
                    tenants.push((tenant, grant.role()));
                }
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more {
                return Ok(tenants);
            }
        }
    }
}

/// Where a token that was given out leads: nothing else of it is kept outside of its tenant.
fn token_key(hash: &TokenHash) -> Key {
    Partition::directory(&["token", hash.as_str()]).key(&["owner"])
}
