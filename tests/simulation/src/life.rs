//! What stacks and their owners do in their turn: stacks say that they are there, beat, and make other credentials; owners
//! confirm an account, mend their roles, and go.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    arn::RoleArn,
    endpoint::Password,
    id::RequestId,
    integration::{Integrations, Trust},
    random::Randomness,
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::{
    action::id_of,
    bridge::{Accepted, Expected, Post},
    cloud::Manner,
    model::OLD_LAST,
    outside::at_once,
    party::{Farewell, Nature, basic},
    queue::{QueueName, Request},
    world::{Job, State},
};

/// Something that a stack or its owner does, by the numbers of the integration and its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// A stack was made, and says so.
    Appear { party: usize, site: usize },
    /// A stack says that it is there still.
    Beat { party: usize, site: usize },
    /// An owner has a stack make other credentials.
    Rotate { party: usize, site: usize },
    /// The stack has made them, and uses them.
    Renew { party: usize, site: usize },
    /// Something comes with the credentials before, while they are good.
    Late { party: usize, site: usize },
    /// Somebody tries the credentials before, when they are dead.
    Steal { party: usize, site: usize },
    /// An integration is left by its tenant.
    Leave { party: usize },
}

/// How often a stack sends a heartbeat.
pub(crate) const HEARTBEAT: Duration = Duration::from_mins(15);

/// How long to wait before something is tried again whose time has not come.
const LATER: Duration = Duration::from_mins(3);

/// The role of a stranger that trusts us with the ExternalId of an integration.
pub(crate) fn stranger_of(party: usize) -> RoleArn {
    format!("arn:aws:iam::666666666666:role/stranger-{party}")
        .parse()
        .expect("an ARN that is made here is valid")
}

impl State {
    /// Notes when everybody begins with what they do.
    pub(crate) fn begin_lives(&mut self) {
        let now = self.now();
        for party in 0..self.model.parties.len() {
            let owner = &self.model.parties[party];
            let (id, sites) = (owner.external_id.to_string(), owner.sites.len());
            let (is_quick, farewell) = (owner.is_quick, owner.farewell);
            self.note_made(party);
            let owner = &self.model.parties[party];
            if !is_quick {
                // With the role's ARN its tenant names the account.
                self.model.confirmed.insert(owner.integration.clone());
            }
            self.cloud.add_role(&stranger_of(party), &id, Manner::Exact, now);
            for site in (0..sites).filter(|_| is_quick) {
                self.live_within((1, 300), Life::Appear { party, site });
                if site == 0 {
                    self.live_within((15 * 60, 35 * 60), Life::Rotate { party, site });
                }
            }
            if farewell.is_some() {
                self.live_within((3 * 60, 50 * 60), Life::Leave { party });
            }
        }
    }

    fn live_within(&mut self, (low, high): (u64, u64), life: Life) {
        let wait = Duration::from_millis(self.chance.between(low * 1000, high * 1000));
        self.agenda.after(wait, Job::Live(life));
    }

    /// Does what it is the time for.
    pub(crate) fn live(&mut self, life: Life, randomness: &dyn Randomness) {
        if self.is_silent {
            return;
        }
        let again = |state: &mut Self, wait| state.agenda.after(wait, Job::Live(life));
        match life {
            Life::Appear { party, site } => {
                self.tell_status(party, site, "CREATE_COMPLETE");
                self.live_within((1, 900), Life::Beat { party, site });
            }
            Life::Beat { party, site } => {
                if self.model.parties[party].closed_at.is_some() {
                    return;
                }
                self.beat(party, site);
                again(self, HEARTBEAT);
            }
            Life::Rotate { party, site } => {
                if !self.is_connected(party, site) {
                    return again(self, LATER);
                }
                self.tell_status(party, site, "UPDATE_IN_PROGRESS");
                self.live_within((30, 180), Life::Renew { party, site });
            }
            Life::Renew { party, site } => {
                self.renew(party, site, randomness);
                self.tell_status(party, site, "UPDATE_COMPLETE");
                self.live_within((3600, 22 * 3600), Life::Late { party, site });
                self.live_within((25 * 3600, 26 * 3600), Life::Steal { party, site });
            }
            Life::Late { party, site } => {
                let ends = self.first_use(party, site).map(|first| first + OLD_LAST);
                let is_good = ends.is_some_and(|ends| self.now() + SignedDuration::from_mins(30) < ends);
                if is_good && self.model.parties[party].closed_at.is_none() {
                    self.post_with_the_old(party, site, true);
                }
            }
            Life::Steal { party, site } => {
                let ended = self.first_use(party, site).map(|first| first + OLD_LAST);
                // A process remembers an endpoint for a minute.
                if ended.is_some_and(|ended| ended + SignedDuration::from_secs(61) <= self.now()) {
                    self.post_with_the_old(party, site, false);
                } else {
                    again(self, Duration::from_mins(30));
                }
            }
            Life::Leave { party } => {
                let sites = self.model.parties[party].sites.len();
                if !(0..sites).all(|site| self.is_connected(party, site)) {
                    return again(self, LATER);
                }
                self.leave(party);
            }
        }
    }

    /// Sends a heartbeat.
    pub(crate) fn beat(&mut self, party: usize, site: usize) {
        let region = self.model.parties[party].sites[site].region.clone();
        let detail = self.claim(party, site);
        let event = self.envelope(party, &region, "aws.events", "Portwarden Heartbeat", &detail);
        self.post_event(party, site, &event, Accepted::Heartbeat { region });
    }

