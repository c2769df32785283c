//! EventBridge and its API destinations, and strangers who post to the same endpoint: what is sent, again and again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use portwarden_core::id::{EventId, IntegrationId, Region};
use portwarden_oci::Digest;
use serde_json::{Value, json};

use crate::{
    chance::Chance,
    ecr::Spot,
    model::Model,
    party::Party,
    world::{Job, State},
};

/// What is on its way.
#[derive(Default)]
pub(crate) struct Bridge {
    sent: u64,
    deliveries: BTreeMap<u64, Delivery>,
    /// Who was accepted last, as material for copies and forgeries.
    past: Vec<Post>,
}

/// What is posted.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// The integration whose endpoint it is posted to.
    pub(crate) party: usize,
    pub(crate) authorization: String,
    pub(crate) body: Arc<str>,
    pub(crate) expected: Expected,
}

/// What a post must be answered with, as soon as the sender's connection is proven and nothing is in the way.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// 202, and what follows from the event.
    Accepted(Accepted),
    /// The one refusal.
    NotAccepted,
    /// A refusal of what an accepted sender posts.
    Refused(u64),
}

/// What follows from an event that is accepted.
#[derive(Debug, Clone)]
pub(crate) enum Accepted {
    /// A look at an image.
    Image { id: EventId, spot: Spot, digest: Digest },
    /// A test of a connection.
    Claim { id: EventId },
    /// Nothing but that it is kept.
    Note { id: EventId },
    /// A newer time.
    Heartbeat { region: Region },
}

/// One post on its way, with its repetitions.
pub(crate) struct Delivery {
    pub(crate) post: Post,
    first: Timestamp,
    attempts: u32,
}

/// As the rule of the tenants' template has both limits.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
const MAX_RETRIES: u32 = 185;
/// The waits are not published.
const LONGEST_WAIT: Duration = Duration::from_hours(3);

/// How many past posts are kept.
const PAST: usize = 512;

impl Bridge {
    pub(crate) fn delivery(&self, number: u64) -> Option<&Delivery> {
        self.deliveries.get(&number)
    }

    pub(crate) fn receiver_of<'m>(&self, delivery: u64, model: &'m Model) -> Option<&'m Party> {
        model.parties.get(self.deliveries.get(&delivery)?.post.party)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.deliveries.len()
    }

    /// Tells for which integrations something waits to be posted again.
    pub(crate) fn receivers(&self) -> impl Iterator<Item = usize> {
        self.deliveries.values().map(|delivery| delivery.post.party)
    }

    /// Picks something that was posted before.
    pub(crate) fn past(&self, chance: &mut Chance) -> Option<Post> {
        chance.pick(&self.past).cloned()
    }
}

impl Accepted {
    pub(crate) fn id(&self) -> Option<&EventId> {
        match self {
            Self::Image { id, .. } | Self::Claim { id } | Self::Note { id } => Some(id),
            Self::Heartbeat { .. } => None,
        }
    }
}

impl State {
    /// Sends something, and now and then twice.
    pub(crate) fn post(&mut self, post: Post) {
        if let Expected::Accepted(event) = &post.expected
            && let Some(id) = event.id()
        {
            let body = Digest::of(post.body.as_bytes());
            self.model.expect_body(post.party, id.clone(), body);
        }
        self.figures.events += 1;
        loop {
            self.bridge.sent += 1;
            let number = self.bridge.sent;
            let delivery = Delivery {
                post: post.clone(),
                first: self.now(),
                attempts: 0,
            };
            self.bridge.deliveries.insert(number, delivery);
            let wait = match self.chance.below(20) {
                0 => self.chance.between(60_000, 1_800_000),
                1..6 => self.chance.between(2_000, 60_000),
                _ => self.chance.between(100, 2_000),
            };
            self.agenda
                .after(Duration::from_millis(wait), Job::Deliver(number));
            if !self.chance.per_mille(self.faults.duplicated) {
                break;
            }
        }
        if self.bridge.past.len() < PAST {
            self.bridge.past.push(post);
        } else {
            let place = self.chance.below(PAST);
            self.bridge.past[place] = post;
        }
    }

    /// Returns the invocation of a delivery, as the HTTP API makes it.
    pub(crate) fn request(&mut self, number: u64) -> Option<(Value, IntegrationId)> {
        let delivery = self.bridge.deliveries.get_mut(&number)?;
        delivery.attempts += 1;
        let integration = self.model.parties[delivery.post.party].integration.clone();
        let payload = json!({
            "rawPath": format!("/v1/events/{integration}"),
            "headers": {
                "authorization": delivery.post.authorization,
                "content-type": "application/json; charset=utf-8",
                "user-agent": "Amazon/EventBridge/ApiDestinations",
            },
            "requestContext": {"http": {"method": "POST"}},
            "body": &*delivery.post.body,
            "isBase64Encoded": false,
        });
        Some((payload, integration))
    }

    /// Takes the answer to a delivery, or that there was none, and sends again what is to be sent again.
    pub(crate) fn delivered(&mut self, number: u64, status: Option<u64>, retry_after: Option<u64>) {
        let now = self.now();
        let Some(delivery) = self.bridge.deliveries.get(&number) else {
            return;
        };
        let is_retried = match status {
            Some(status) => matches!(status, 401 | 407 | 409 | 429) || status >= 500,
            None => true,
        };
        // A stranger tries a few times.
        let is_stranger = matches!(delivery.post.expected, Expected::NotAccepted) && delivery.attempts >= 5;
        if !is_retried || is_stranger {
            self.bridge.deliveries.remove(&number);
            return;
        }
        let doubled = Duration::from_secs(16 << delivery.attempts.min(10)).min(LONGEST_WAIT);
        let wait = Duration::from_millis(self.chance.between(500, 1000))
            * u32::try_from(doubled.as_secs()).unwrap_or(1);
        let wait = wait.max(Duration::from_secs(retry_after.unwrap_or(0)));
        if delivery.attempts > MAX_RETRIES || (now + wait).duration_since(delivery.first) > MAX_AGE {
            let expected = format!("{:?}", delivery.post.expected);
            let party = delivery.post.party;
            self.bridge.deliveries.remove(&number);
            let checked = self.check_given_up(party, &expected);
            self.judge(checked);
            return;
        }
        self.agenda.after(wait, Job::Deliver(number));
    }
}
