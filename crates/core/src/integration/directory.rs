use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Trust,
    records::{Read, read_with},
    silent_from,
};
use crate::{
    arn::RoleArn,
    endpoint::{Credential, Endpoint, EndpointRegion},
    event::Claim,
    id::{ExternalId, IntegrationId, Region, TenantId},
    scope::TenantScope,
    store::{Condition, Key, Partition, Store, StoreError, Write, try_write},
    tenant::{Tenant, Tenants},
};

/// What comes before or above tenants: a closed list of queries that return no tenant's content.
#[derive(Clone)]
pub struct Directory {
    pub(super) store: Arc<dyn Store>,
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

#[derive(Serialize, Deserialize)]
struct NotedClaim {
    region: Region,
    claim: Claim,
    at: Timestamp,
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
        Ok(read_with(&*self.store, &scope, integration)
            .await?
            .map(endpoint_of))
    }

    /// Returns the ids of tenants, in order and behind `after`, at most `limit`; the operator itself is none of them.
    pub async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>, StoreError> {
        let after = after.map(Tenants::key);
        let page = self
            .store
            .query(&Tenants::partition(), "", after.as_ref(), limit)
            .await?;
        let tenants = page.items.iter().map(|item| Ok(item.parse::<Tenant>()?.id));
        tenants.collect()
    }

    /// Keeps what a message without proof claims; tells whether it is the first one of the integration in its minute.
    ///
    /// Only the first one is kept and leads to a test, so that a flood of claims costs nobody more than that.
    pub async fn note_claim(
        &self,
        integration: &IntegrationId,
        region: &Region,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let key = Partition::directory(&["integration", integration.as_str()]).key(&["claim"]);
        let noted = NotedClaim {
            region: region.clone(),
            claim: claim.clone(),
            at: now,
        };
        let minute = now.as_second().div_euclid(60);
        let write = Write::put(key, &noted, Condition::Newer).ordered(minute);
        try_write(&*self.store, &[write]).await
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

/// What of a region's item is read where its stack's messages come in.
#[derive(Deserialize)]
struct Sender {
    credentials: Vec<Credential>,
    trust: Trust,
    claim: Option<Claim>,
    renewal_until: Option<Timestamp>,
}

fn endpoint_of(read: Read<Sender>) -> Endpoint {
    let heartbeats = &read.heartbeats;
    let regions = read.regions.into_iter().map(|(name, sender)| {
        let last = heartbeats.get(&name).copied();
        let region = EndpointRegion {
            proven: sender.trust.is_proven(),
            proposed: matches!(sender.trust, Trust::Proposed { .. }),
            credentials: sender.credentials,
            silent_from: sender
                .claim
                .as_ref()
                .zip(last)
                .and_then(|(claim, last)| silent_from(claim, last)),
            claim: sender.claim,
            renewal_until: sender.renewal_until,
        };
        (name, region)
    });
    let regions = regions.collect();
    let integration = read.integration;
    Endpoint {
        tenant: integration.tenant,
        integration: integration.id,
        account: integration.account,
        external_id: integration.external_id,
        removed: integration.removed_at.is_some(),
        salt: integration.salt,
        regions,
    }
}
