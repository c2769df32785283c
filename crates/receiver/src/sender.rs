//! Who sent an event, and which of a sender's events count.

use std::collections::BTreeMap;

use jiff::Timestamp;
use portwarden_core::{
    endpoint::{BasicCredentials, CredentialChecker, Endpoint, EndpointRegion},
    event::{Claim, SOURCES, UnverifiedEvent},
    id::{AccountId, ExternalId, IntegrationId, Region},
    scope::TenantScope,
};

use crate::error::{Reason, Refusal};

/// Who sent an event: proven by credentials of a proven region, or by the rule of our own account.
pub(crate) struct Sender {
    /// What follows is done for this tenant.
    pub(crate) scope: TenantScope,
    /// The integration.
    pub(crate) integration: IntegrationId,
    /// The proven account.
    pub(crate) account: AccountId,
    /// What the integration's claims carry.
    pub(crate) external_id: ExternalId,
    /// The known regions, and whether each is proven.
    pub(crate) regions: BTreeMap<Region, bool>,
    /// What the stacks of the regions said when their roles were last found to be trusted.
    pub(crate) claims: BTreeMap<Region, Claim>,
    /// The region whose credentials came for the first time, in the place of others.
    pub(crate) first_use: Option<Region>,
    /// How many regions there may be; one that is not known is added only below it.
    pub(crate) max_regions: usize,
}

/// An event that its sender may send.
pub(crate) struct VerifiedEvent {
    /// What it says.
    pub(crate) event: UnverifiedEvent,
    /// What is known of the region that it speaks of.
    pub(crate) region: Standing,
}

/// What is known of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its role is proven.
    Proven,
    /// It is known, and its role is not proven.
    Unproven,
    /// Nothing: it announces itself with this event.
    New,
}

impl Sender {
    /// Takes the owner of an endpoint for who they are, if that is proven.
    ///
    /// The region that the credentials belong to must be proven: without that, nobody has shown that the endpoint's owner
    /// has an account at all.
    pub(crate) fn admit(
        checker: &CredentialChecker,
        endpoint: Option<&Endpoint>,
        presented: Option<&BasicCredentials>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let (endpoint, authenticated) = endpoint
            .zip(checker.check(endpoint, presented, now))
            .ok_or(Refusal::NotAccepted(Reason::Credentials))?;
        if endpoint.removed {
            return Err(Refusal::Removed);
        }
        let is_proven = |region| endpoint.regions.get(region).is_some_and(|region| region.proven);
        let account = endpoint
            .account
            .as_ref()
            .filter(|_| is_proven(&authenticated.region))
            .ok_or(Refusal::NotAccepted(Reason::Unproven))?;
        let regions = endpoint.regions.iter();
        let claim = |region: &EndpointRegion| region.claim.clone();
        Ok(Self {
            first_use: authenticated.is_first_use.then(|| authenticated.region.clone()),
            claims: endpoint
                .regions
                .iter()
                .filter_map(|(name, region)| Some((name.clone(), claim(region)?)))
                .collect(),
            scope: authenticated.scope,
            integration: authenticated.integration,
            account: account.clone(),
            external_id: endpoint.external_id.clone(),
            regions: regions
                .map(|(name, region)| (name.clone(), region.proven))
                .collect(),
            max_regions: 64,
        })
    }

    /// Lets an event pass that this sender may send.
    pub(crate) fn verify(&self, event: UnverifiedEvent) -> Result<VerifiedEvent, Refusal> {
        if event.account != self.account {
            return Err(Refusal::OtherAccount);
        }
        if !SOURCES.contains(&event.source.as_str()) {
            return Err(Refusal::OtherSource);
        }
        if let Some(claim) = event.kind.claim()
            && (claim.external_id != self.external_id || *claim.role.account() != self.account)
        {
            return Err(Refusal::OtherStack);
        }
        let region = match self.regions.get(&event.region) {
            Some(true) => Standing::Proven,
            Some(false) => Standing::Unproven,
            None if self.regions.len() < self.max_regions => Standing::New,
            None => return Err(Refusal::OtherRegion),
        };
        Ok(VerifiedEvent { event, region })
    }
}
