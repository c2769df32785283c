//! Integrations: the AWS accounts that tenants connect, region by region.

mod asked;
mod credentials;
mod directory;
mod integrations;
mod operator;
mod records;
mod trust;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    endpoint::{Credential, Salt},
    event::Claim,
    id::{AccountId, ExternalId, IntegrationId, Region, TenantId},
    scope::TenantScope,
    session::TrustedRole,
    verdict::{Check, Outcome, Verdict},
};

pub use asked::{NoRotation, NotOneAccount, Renamed};
pub use directory::{Directory, RoleOwner};
pub use integrations::{Integrations, NewRegion};
pub use trust::{Confirmed, RecordVerdictError, RecordedVerdict, Trust};

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
    /// The account that the tenant has named: by confirming it, beforehand, or with a role that was proven.
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
    /// What the stack of the role said when the role was last found to be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Until when a claim with other credentials is looked at, since the stack makes new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_until: Option<Timestamp>,
}

impl RegionConnection {
    /// Makes a region of which nothing is known.
    pub fn new(region: Region) -> Self {
        Self {
            region,
            credentials: Vec::new(),
            trust: Trust::Unnamed,
            verdict: None,
            claim: None,
            renewal_until: None,
        }
    }
}

/// How late a heartbeat may come.
const DELIVERY: SignedDuration = SignedDuration::from_mins(1);

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
        if let Some(last) = self.heartbeats.get(region) {
            let (last, at) = (*last, verdict.at);
            let event_path = verdict
                .probes
                .iter_mut()
                .filter(|probe| probe.check == Check::EventPath);
            // A path that was silent is proven by what came after that.
            let is_proven = |outcome: &Outcome| matches!(outcome, Outcome::Unknown(_)) || at <= last;
            event_path
                .filter(|probe| is_proven(&probe.outcome))
                .for_each(|probe| probe.outcome = Outcome::Passed);
        }
        Some(verdict)
    }

    /// Returns from when on a region counts as silent: two heartbeats of its stack are missing.
    ///
    /// There is none for a stack that does not say how often it sends one.
    pub fn silent_from(&self, region: &Region) -> Option<Timestamp> {
        let minutes = self.regions.get(region)?.claim.as_ref()?.rate_minutes?;
        let missed = SignedDuration::from_mins(2 * i64::from(minutes)) + DELIVERY;
        self.heartbeats.get(region)?.checked_add(missed).ok()
    }

    /// Returns what opens a region's registry, if the integration is there and the role is proven.
    pub fn trusted_role(&self, region: &Region) -> Option<TrustedRole> {
        if self.integration.removed_at.is_some() {
            return None;
        }
        match &self.regions.get(region)?.trust {
            Trust::Proven { role, .. } if self.integration.account.as_ref() == Some(role.account()) => {
                Some(TrustedRole::new(
                    TenantScope::of(self.integration.tenant.clone()),
                    role.clone(),
                    self.integration.external_id.clone(),
                    region.clone(),
                ))
            }
            _ => None,
        }
    }
}