    /// Sends what a stack says of itself.
    pub(crate) fn tell_status(&mut self, party: usize, site: usize, status: &str) {
        let region = self.model.parties[party].sites[site].region.clone();
        let mut detail = self.claim(party, site);
        detail["stack-id"] = json!("arn:aws:cloudformation:stack/portwarden/1");
        detail["status-details"] = json!({"status": status});
        let (source, kind) = ("aws.cloudformation", "CloudFormation Stack Status Change");
        let event = self.envelope(party, &region, source, kind, &detail);
        let id = id_of(&event);
        self.post_event(party, site, &event, Accepted::Claim { id });
    }

    fn is_connected(&self, party: usize, site: usize) -> bool {
        let owner = &self.model.parties[party];
        let known = self.standings(&owner.integration, &owner.sites[site].region, self.now());
        known
            .last()
            .is_some_and(|standing| standing.is_proven && !standing.generations.is_empty())
    }

    fn first_use(&self, party: usize, site: usize) -> Option<Timestamp> {
        let owner = &self.model.parties[party];
        let known = self.standings(&owner.integration, &owner.sites[site].region, self.now());
        known.last()?.generations.last()?.1
    }

    /// The secret and the connection of a stack change together.
    fn renew(&mut self, party: usize, site: usize, randomness: &dyn Randomness) {
        let password = Password::generate(randomness);
        let (username, password) = (
            format!("events-{site}"),
            password.secret().expose_secret().to_owned(),
        );
        let site = &mut self.model.parties[party].sites[site];
        site.credentials.push(basic(&username, &password));
        if let Some(secret) = &site.secret {
            self.cloud.keep_secret(secret, &username, &password);
        }
    }

    fn post_with_the_old(&mut self, party: usize, site: usize, are_good: bool) {
        let stack = &self.model.parties[party].sites[site];
        let region = stack.region.clone();
        let authorization = stack.credentials[0].clone();
        let detail = json!({"scan-status": "COMPLETE"});
        let event = self.envelope(party, &region, "aws.ecr", "ECR Image Scan", &detail);
        let id = id_of(&event);
        let expected = if are_good {
            Expected::Accepted(Accepted::Note { id })
        } else {
            Expected::NotAccepted
        };
        self.post(Post {
            party,
            authorization,
            body: event.to_string().into(),
            expected,
        });
    }

    fn leave(&mut self, party: usize) {
        let now = self.now();
        let owner = &mut self.model.parties[party];
        match owner.farewell {
            Some(Farewell::Asked) => {
                let integrations = Integrations::new(self.store.clone());
                let removed = at_once(integrations.remove(&owner.scope, &owner.integration, now));
                assert!(removed.expect("memory answers"), "there is something to remove");
                let id = owner.integration.clone();
                self.note(0, "remove", &id, "asked");
                self.model.removed.insert(id, now);
            }
            Some(Farewell::Closed) => {
                owner.closed_at = Some(now);
                let roles: Vec<String> = owner.sites.iter().map(|site| site.role.to_string()).collect();
                for role in roles {
                    self.cloud.change_trust(&role, Manner::Nobody, now);
                }
            }
            None => {}
        }
    }

    /// Lets owners confirm accounts, mend their roles, and ask for tests of connections that are not green.
    pub(crate) fn inspect(&mut self, is_calm: bool, people: &dyn Randomness) {
        let now = self.now();
        let mut asked = Vec::new();
        for number in 0..self.model.parties.len() {
            let party = &self.model.parties[number];
            let is_there = party.closed_at.is_none() && !self.model.removed.contains_key(&party.integration);
            if !is_there {
                continue;
            }
            let (is_honest, is_quick) = (party.nature == Nature::Honest, party.is_quick);
            let is_confirmed = !is_quick || self.confirm(number);
            for site in self.model.parties[number].sites.clone() {
                let role = site.role.as_str();
                let is_good = self.cloud.role(role).is_some_and(|role| role.manner().is_good());
                let mends = is_calm || self.chance.per_mille(100);
                if is_honest && !is_good && mends {
                    self.cloud.change_trust(role, Manner::Exact, now);
                }
                let party = &self.model.parties[number];
                let is_proven = self.is_proven_since(&party.integration, &site.region, now);
                let asks = match (is_honest, is_calm) {
                    (true, true) => !is_proven,
                    (true, false) => !is_proven || self.chance.per_mille(10),
                    (false, calm) => !calm && self.chance.per_mille(60),
                };
                if asks && is_confirmed {
                    asked.push(VerifyRequest {
                        tenant: party.tenant.clone(),
                        integration: party.integration.clone(),
                        region: site.region,
                        role: (!is_quick).then_some(site.role),
                        claim: None,
                        said_at: None,
                        reason: VerifyReason::Asked,
                        request: RequestId::generate(people),
                        trace: TraceId::generate(now, people),
                        attempt: 0,
                    });
                }
            }
        }
        for request in asked {
            self.enqueue(QueueName::Verify, Request::Verify(Box::new(request)));
        }
    }

    /// Confirms an account once it is the owner's own that a stack claims; tells whether it is confirmed.
    fn confirm(&mut self, number: usize) -> bool {
        let party = &self.model.parties[number];
        if self.model.confirmed.contains(&party.integration) {
            return true;
        }
        let integrations = Integrations::new(self.store.clone());
        let found = at_once(integrations.find(&party.scope, &party.integration));
        let is_own = found.expect("memory answers").is_some_and(|connection| {
            let mut regions = connection.regions.values();
            regions.any(|region| {
                matches!(&region.trust, Trust::Proposed { role, .. } if *role.account() == party.account)
            })
        });
        if is_own {
            let confirmed = integrations.confirm_account(&party.scope, &party.integration, &party.account);
            at_once(confirmed).expect("memory takes an account");
            let id = party.integration.clone();
            self.note(0, "confirm", &id, "clicked");
            self.model.confirmed.insert(id);
        }
        is_own
    }
}
