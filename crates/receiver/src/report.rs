//! The one line in the log, and the one count, that each invocation leaves.

use jiff::SignedDuration;
use portwarden_core::{
    event::Recorded,
    id::{EventId, IntegrationId, Region, TenantId},
    problem,
};
use tracing::field::display;

use crate::error::{Reason, Refusal};

/// Counts what became of events; each name is one of a few words.
pub trait CountEvents: Send + Sync {
    /// Counts an event that was accepted, by its kind.
    fn accepted(&self, kind: &'static str);

    /// Counts an event that was not taken, by the reason.
    fn refused(&self, reason: &'static str);
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
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) integration: Option<IntegrationId>,
    pub(crate) event: Option<SeenEvent>,
}

/// What is known of an event.
pub(crate) struct SeenEvent {
    pub(crate) id: EventId,
    pub(crate) kind: &'static str,
    pub(crate) region: Region,
}

impl Seen {
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
        self.write_line(outcome, took);
    }

    fn write_line(&self, outcome: &Result<Accepted, Refusal>, took: SignedDuration) {
        let tenant = self.tenant.as_ref().map(display);
        let integration = self.integration.as_ref().map(display);
        let event = self.event.as_ref();
        let id = event.map(|event| display(&event.id));
        let kind = event.map(|event| event.kind);
        let region = event.map(|event| display(&event.region));
        let duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        macro_rules! line {
            ($level:ident, $message:literal, $outcome:expr, $($field:tt)*) => {
                tracing::$level!(
                    tenant.id = tenant, integration.id = integration, event.id = id, event.kind = kind,
                    event.region = region, outcome = $outcome, duration_ms, $($field)* $message
                )
            };
        }
        match outcome {
            Ok(accepted) => line!(info, "event accepted", accepted.name(),),
            Err(refusal) if refusal.is_ours() => {
                let error = problem::chain(refusal);
                line!(error, "event not kept", "failed", code = refusal.code(), error,);
            }
            Err(refusal) => {
                let (code, reason) = (refusal.code(), refusal.reason().map(Reason::name));
                line!(warn, "event refused", "refused", code, reason, error = %refusal,);
            }
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
