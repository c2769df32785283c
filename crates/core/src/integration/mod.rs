//! Integrations: the AWS accounts that tenants connect, region by region.

mod directory;
mod integrations;
mod operator;
mod records;
mod trust;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    endpoint::{Credential, Salt},
    id::{AccountId, ExternalId, IntegrationId, Region, TenantId},
    scope::TenantScope,
    session::TrustedRole,
    verdict::{Check, Outcome, Verdict},
};

pub use directory::{Directory, RoleOwner};
pub use integrations::{Integrations, NewRegion};
pub use trust::{RecordVerdictError, RecordedVerdict, Trust};

/// One AWS account that a tenant connects, or the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    /// Its id, which is also the last part of its endpoint's path.
    pub id: IntegrationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// What the tenant's trust policy demands.
    pub external_id: ExternalId,
    /// The account, once a role in it is proven.
    pub account: Option<AccountId>,
    /// The salt of its credentials' hashes.
    pub salt: Salt,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was removed; its ids are never used again.
    pub removed_at: Option<Timestamp>,
}

/// One region of an integration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionConnection {
    /// The region.
    pub region: Region,
    /// What its stack may send with, at most two generations.
    pub credentials: Vec<Credential>,
    /// What is known of its role.
    pub trust: Trust,
    /// What the last test found.
    pub verdict: Option<Verdict>,
}

/// An integration with its regions, as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// The integration.
    pub integration: Integration,
    /// Its regions.
    pub regions: BTreeMap<Region, RegionConnection>,
    /// When a heartbeat was last accepted in each region.
    pub heartbeats: BTreeMap<Region, Timestamp>,
}

impl Connection {
    /// Returns what the last test of a region found, with what has been proven since: that events come.
    pub fn verdict(&self, region: &Region) -> Option<Verdict> {
        let mut verdict = self.regions.get(region)?.verdict.clone()?;
        if self.heartbeats.contains_key(region) {
            let event_path = verdict
                .probes
                .iter_mut()
                .filter(|probe| probe.check == Check::EventPath);
            event_path.for_each(|probe| probe.outcome = Outcome::Passed);
        }
        Some(verdict)
    }

    /// Returns what opens a region's registry, if the integration is there and the role is proven.
    pub fn trusted_role(&self, region: &Region) -> Option<TrustedRole> {
        if self.integration.removed_at.is_some() {
            return None;
        }
        match &self.regions.get(region)?.trust {
            Trust::Proven { role, .. } => Some(TrustedRole::new(
                TenantScope::of(self.integration.tenant.clone()),
                role.clone(),
                self.integration.external_id.clone(),
                region.clone(),
            )),
            Trust::Unnamed | Trust::Claimed { .. } | Trust::Refused { .. } => None,
        }
    }
}
