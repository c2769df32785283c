//! Invariants 2, 3 and 4: who is trusted, with which id, and what a session is used for.

use jiff::Timestamp;
use portwarden_core::{
    arn::RoleArn,
    ecr::RegistryId,
    id::{IntegrationId, Region},
    session::Purpose,
};
use serde_json::Value;

use crate::{
    breach::{Breach, Invariant, hold},
    cloud::{Manner, Opened},
    function::Function,
    world::{Asked, State, StsAnswer},
};

impl State {
    /// Checks what becomes known of a region's role.
    pub(super) fn check_region(
        &mut self,
        process: u64,
        integration: &IntegrationId,
        region: &Region,
        body: &Value,
    ) -> Result<(), Breach> {
        let is_proven = body["trust"]["state"] == "proven";
        // An older verdict lies there still when something else of the region is written.
        let found_at = body["verdict"]["at"].as_str().and_then(|at| at.parse().ok());
        let is_of_this_work = |at: Timestamp| {
            let serving = self.serving.get(&process);
            serving.is_some_and(|serving| serving.started <= at)
        };
        if found_at.is_some_and(is_of_this_work) {
            self.check_verdict(process, body)?;
        }
        let now = self.now();
        let known = self
            .model
            .trust
            .entry((integration.clone(), region.clone()))
            .or_default();
        if known.last().is_none_or(|(_, before)| *before != is_proven) {
            known.push((now, is_proven));
            match is_proven {
                true => self.figures.proven += 1,
                false if body["trust"]["state"] == "refused" => self.figures.distrusted += 1,
                false => {}
            }
        }
        Ok(())
    }

    /// A probe passed only if STS said so, in this very batch.
    fn check_verdict(&mut self, process: u64, body: &Value) -> Result<(), Breach> {
        let verdict = &body["verdict"];
        let Some(serving) = self.serving.get(&process) else {
            return Ok(());
        };
        let passed = |check: &str| {
            verdict["probes"].as_array().is_some_and(|probes| {
                probes
                    .iter()
                    .any(|probe| probe["check"] == check && probe["outcome"] == "passed")
            })
        };
        let Some(party) = self.party_served(process) else {
            return Ok(());
        };
        let right = party.external_id.as_str();
        let answers = |wanted: &dyn Fn(&Asked) -> bool| {
            let told = serving.told.iter().filter(|told| wanted(&told.asked));
            told.map(|told| told.answer).collect::<Vec<_>>()
        };
        let canary = answers(&|asked| matches!(asked, Asked::Canary));
        let with = |id: Option<&str>| {
            answers(&|asked| matches!(asked, Asked::Role { external_id, .. } if external_id.as_deref() == id))
        };
        let wrong =
            answers(&|asked| matches!(asked, Asked::Role { external_id: Some(id), .. } if id != right));
        let refused = |answers: &[StsAnswer]| {
            !answers.is_empty() && answers.iter().all(|answer| *answer == StsAnswer::Refused)
        };
        let is_so = [
            (
                "opens_with_external_id",
                with(Some(right)).contains(&StsAnswer::Opened),
            ),
            ("canary", canary.contains(&StsAnswer::Opened)),
            (
                "refuses_none",
                refused(&with(None)) && canary.contains(&StsAnswer::Opened),
            ),
            ("refuses_others", refused(&wrong)),
        ];
        for (check, is_so) in is_so {
            hold(is_so || !passed(check), Invariant::TrustedOnlyIfItRefuses, || {
                format!("{check} passed, and STS told {:?}", serving.told)
            })?;
        }
        if body["trust"]["state"] == "proven" && body["trust"]["at"] == verdict["at"] {
            let role = body["trust"]["role"].as_str().unwrap_or_default();
            let is_good = self
                .cloud
                .role(role)
                .is_some_and(|role| role.was(serving.started, Manner::is_good));
            hold(is_good, Invariant::TrustedOnlyIfItRefuses, || {
                format!("{role} became trusted, and it opens for others: {verdict}")
            })?;
            let site = party.sites.iter().any(|site| site.role.as_str() == role);
            hold(
                site && party.account.as_str() == account_of(role),
                Invariant::TrustedOnlyIfItRefuses,
                || format!("{role} became trusted for {}, whose it is not", party.tenant),
            )?;
        }
        Ok(())
    }

