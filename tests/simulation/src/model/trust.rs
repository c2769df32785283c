//! Invariants 2, 3 and 4: who is trusted, with which id, and what a session is used for.

use portwarden_core::{
    ecr::RegistryId,
    id::{IntegrationId, Region},
    session::{Purpose, TrustedRole},
};
use serde_json::{Value, json};

use crate::{
    breach::{Breach, Invariant, hold},
    cloud::{Assume, Opened, canary_arn},
    function::Function,
    life::stranger_of,
    party::Nature,
    world::{Asked, State, StsAnswer, Work},
};

impl State {
    /// Checks what becomes known of a region.
    pub(super) fn check_region(
        &mut self,
        process: u64,
        integration: &IntegrationId,
        region: &Region,
        body: &Value,
    ) -> Result<(), Breach> {
        let verdict = json!([body["verdict"]["request"], body["verdict"]["at"]]);
        let key = (integration.clone(), region.clone());
        // It lies there still when something else of the region is written.
        if body["verdict"].is_object() && self.model.verdicts.get(&key) != Some(&verdict) {
            self.check_verdict(process, integration, region, body)?;
            self.model.verdicts.insert(key, verdict);
        }
        self.note_standing(process, integration, region, body)
    }

    /// A probe passed only if STS said so, in this very batch.
    fn check_verdict(
        &self,
        process: u64,
        integration: &IntegrationId,
        region: &Region,
        body: &Value,
    ) -> Result<(), Breach> {
        let verdict = &body["verdict"];
        let number = self.model.party_of(integration);
        let Some((serving, party)) = self
            .serving
            .get(&process)
            .zip(number.map(|number| &self.model.parties[number]))
        else {
            return Ok(());
        };
        let passed = |check: &str| {
            verdict["probes"].as_array().is_some_and(|probes| {
                probes
                    .iter()
                    .any(|probe| probe["check"] == check && probe["outcome"] == "passed")
            })
        };
        let right = party.external_id.as_str();
        let batch = verdict["request"].as_str().unwrap_or_default();
        let told = || {
            let told = serving.told.iter();
            told.filter(|told| told.session.strip_prefix("verify-") == Some(batch))
        };
        let answers = |wanted: &dyn Fn(&Asked) -> bool| {
            let told = told().filter(|told| wanted(&told.asked));
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
            // Each day one kind of wrong ExternalId is tried, on a role that is proven; all kinds have their days.
            let was_proven = self.was_proven(integration, region, self.now());
            let is_daily = wrong.len() == 1 && was_proven;
            let is_good = self.cloud.role(role).is_some_and(|role| {
                role.was(serving.started, |manner| {
                    manner.is_good() || (is_daily && manner.refuses_none())
                })
            });
            hold(
                is_good && (is_daily || wrong.len() > 1),
                Invariant::TrustedOnlyIfItRefuses,
                || format!("{role} became trusted, and it opens for others: {verdict}"),
            )?;
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
    pub(crate) fn check_assume(&mut self, process: u64, asked: &Assume<'_>) -> Result<(), Breach> {
        self.figures.checks += 1;
        let Assume {
            by,
            role,
            external_id,
            ..
        } = *asked;
        if *role == canary_arn() && by == Function::Verifier {
            return Ok(());
        }
        let Some(number) = self.party_asked_for(process, asked) else {
            return Err((
                Invariant::ExternalIdAlwaysSent,
                format!(
                    "{role} is assumed for {:?}, whose it is not",
                    self.tenant_of(process)
                ),
            ));
        };
        let party = &self.model.parties[number];
        let is_right = external_id == Some(party.external_id.as_str());
        let is_foreign = external_id
            .and_then(|id| self.model.owner_of(id))
            .is_some_and(|owner| self.model.parties[owner].external_id != party.external_id);
        hold(
            is_right || (by == Function::Verifier && !is_foreign),
            Invariant::ExternalIdAlwaysSent,
            || format!("{role} is assumed for {} with {external_id:?}", party.tenant),
        )?;
        self.check_is_there(process, party)
    }

    /// Returns for which integration a role is assumed.
    fn party_asked_for(&mut self, process: u64, asked: &Assume<'_>) -> Option<usize> {
        let tenant = self.tenant_of(process).cloned();
        let is_round = matches!(self.serving.get(&process)?.work, Work::Round);
        if asked.by == Function::Scanner {
            // A scan goes on in another place of the tenant's, which may belong to another integration of it.
            let mut parties = self.model.parties.iter();
            return parties.position(|party| {
                party.account == *asked.role.account() && Some(&party.tenant) == tenant.as_ref()
            });
        }
        if !is_round {
            let party = self.party_served(process)?;
            return self.model.party_of(&party.integration);
        }
        // A round tests one after the other: whose test it is tells the first probe, which is made as work is.
        let known = self.serving.get(&process)?.batches.get(asked.name).copied();
        let number = match known {
            Some(number) => number,
            None => self.model.owner_of(asked.external_id?)?,
        };
        let party = &self.model.parties[number];
        let mut sites = party.sites.iter();
        // A thief's stack claims a role of the thief's own account, which no site has.
        let is_its = sites.any(|site| site.role == *asked.role)
            || (party.nature == Nature::Thief && *asked.role.account() == party.account)
            || *asked.role == stranger_of(number);
        let batches = &mut self.serving.get_mut(&process)?.batches;
        batches.insert(asked.name.to_owned(), number);
        is_its.then_some(number)
    }

    /// A role that is used was proven when the work began, or since.
    pub(crate) fn check_role_is_proven(&self, process: u64, role: &TrustedRole) -> Result<(), Breach> {
        let owner = self.model.owner_of(role.external_id().as_str());
        let party = owner.map(|number| &self.model.parties[number]);
        let is_proven = self
            .serving
            .get(&process)
            .zip(party)
            .is_some_and(|(serving, party)| {
                self.was_proven(&party.integration, role.region(), serving.started)
            });
        hold(is_proven, Invariant::TrustedOnlyIfItRefuses, || {
            format!("{} is used in {}, and is not proven", role.role(), role.region())
        })
    }

    /// A session is used only for what it was opened for.
    pub(crate) fn check_session(
        &mut self,
        process: u64,
        session: &Opened,
        registry: &RegistryId,
    ) -> Result<(), Breach> {
        self.figures.checks += 1;
        let owner = self.model.holder_of(&registry.account);
        hold(
            owner.is_some_and(|owner| self.serves(process, owner.tenant.as_str())),
            Invariant::NoCrossTenantByte,
            || {
                format!(
                    "the registry {registry} is read in the work for {:?}",
                    self.tenant_of(process)
                )
            },
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
        })?;
        self.check_reads(process, session)
    }
}

fn account_of(role: &str) -> &str {
    role.split(':').nth(4).unwrap_or_default()
}
