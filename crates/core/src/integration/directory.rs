use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Connection, records::read_connection};
use crate::{
    arn::RoleArn,
    endpoint::{Endpoint, EndpointRegion},
    id::{ExternalId, IntegrationId, TenantId},
    scope::TenantScope,
    store::{Key, Partition, Store, StoreError},
};

/// What comes before or above tenants: a closed list of queries that return no tenant's content.
#[derive(Clone)]
pub struct Directory {
    store: Arc<dyn Store>,
}

/// Who has a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleOwner {
    /// Nobody.
    Nobody,
    /// The integration that asks.
    Asker,
    /// Another integration, of whichever tenant.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) tenant: TenantId,
    pub(super) integration: IntegrationId,
}

impl Owner {
    pub(super) fn new(scope: &TenantScope, integration: &IntegrationId) -> Self {
        Self {
            tenant: scope.tenant().clone(),
            integration: integration.clone(),
        }
    }
}

pub(super) fn integration_key(integration: &IntegrationId) -> Key {
    Partition::directory(&["integration", integration.as_str()]).key(&["owner"])
}

pub(super) fn external_id_key(external_id: &ExternalId) -> Key {
    Partition::directory(&["external-id", external_id.as_str()]).key(&["owner"])
}

pub(super) fn role_key(role: &RoleArn) -> Key {
    Partition::directory(&["role", role.as_str()]).key(&["owner"])
}

impl Directory {
    /// Opens the directory in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Finds the event endpoint of an integration.
    pub async fn endpoint(&self, integration: &IntegrationId) -> Result<Option<Endpoint>, StoreError> {
        let Some(stored) = self.store.get(&integration_key(integration)).await? else {
            return Ok(None);
        };
        let owner: Owner = stored.parse()?;
        let scope = TenantScope::of(owner.tenant);
        let connection = read_connection(&*self.store, &scope, integration).await?;
        Ok(connection.map(endpoint_of))
    }

    /// Tells whether a role is free, without telling whose it is.
    pub async fn role_owner(&self, role: &RoleArn, asker: &IntegrationId) -> Result<RoleOwner, StoreError> {
        let Some(stored) = self.store.get(&role_key(role)).await? else {
            return Ok(RoleOwner::Nobody);
        };
        let owner: Owner = stored.parse()?;
        Ok(if owner.integration == *asker {
            RoleOwner::Asker
        } else {
            RoleOwner::Other
        })
    }
}

fn endpoint_of(connection: Connection) -> Endpoint {
    let integration = connection.integration;
    let region_of = |region: super::RegionConnection| EndpointRegion {
        proven: region.trust.is_proven(),
        credentials: region.credentials,
    };
    Endpoint {
        tenant: integration.tenant,
        integration: integration.id,
        account: integration.account,
        external_id: integration.external_id,
        removed: integration.removed_at.is_some(),
        salt: integration.salt,
        regions: connection
            .regions
            .into_iter()
            .map(|(name, region)| (name, region_of(region)))
            .collect(),
    }
}
