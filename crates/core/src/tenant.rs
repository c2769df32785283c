//! Tenants: the customers of the operator, made and listed by the operator only.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    id::TenantId,
    random::Randomness,
    scope::{TenantScope, TenantsScope},
    store::{Condition, Key, Partition, Store, StoreError, Stored, Write, try_write},
};

/// A customer of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The list of tenants.
#[derive(Clone)]
pub struct Tenants {
    store: Arc<dyn Store>,
}

impl Tenants {
    /// Opens the list in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Makes a tenant; its id was never used before.
    pub async fn create(
        &self,
        _: impl Into<TenantsScope>,
        name: &str,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<Tenant, StoreError> {
        let tenant = Tenant {
            id: TenantId::generate(randomness),
            name: name.to_owned(),
            created_at: now,
        };
        let key = Self::partition().key(&[tenant.id.as_str()]);
        let write = Write::put(key, &tenant, Condition::Absent);
        if try_write(&*self.store, &[write]).await? {
            Ok(tenant)
        } else {
            Err(StoreError::Unavailable("an id was made twice".into()))
        }
    }

    /// Finds a tenant.
    pub async fn find(
        &self,
        _: impl Into<TenantsScope>,
        id: &TenantId,
    ) -> Result<Option<Tenant>, StoreError> {
        let stored = self.store.get(&Self::partition().key(&[id.as_str()])).await?;
        stored.map(|stored| stored.parse()).transpose()
    }

    /// Returns a tenant to itself.
    pub async fn own(&self, scope: &TenantScope) -> Result<Option<Tenant>, StoreError> {
        let key = Self::partition().key(&[scope.tenant().as_str()]);
        let stored = self.store.get(&key).await?;
        stored.map(|stored| stored.parse()).transpose()
    }

    /// Lists tenants in the order of their ids, behind one of them, at most `limit`, and tells whether there are more.
    pub async fn page(
        &self,
        _: impl Into<TenantsScope>,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<(Vec<Tenant>, bool), StoreError> {
        let after = after.map(|id| Self::partition().key(&[id.as_str()]));
        let page = self
            .store
            .query(&Self::partition(), "", after.as_ref(), limit)
            .await?;
        let tenants = page.items.iter().map(Stored::parse).collect::<Result<_, _>>()?;
        Ok((tenants, page.more))
    }

    /// Lists all tenants in the order of their ids.
    pub async fn list(&self, scope: impl Into<TenantsScope>) -> Result<Vec<Tenant>, StoreError> {
        let scope = scope.into();
        let mut tenants: Vec<Tenant> = Vec::new();
        loop {
            let after = tenants.last().map(|tenant| tenant.id.clone());
            let (page, more) = self.page(scope, after.as_ref(), 100).await?;
            tenants.extend(page);
            if !more {
                return Ok(tenants);
            }
        }
    }

    pub(crate) fn key(tenant: &TenantId) -> Key {
        Self::partition().key(&[tenant.as_str()])
    }

    pub(crate) fn partition() -> Partition {
        Partition::directory(&["tenants"])
    }
}
