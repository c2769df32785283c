//! What was known of a region when: whether its role is proven, and which credentials its stack may send with.

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    id::{IntegrationId, Region},
    work::{VerifyReason, VerifyRequest},
};
use serde_json::Value;

use crate::{
    breach::{Breach, Invariant, hold},
    bridge::Post,
    model::Model,
    party::{Party, Site},
    world::{State, Work},
};

/// How long the credentials before the newest ones are good for, from the first use of these.
pub(crate) const OLD_LAST: SignedDuration = SignedDuration::from_hours(24);

/// What is known of a region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) is_proven: bool,
    /// The generations of credentials, and when each was first used in the place of others.
    pub(crate) generations: Vec<(u32, Option<Timestamp>)>,
    /// Until when other credentials are expected.
    renewal_until: Option<Timestamp>,
    /// Minutes between two heartbeats.
    rate: Option<i64>,
}

impl Model {
    /// Returns what was known of a region, and since when, the oldest first.
    fn known(&self, integration: &IntegrationId, region: &Region) -> &[(Timestamp, Standing)] {
        let regions = self.standing.get(integration);
        let known = regions.and_then(|regions| regions.get(region));
        known.map_or(&[], Vec::as_slice)
    }
}

impl Standing {
    /// Reads what a region's item says.
    pub(super) fn of(body: &Value) -> Self {
        let time = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let credentials = body["credentials"].as_array().into_iter().flatten();
        let generation = |credential: &Value| {
            let number = credential["generation"]
                .as_u64()
                .and_then(|number| number.try_into().ok());
            (number.unwrap_or_default(), time(&credential["first_used_at"]))
        };
        Self {
            is_proven: body["trust"]["state"] == "proven",
            generations: credentials.map(generation).collect(),
            renewal_until: time(&body["renewal_until"]),
            rate: body["claim"]["rate-minutes"].as_i64(),
        }
    }

    /// Tells whether a generation is good at a time.
    pub(crate) fn takes(&self, generation: u32, now: Timestamp) -> bool {
        let Some((newest, first_use)) = self.generations.last() else {
            return false;
        };
        let is_known = self.generations.iter().any(|(known, _)| *known == generation);
        is_known && (generation == *newest || first_use.is_none_or(|first| now < first + OLD_LAST))
    }

    /// Tells whether something of the region is to be connected, but for its silence.
    fn awaits(&self, now: Timestamp) -> bool {
        !self.is_proven || self.generations.is_empty() || self.renewal_until.is_some_and(|until| now < until)
    }
}

impl State {
    /// Lists what was known of a region from `since` on, the oldest first.
    pub(crate) fn standings(
        &self,
        integration: &IntegrationId,
        region: &Region,
        since: Timestamp,
    ) -> Vec<&Standing> {
        let known = self.model.known(integration, region);
        let started = known.partition_point(|(at, _)| *at <= since);
        known[started.saturating_sub(1)..]
            .iter()
            .map(|(_, standing)| standing)
            .collect()
    }

    /// Tells whether a region was proven at some time from `since` on.
    pub(crate) fn was_proven(&self, integration: &IntegrationId, region: &Region, since: Timestamp) -> bool {
        let then = self.standings(integration, region, since);
        then.iter().any(|standing| standing.is_proven)
    }

    /// Tells whether a region was proven all the time from `since` on.
    pub(crate) fn is_proven_since(
        &self,
        integration: &IntegrationId,
        region: &Region,
        since: Timestamp,
    ) -> bool {
        self.is_all_the_time(integration, region, since, |standing| standing.is_proven)
    }

    /// Tells whether something held of a region all the time from `since` on.
    pub(super) fn is_all_the_time(
        &self,
        integration: &IntegrationId,
        region: &Region,
        since: Timestamp,
        holds: impl Fn(&Standing) -> bool,
    ) -> bool {
        let first = self.model.known(integration, region).first();
        let was_known = first.is_some_and(|(at, _)| *at <= since);
        was_known && self.standings(integration, region, since).into_iter().all(holds)
    }

    /// Notes the regions that an integration was made with.
    pub(crate) fn note_made(&mut self, party: usize) {
        let (now, party) = (self.now(), &self.model.parties[party]);
        let items = party.scope.partition(&["integrations"]);
        for site in &party.sites {
            let item = items.key(&[party.integration.as_str(), "region", site.region.as_str()]);
            if let Some(body) = self.stored(&item) {
                let regions = self.model.standing.entry(party.integration.clone()).or_default();
                regions.insert(site.region.clone(), vec![(now, Standing::of(&body))]);
            }
        }
    }

