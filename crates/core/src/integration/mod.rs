//! Integrations: the AWS accounts that tenants connect, region by region.

mod asked;
mod credentials;
mod directory;
mod integrations;
mod operator;
mod orphans;
mod records;
mod removal;
mod roles;
mod rounds;
mod status;
mod told;
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
    session::TrustedRole,
    verdict::{Check, Outcome, Verdict},
};

pub use asked::{NoRotation, NotOneAccount, Renamed};
pub use directory::{Directory, RoleOwner};
pub use integrations::{Integrations, NewRegion};
pub use orphans::{OrphanIntegration, OrphanStack};
pub use removal::{Deleted, Removal, RemovalReason};
pub use roles::Roles;
pub use rounds::{Round, Scheduled, Slot};
pub use status::{Light, NEVER_CONNECTED, Status, silent};
pub use told::StatusChange;
pub use trust::{Confirmed, NamedBy, RecordVerdictError, RecordedVerdict, Trust};

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
    /// What the stack of the role said when it named the role, or when that was last found to be trusted; none of a role that
    /// the tenant named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// When the stack said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_at: Option<Timestamp>,
    /// When the tenant last named a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_at: Option<Timestamp>,
    /// What a stack with the region's own credentials said that demands another ExternalId: its parameters are mistaken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mistaken: Option<Claim>,
    /// Until when a claim with other credentials is looked at, since the stack makes new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_until: Option<Timestamp>,
    /// When a role was last proven, whatever has become of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_proven: Option<Timestamp>,
    /// Since when the role does not open for us any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// A role that no test could open any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Since when.
    pub since: Timestamp,
    /// How many tests found it so.
    pub tests: u32,
}

impl Closed {
    /// How long a role may stay closed before its tenant counts as gone.
    pub const LEFT_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// How many tests must have found it closed by then: most of the daily ones.
    pub const LEFT_AFTER_TESTS: u32 = 5;

    fn means_left(self, now: Timestamp) -> bool {
        self.since + Self::LEFT_AFTER <= now && self.tests >= Self::LEFT_AFTER_TESTS
    }
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
            claim_at: None,
            named_at: None,
            mistaken: None,
            renewal_until: None,
            last_proven: None,
            closed: None,
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
        let claim = self.regions.get(region)?.claim.as_ref()?;
        silent_from(claim, *self.heartbeats.get(region)?)
    }

    /// Tells whether the tenant has left without a word: each role that was ever proven refuses us, test after test.
    ///
    /// A role that trusts too many opens for us, and is no farewell.
    pub fn has_left(&self, now: Timestamp) -> bool {
        let mut known = self
            .regions
            .values()
            .filter(|region| region.last_proven.is_some())
            .peekable();
        known.peek().is_some()
            && known.all(|region| region.closed.is_some_and(|closed| closed.means_left(now)))
    }

    /// Returns what opens a region's registry, if the integration is there and the role is proven.
    pub fn trusted_role(&self, region: &Region) -> Option<TrustedRole> {
        roles::trusted(&self.integration, region, &self.regions.get(region)?.trust)
    }
}

/// When a stack is silent that sent its last heartbeat then.
fn silent_from(claim: &Claim, last: Timestamp) -> Option<Timestamp> {
    let missed = SignedDuration::from_mins(2 * i64::from(claim.rate_minutes?)) + DELIVERY;
    last.checked_add(missed).ok()
}
