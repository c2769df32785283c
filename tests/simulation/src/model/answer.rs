//! Invariants 5 and the table of answers: what the endpoint says, and what must be so when it says it.

use jiff::SignedDuration;
use portwarden_core::id::IntegrationId;
use portwarden_oci::Digest;

use crate::{
    breach::{Breach, Invariant, hold},
    bridge::{Accepted, Expected, Post},
    model::Standing,
    world::State,
};

/// For how long an endpoint that was read may accept, and for how long it may refuse; README of the receiver.
const ACCEPTS_FOR: SignedDuration = SignedDuration::from_secs(60);
pub(super) const REFUSES_FOR: SignedDuration = SignedDuration::from_secs(5);

/// When the receiver must have answered.
const TIME_LIMIT: SignedDuration = SignedDuration::from_millis(3500);

impl State {
    /// Checks an answer of the endpoint.
    pub(crate) fn check_answer(
        &mut self,
        process: u64,
        delivery: u64,
        status: u64,
        code: Option<&str>,
    ) -> Result<(), Breach> {
        self.figures.checks += 1;
        let (Some(delivery), Some(serving)) = (self.bridge.delivery(delivery), self.serving.get(&process))
        else {
            return Ok(());
        };
        let (post, started) = (delivery.post.clone(), serving.started);
        let integration = self.model.parties[post.party].integration.clone();
        let now = self.now();
        let party = &self.model.parties[post.party];
        let removed = self.model.removed.get(&integration).copied();
        // Regions may share credentials; one that is proven is enough.
        let may_be = || {
            removed.is_none_or(|removed| started - ACCEPTS_FOR < removed)
                && Self::senders(party, &post).any(|(region, generation)| {
                    let known = self.standings(&integration, region, started - ACCEPTS_FOR);
                    let takes = |known: &&Standing| known.is_proven && known.takes(generation, started);
                    known.iter().any(takes)
                })
        };
        let holds_throughout = |of: fn(&Standing) -> bool| {
            Self::senders(party, &post).any(|(region, generation)| {
                self.is_all_the_time(&integration, region, started - REFUSES_FOR, |known| {
                    of(known) && known.takes(generation, now)
                })
            })
        };
        let must_be = || removed.is_none() && holds_throughout(|known| known.is_proven);
        let must_be_gone =
            || removed.is_some_and(|removed| removed <= started - REFUSES_FOR) && holds_throughout(|_| true);
        let may_be_gone = || {
            removed.is_some()
                && Self::senders(party, &post).any(|(region, generation)| {
                    let known = self.standings(&integration, region, started - ACCEPTS_FOR);
                    known.iter().any(|known| known.takes(generation, started))
                })
        };
        let is_right = match (status, &post.expected) {
            (202, Expected::Accepted(_)) => may_be(),
            (410, Expected::Accepted(_) | Expected::Refused(_)) => may_be_gone(),
            (429, Expected::NotAccepted) => code == Some("not_accepted"),
            (429, Expected::Accepted(_) | Expected::Refused(_)) => {
                code == Some("not_accepted") && !must_be() && !must_be_gone()
            }
            (503, _) => serving.troubles > 0 || self.now().duration_since(started) >= TIME_LIMIT,
            (_, Expected::Refused(expected)) => status == *expected && may_be(),
            _ => false,
        };
        hold(is_right, Invariant::AnswersOfTheTable, || {
            format!("{:?} was answered with {status} {code:?}", post.expected)
        })?;
        match (status, &post.expected) {
            (202, Expected::Accepted(event)) => {
                self.check_first_use(&post)?;
                self.check_kept(process, &post, &integration, event)
            }
            (410, _) => {
                self.figures.gone += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What was accepted is stored, and its work is queued or was taken up.
    fn check_kept(
        &mut self,
        process: u64,
        post: &Post,
        integration: &IntegrationId,
        event: &Accepted,
    ) -> Result<(), Breach> {
        let scope = &self.model.parties[post.party].scope;
        let kept = |holds, what: &str| {
            hold(holds, Invariant::AcceptedMeansKept, || {
                format!("{event:?} of {} was accepted, and {what}", scope.tenant())
            })
        };
        let Some(id) = event.id() else {
            let Accepted::Heartbeat { region } = event else {
                return Ok(());
            };
            let partition = scope.partition(&["integrations"]);
            let key = partition.key(&[integration.as_str(), "heartbeat", region.as_str()]);
            return kept(self.stored(&key).is_some(), "no heartbeat is stored");
        };
        let key = scope
            .partition(&["event", integration.as_str(), id.as_str()])
            .key(&["event"]);
        let Some(record) = self.stored(&key) else {
            return kept(false, "it is not stored");
        };
        let body: Option<Digest> = record["body"].as_str().and_then(|text| text.parse().ok());
        let own = Digest::of(post.body.as_bytes());
        let was_sent = body.is_some_and(|body| {
            self.model
                .bodies
                .get(&(post.party, id.clone()))
                .is_some_and(|bodies| bodies.contains(&body))
        });
        kept(was_sent, "what is stored was never sent")?;
        if body != Some(own) {
            // Another event came under this id before, and that one counts.
            return Ok(());
        }
        let has_queued = self
            .serving
            .get(&process)
            .is_some_and(|serving| serving.queued > 0);
        match event {
            Accepted::Image { spot, digest, .. } => {
                kept(
                    has_queued || record["settled"] == true,
                    "its work is neither queued nor taken up",
                )?;
                let hint = (spot.clone(), *digest);
                self.model.hints.insert((post.party, id.clone()), hint);
            }
            Accepted::Claim { .. } => kept(has_queued, "no test of the connection is queued")?,
            Accepted::Note { .. } | Accepted::Heartbeat { .. } => {}
        }
        Ok(())
    }

    /// EventBridge gives up only what must not be accepted.
    pub(crate) fn check_given_up(&mut self, party: usize, expected: &str) -> Result<(), Breach> {
        let stays = self.model.parties[party].stays();
        hold(
            !stays || expected.starts_with("NotAccepted"),
            Invariant::AcceptedMeansKept,
            || format!("{expected} was never accepted, though its sender was in order"),
        )
    }
}
