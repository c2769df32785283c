//! The roles of an integration, for whoever works with them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Integration, Integrations, Trust,
    records::{Read, read_with},
};
use crate::{
    id::{IntegrationId, Region},
    scope::TenantScope,
    session::TrustedRole,
    store::StoreError,
};

/// An integration with what is known of its roles, and nothing else of its regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// The integration.
    pub integration: Integration,
    trusts: BTreeMap<Region, Trust>,
}

/// What of a region's item is read.
#[derive(Deserialize)]
struct RoleOf {
    trust: Trust,
}

impl Integrations {
    /// Reads an integration with its roles: a part of what [`Self::find`] reads.
    pub async fn roles(&self, scope: &TenantScope, id: &IntegrationId) -> Result<Option<Roles>, StoreError> {
        let read: Option<Read<RoleOf>> = read_with(&*self.store, scope, id).await?;
        Ok(read.map(|read| Roles {
            integration: read.integration,
            trusts: (read.regions.into_iter())
                .map(|(name, region)| (name, region.trust))
                .collect(),
        }))
    }
}

impl Roles {
    /// Tells whether the integration has a region.
    pub fn has(&self, region: &Region) -> bool {
        self.trusts.contains_key(region)
    }

    /// Returns what opens a region's registry, if the integration is there and the role is proven.
    pub fn trusted_role(&self, region: &Region) -> Option<TrustedRole> {
        trusted(&self.integration, region, self.trusts.get(region)?)
    }
}

/// Returns what opens a region's registry, by what is known of its role.
pub(super) fn trusted(integration: &Integration, region: &Region, trust: &Trust) -> Option<TrustedRole> {
    if integration.removed_at.is_some() {
        return None;
    }
    match trust {
        Trust::Proven { role, .. } if integration.account.as_ref() == Some(role.account()) => {
            Some(TrustedRole::new(
                TenantScope::of(integration.tenant.clone()),
                integration.id.clone(),
                role.clone(),
                integration.external_id.clone(),
                region.clone(),
            ))
        }
        _ => None,
    }
}