    /// The ExternalId is the served tenant's, but for the negative probes, which never use another tenant's.
    pub(crate) fn check_assume(
        &mut self,
        process: u64,
        function: Function,
        role: &RoleArn,
        external_id: Option<&str>,
    ) -> Result<(), Breach> {
        self.figures.checks += 1;
        // A scan goes on in another place of the tenant's, which may belong to another integration of it.
        let tenant = self.tenant_of(process);
        let mut parties = self.model.parties.iter();
        let party = match function {
            Function::Scanner => {
                parties.find(|party| party.account == *role.account() && Some(&party.tenant) == tenant)
            }
            Function::Receiver | Function::Verifier | Function::Reconciler | Function::Notifier => {
                self.party_served(process)
            }
        };
        let Some(party) = party else {
            return Err((
                Invariant::ExternalIdAlwaysSent,
                format!("{role} is assumed for {tenant:?}, whose it is not"),
            ));
        };
        let is_right = external_id == Some(party.external_id.as_str());
        let is_foreign = external_id
            .and_then(|id| self.model.owner_of(id))
            .is_some_and(|owner| owner.external_id != party.external_id);
        hold(
            is_right || (function == Function::Verifier && !is_foreign),
            Invariant::ExternalIdAlwaysSent,
            || format!("{role} is assumed for {} with {external_id:?}", party.tenant),
        )
    }

    /// A role that is used was proven when the work began, or since.
    pub(crate) fn check_role_is_proven(&mut self, process: u64, region: &Region) -> Result<(), Breach> {
        let (Some(serving), Some(party)) = (self.serving.get(&process), self.party_served(process)) else {
            return Ok(());
        };
        // Another integration of the tenant may open the place.
        let mut parties = self
            .model
            .parties
            .iter()
            .filter(|other| other.tenant == party.tenant);
        hold(
            parties.any(|other| self.was_proven(&other.integration, region, serving.started)),
            Invariant::TrustedOnlyIfItRefuses,
            || {
                format!(
                    "a role of {} in {region} is used that is not proven",
                    party.tenant
                )
            },
        )
    }

    /// Tells whether a region was proven at some time from `since` on.
    pub(crate) fn was_proven(&self, integration: &IntegrationId, region: &Region, since: Timestamp) -> bool {
        self.proven_then(integration, region, since).contains(&true)
    }

    /// Tells whether a region was proven all the time from `since` on.
    pub(crate) fn is_proven_since(
        &self,
        integration: &IntegrationId,
        region: &Region,
        since: Timestamp,
    ) -> bool {
        !self.proven_then(integration, region, since).contains(&false)
    }

    /// Lists what was known of a region's role from `since` on.
    fn proven_then(&self, integration: &IntegrationId, region: &Region, since: Timestamp) -> Vec<bool> {
        let key = (integration.clone(), region.clone());
        let Some(known) = self.model.trust.get(&key) else {
            return vec![false];
        };
        let started = known.partition_point(|(at, _)| *at <= since);
        let mut then: Vec<bool> = known[started..].iter().map(|(_, proven)| *proven).collect();
        then.push(started.checked_sub(1).is_some_and(|last| known[last].1));
        then
    }

    /// A session is used only for what it was opened for.
    pub(crate) fn check_session(
        &mut self,
        process: u64,
        session: &Opened,
        registry: &RegistryId,
    ) -> Result<(), Breach> {
        self.figures.checks += 1;
        let tenant = self.tenant_of(process);
        let parties = &self.model.parties;
        let owner = parties.iter().find(|party| party.account == registry.account);
        hold(
            owner.is_some_and(|owner| Some(&owner.tenant) == tenant),
            Invariant::NoCrossTenantByte,
            || format!("the registry {registry} is read in the work for {tenant:?}"),
        )?;
        let expected = owner.and_then(|owner| {
            let site = owner.site_of(&registry.region)?;
            Some((site.role.as_str(), owner.external_id.as_str()))
        });
        let is_its_own = session.account == registry.account
            && session.region == registry.region
            && matches!(session.purpose, Purpose::Registry | Purpose::Proof)
            && Some((
                session.role.as_str(),
                session.external_id.as_deref().unwrap_or_default(),
            )) == expected;
        hold(is_its_own, Invariant::SessionsScopedDown, || {
            format!("the registry {registry} is read in a session of another: {session:?}")
        })
    }
}

fn account_of(role: &str) -> &str {
    role.split(':').nth(4).unwrap_or_default()
}