    /// Lists the regions whose stacks send what a post was sent with, and which generation of theirs it is.
    pub(super) fn senders<'p>(party: &'p Party, post: &'p Post) -> impl Iterator<Item = (&'p Region, u32)> {
        let sites = party.sites.iter();
        sites.filter_map(move |site| Some((&site.region, site.generation_of(&post.authorization)?)))
    }

    /// Notes what became known of a region, and checks what was said of its credentials.
    pub(super) fn note_standing(
        &mut self,
        process: u64,
        integration: &IntegrationId,
        region: &Region,
        body: &Value,
    ) -> Result<(), Breach> {
        let now = self.now();
        let after = Standing::of(body);
        let before = self.model.known(integration, region).last();
        let before = before.map(|(_, before)| before.clone()).unwrap_or_default();
        if before == after {
            return Ok(());
        }
        self.check_generations(process, integration, region, (&before, &after))?;
        if before.is_proven != after.is_proven {
            match after.is_proven {
                true => self.figures.proven += 1,
                false if body["trust"]["state"] == "refused" => self.figures.distrusted += 1,
                false => {}
            }
        }
        if after.generations.len() > 1 && before.generations.len() < 2 {
            self.figures.rotated += 1;
        }
        let regions = self.model.standing.entry(integration.clone()).or_default();
        regions.entry(region.clone()).or_default().push((now, after));
        match self.model.party_of(integration) {
            Some(party) => self.check_trust_of(party),
            None => Ok(()),
        }
    }

    /// What the table says of every region is what became known of it: nothing changes it but a write that was checked, and
    /// nothing takes it away before its integration went.
    pub(crate) fn check_known(&mut self) -> Result<(), Breach> {
        self.figures.checks += 1;
        for party in &self.model.parties {
            let items = party.scope.partition(&["integrations"]);
            for Site { region, .. } in &party.sites {
                let item = items.key(&[party.integration.as_str(), "region", region.as_str()]);
                let said = self.stored(&item).map(|body| Standing::of(&body));
                let known = self.model.known(&party.integration, region).last();
                let known = known.map(|(_, standing)| standing);
                let is_gone = said.is_none() && self.model.removed.contains_key(&party.integration);
                hold(
                    is_gone || said.as_ref() == known,
                    Invariant::TrustedOnlyIfItRefuses,
                    || {
                        format!(
                            "the table says of {} in {region} {said:?}, and known is {known:?}",
                            party.integration
                        )
                    },
                )?;
            }
        }
        Ok(())
    }

    /// Credentials are those that the stack made, none is lost, and what counts as used was used.
    fn check_generations(
        &self,
        process: u64,
        integration: &IntegrationId,
        region: &Region,
        (before, after): (&Standing, &Standing),
    ) -> Result<(), Breach> {
        let party = self
            .model
            .party_of(integration)
            .map(|number| &self.model.parties[number]);
        let site = party.and_then(|party| party.site_of(region));
        let made = site.map_or(0, |site| site.credentials.len());
        let is_made = |generation: u32| usize::try_from(generation).is_ok_and(|number| number <= made);
        hold(
            after
                .generations
                .iter()
                .all(|(generation, _)| is_made(*generation)),
            Invariant::NothingLostInRotation,
            || format!("{integration} takes credentials in {region} that its stack never made: {after:?}"),
        )?;
        for (generation, first_use) in &before.generations {
            let kept = after.generations.iter().find(|(kept, _)| kept == generation);
            let is_kept = kept.is_some_and(|(_, kept)| first_use.is_none() || kept == first_use);
            hold(is_kept, Invariant::NothingLostInRotation, || {
                format!(
                    "{integration} forgets in {region} what it knew of credentials: {before:?}, {after:?}"
                )
            })?;
        }
        let was_used = |generation: u32| {
            let known = before.generations.iter().find(|(known, _)| *known == generation);
            known.is_some_and(|(_, first_use)| first_use.is_some())
        };
        for (generation, first_use) in &after.generations {
            if first_use.is_none() || was_used(*generation) {
                continue;
            }
            let work = self.serving.get(&process).map(|serving| &serving.work);
            let used = match work {
                Some(Work::Delivery(delivery)) => self.bridge.delivery(*delivery),
                _ => None,
            };
            let used = used
                .zip(site)
                .and_then(|(used, site)| site.generation_of(&used.post.authorization));
            hold(
                used == Some(*generation),
                Invariant::NothingLostInRotation,
                || {
                    format!(
                        "credentials of {integration} in {region} count as used that nobody used: {after:?}"
                    )
                },
            )?;
        }
        Ok(())
    }

    /// What came with new credentials in the place of others is noted, so that the others die.
    pub(super) fn check_first_use(&self, post: &Post) -> Result<(), Breach> {
        let party = &self.model.parties[post.party];
        for (region, generation) in Self::senders(party, post) {
            let known = self.standings(&party.integration, region, self.now());
            let Some(generations) = known.last().map(|standing| &standing.generations) else {
                continue;
            };
            let is_noted = match generations[..] {
                [_, .., (newest, first_use)] => newest != generation || first_use.is_some(),
                _ => true,
            };
            hold(is_noted, Invariant::NothingLostInRotation, || {
                format!(
                    "credentials of {} came for the first time, and that is not noted",
                    party.integration
                )
            })?;
        }
        Ok(())
    }

    /// A message without proof is looked at only while something is to be connected, and once a minute.
    pub(crate) fn check_asked(&mut self, process: u64, request: &VerifyRequest) -> Result<(), Breach> {
        let (Some(claim), VerifyReason::Claim) = (&request.claim, request.reason) else {
            return Ok(());
        };
        self.figures.checks += 1;
        self.figures.claims += 1;
        let (now, number) = (self.now(), self.model.party_of(&request.integration));
        let Some((serving, party)) = self
            .serving
            .get(&process)
            .zip(number.map(|number| &self.model.parties[number]))
        else {
            return Ok(());
        };
        let hold_claim = |holds, what: &str| {
            hold(holds, Invariant::ClaimsProveNothing, || {
                format!(
                    "a claim on {} is looked at, and {what}: {claim:?}",
                    party.integration
                )
            })
        };
        let sent = match serving.work {
            Work::Delivery(delivery) => self.bridge.delivery(delivery),
            _ => None,
        };
        // Who has its credentials and names another one has made a mistake, and is told.
        let is_mistaken = sent.is_some_and(|sent| Self::senders(party, &sent.post).next().is_some());
        hold_claim(
            claim.external_id == party.external_id || is_mistaken,
            "it does not carry its ExternalId",
        )?;
        let since = serving.started - super::answer::REFUSES_FOR;
        let known = self.standings(&party.integration, &request.region, since);
        let awaits = |standing: &&Standing| {
            standing.awaits(since) || self.was_silent(party, &request.region, standing, now)
        };
        let is_named = self.model.confirmed.contains(&party.integration);
        hold_claim(
            if known.is_empty() {
                is_named
            } else {
                known.iter().any(awaits)
            },
            "nothing is to be connected",
        )?;
        // Each test has a minute of its own, in which it was noted.
        let minute = |time: Timestamp| time.as_second().div_euclid(60);
        let minutes = minute(serving.started)..=minute(now);
        let looked = self.model.claimed.entry(request.integration.clone()).or_default();
        let free = minutes.into_iter().find(|minute| !looked.contains(minute));
        looked.extend(free);
        hold(free.is_some(), Invariant::ClaimsProveNothing, || {
            format!(
                "{} has more than one test of a claim in a minute",
                request.integration
            )
        })
    }

    /// Tells whether two heartbeats of a stack were missing a moment ago.
    fn was_silent(&self, party: &Party, region: &Region, standing: &Standing, now: Timestamp) -> bool {
        let key = (party.integration.clone(), region.clone());
        let beats = self.model.heartbeats.get(&key).map_or(&[][..], Vec::as_slice);
        let moment_ago = now - SignedDuration::from_secs(10);
        // The last that was noted by then, and what came since.
        let known = beats.partition_point(|(noted, _)| *noted <= moment_ago);
        let oldest = beats[known.saturating_sub(1)..].iter().map(|(_, at)| *at).min();
        let missing = standing.rate.map(|rate| SignedDuration::from_mins(2 * rate + 1));
        oldest
            .zip(missing)
            .is_some_and(|(last, missing)| last + missing <= now)
    }
}
