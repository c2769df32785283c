//! The one line in the log, and the one count, that each invocation leaves.

use jiff::SignedDuration;
use portwarden_aws::{Fault, Line, Service};
use portwarden_core::{
    event::Recorded,
    id::{AccountId, EventId, IntegrationId, Region, TenantId},
    problem,
    trace::TraceId,
};

use crate::error::{Reason, Refusal};

/// Counts what became of events; each name is one of a few words.
pub trait CountEvents: Send + Sync {
    /// Counts an event that was accepted, by its kind.
    fn accepted(&self, kind: &'static str);

    /// Counts an event that was not taken, by the code.
    fn refused(&self, code: &'static str);
}

/// What became of an event that is answered with 202.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is in the log of events.
    Event(Recorded),
    /// It is a heartbeat, of which only the last one is kept.
    Heartbeat,
}

/// What is known of an invocation so far.
///
/// Everything here was parsed: no text of a sender gets into a line.
pub(crate) struct Seen {
    pub(crate) trace: TraceId,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) integration: Option<IntegrationId>,
    pub(crate) event: Option<SeenEvent>,
}

/// What is known of an event.
pub(crate) struct SeenEvent {
    pub(crate) id: EventId,
    pub(crate) kind: &'static str,
    pub(crate) account: AccountId,
    pub(crate) region: Region,
}

impl Seen {
    /// Knows nothing yet but what the invocation belongs to.
    pub(crate) fn under(trace: TraceId) -> Self {
        Self {
            trace,
            tenant: None,
            integration: None,
            event: None,
        }
    }

    /// Writes the line, and counts.
    pub(crate) fn report(
        &self,
        outcome: &Result<Accepted, Refusal>,
        took: SignedDuration,
        counts: &dyn CountEvents,
    ) {
        match outcome {
            // It is answered like a copy of the first event under its id, and it is not kept.
            Ok(accepted @ Accepted::Event(Recorded::Conflicting)) => counts.refused(accepted.name()),
            Ok(accepted) => counts.accepted(self.event.as_ref().map_or(accepted.name(), |event| event.kind)),
            Err(refusal) => counts.refused(refusal.code()),
        }
        match outcome {
            Ok(accepted) => self.line(accepted.name(), took).info("event accepted"),
            Err(refusal) if refusal.is_ours() => Line {
                code: Some(refusal.code()),
                fault: Some(Fault::Ours),
                error: Some(problem::chain(refusal)),
                ..self.line("failed", took)
            }
            .error("event not kept"),
            // What lies behind it may quote the sender.
            Err(refusal) => Line {
                code: Some(refusal.code()),
                fault: Some(Fault::Theirs),
                reason: refusal.reason().map(Reason::name),
                error: Some(refusal.to_string()),
                ..self.line("refused", took)
            }
            .warn("event refused"),
        }
    }

    fn line(&self, outcome: &'static str, took: SignedDuration) -> Line<'_> {
        let event = self.event.as_ref();
        Line {
            duration: Some(took),
            trace: Some(self.trace),
            tenant: self.tenant.as_ref(),
            integration: self.integration.as_ref(),
            account: event.map(|event| &event.account),
            region: event.map(|event| &event.region),
            event: event.map(|event| &event.id),
            kind: event.map(|event| event.kind),
            ..Line::of(Service::Receiver, outcome)
        }
    }
}

impl Accepted {
    fn name(self) -> &'static str {
        match self {
            Self::Event(Recorded::New) => "new",
            Self::Event(Recorded::Repeated) => "repeated",
            Self::Event(Recorded::Settled) => "settled",
            Self::Event(Recorded::Conflicting) => "conflicting",
            Self::Heartbeat => "heartbeat",
        }
    }
}
