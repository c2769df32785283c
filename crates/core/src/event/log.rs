use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

use super::{EventKind, UnverifiedEvent};
use crate::{
    id::{EventId, IntegrationId},
    scope::TenantScope,
    store::{Condition, Key, Store, StoreError, Write, WriteError, try_write},
    trace::TraceId,
};

/// Remembers which events came, so that a repetition has no second effect.
#[derive(Clone)]
pub struct EventLog {
    store: Arc<dyn Store>,
}

/// An event that was handed to [`EventLog::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// What became of it.
    pub recorded: Recorded,
    /// The trace under which it came first, whichever delivery this is.
    pub trace: TraceId,
}

/// What became of an event that was handed to [`EventLog::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is new: its work must be queued.
    New,
    /// It came before; its work may have been lost before it was queued, so it must be queued again.
    Repeated,
    /// It came before, and its work was taken up.
    Settled,
    /// Another event came under this id before; the first one counts.
    Conflicting,
}

/// What became of the mark that [`EventLog::settle`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The event is marked.
    Now,
    /// It was marked before, or is not known any more.
    Already,
}

#[derive(Serialize, Deserialize)]
struct EventRecord {
    #[serde(flatten)]
    kind: EventKind,
    source: String,
    time: Timestamp,
    received_at: Timestamp,
    trace: TraceId,
    body: Digest,
    /// Set by whoever takes up the work, which proves that it was queued.
    settled: bool,
}

impl EventLog {
    /// How long an event's id is kept: a dead-letter queue of a tenant may deliver again for 14 days.
    pub const KEPT: SignedDuration = SignedDuration::from_hours(16 * 24);

    /// Opens the log in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    fn key(scope: &TenantScope, integration: &IntegrationId, event: &EventId) -> Key {
        // A partition for each event: one integration's flood is spread over the whole table.
        scope
            .partition(&["event", integration.as_str(), event.as_str()])
            .key(&["event"])
    }

    /// Stores an event, which came under `trace`, in one conditional write.
    pub async fn record(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        event: &UnverifiedEvent,
        trace: TraceId,
        received_at: Timestamp,
    ) -> Result<Kept, StoreError> {
        let record = EventRecord {
            kind: event.kind.clone(),
            source: event.source.clone(),
            time: event.time,
            received_at,
            trace,
            body: event.body,
            // What leads to no work has none to lose. Nobody marks a claim: testing a role once more does no harm.
            settled: !event.kind.leads_to_work(),
        };
        let key = Self::key(scope, integration, &event.id);
        let expires_at = received_at.saturating_add(Self::KEPT).unwrap_or(Timestamp::MAX);
        let write = Write::put(key, &record, Condition::Absent).expiring(expires_at);
        let under = |trace, recorded| Ok(Kept { recorded, trace });
        let existing = match self.store.write(&[write]).await {
            Ok(()) => return under(trace, Recorded::New),
            Err(WriteError::Conflict(conflict)) => conflict.existing,
            Err(WriteError::Store(error)) => return Err(error),
        };
        // An item that vanished in between is as if it had never been marked.
        let Some(existing) = existing else {
            return under(trace, Recorded::Repeated);
        };
        let existing: EventRecord = existing.parse()?;
        if existing.body != event.body {
            under(trace, Recorded::Conflicting)
        } else if existing.settled {
            under(existing.trace, Recorded::Settled)
        } else {
            under(existing.trace, Recorded::Repeated)
        }
    }

    /// Marks an event whose work was taken up.
    pub async fn settle(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        event: &EventId,
    ) -> Result<Settled, StoreError> {
        let key = Self::key(scope, integration, event);
        let Some(stored) = self.store.get(&key).await? else {
            return Ok(Settled::Already);
        };
        let mut record: EventRecord = stored.parse()?;
        if record.settled {
            return Ok(Settled::Already);
        }
        record.settled = true;
        let expires_at = record
            .received_at
            .saturating_add(Self::KEPT)
            .unwrap_or(Timestamp::MAX);
        let write = Write::put(key, &record, Condition::Unchanged(stored.revision)).expiring(expires_at);
        // Nothing but this mark changes an event.
        let is_first = try_write(&*self.store, &[write]).await?;
        Ok(if is_first { Settled::Now } else { Settled::Already })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{id::TenantId, random::OsRandomness, store::MemoryStore};

    fn event(tag: &str) -> UnverifiedEvent {
        let body = json!({
            "id": "e-1", "detail-type": "ECR Image Action", "source": "aws.ecr", "account": "111122223333",
            "time": "2026-11-16T01:54:34Z", "region": "us-west-2",
            "detail": {"repository-name": "a", "image-digest": Digest::of(b"x"), "action-type": "PUSH", "image-tag": tag},
        });
        UnverifiedEvent::parse(body.to_string().as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_claim_that_comes_again_leads_to_its_work_again() {
        let log = EventLog::new(Arc::new(MemoryStore::default()));
        let scope = TenantScope::of(TenantId::generate(&OsRandomness));
        let integration = IntegrationId::generate(&OsRandomness);
        let record = async |detail: &serde_json::Value| {
            let body = json!({
                "id": detail["stack-id"], "detail-type": "CloudFormation Stack Status Change",
                "source": "aws.cloudformation", "account": "111122223333", "time": "2026-11-16T01:54:34Z",
                "region": "us-west-2", "detail": detail,
            });
            let event = UnverifiedEvent::parse(body.to_string().as_bytes()).unwrap();
            let trace = TraceId::generate(event.time, &OsRandomness);
            log.record(&scope, &integration, &event, trace, event.time)
                .await
                .unwrap()
                .recorded
        };
        let bare = json!({"stack-id": "s-1", "status-details": {"status": "CREATE_COMPLETE"}});
        assert_eq!(record(&bare).await, Recorded::New);
        assert_eq!(record(&bare).await, Recorded::Settled);
        let claim = json!({
            "stack-id": "s-2", "status-details": {"status": "CREATE_COMPLETE"}, "template-version": "1",
            "role-arn": "arn:aws:iam::111122223333:role/r", "external-id": "pw-0123456789abcdefghjkmnpqrs",
        });
        assert_eq!(record(&claim).await, Recorded::New);
        assert_eq!(record(&claim).await, Recorded::Repeated);
    }

    #[tokio::test]
    async fn a_repetition_has_its_work_queued_until_it_is_taken_up() {
        let log = EventLog::new(Arc::new(MemoryStore::default()));
        let scope = TenantScope::of(TenantId::generate(&OsRandomness));
        let other = TenantScope::of(TenantId::generate(&OsRandomness));
        let integration = IntegrationId::generate(&OsRandomness);
        let event = event("1");
        let record = async |scope, event: &UnverifiedEvent| {
            let trace = TraceId::generate(event.time, &OsRandomness);
            let kept = log.record(scope, &integration, event, trace, event.time).await;
            kept.unwrap().recorded
        };
        assert_eq!(record(&scope, &event).await, Recorded::New);
        assert_eq!(record(&scope, &event).await, Recorded::Repeated);
        // Another tenant's event of the same id is another event.
        assert_eq!(record(&other, &event).await, Recorded::New);
        assert_eq!(record(&scope, &self::event("2")).await, Recorded::Conflicting);
        assert_eq!(
            log.settle(&scope, &integration, &event.id).await.unwrap(),
            Settled::Now
        );
        assert_eq!(
            log.settle(&scope, &integration, &event.id).await.unwrap(),
            Settled::Already
        );
        assert_eq!(record(&scope, &event).await, Recorded::Settled);
        assert_eq!(record(&other, &event).await, Recorded::Repeated);
    }

    #[tokio::test]
    async fn every_delivery_goes_under_the_trace_of_the_first() {
        let log = EventLog::new(Arc::new(MemoryStore::default()));
        let scope = TenantScope::of(TenantId::generate(&OsRandomness));
        let integration = IntegrationId::generate(&OsRandomness);
        let event = event("1");
        let record = async |event: &UnverifiedEvent| {
            let trace = TraceId::generate(event.time, &OsRandomness);
            let kept = log.record(&scope, &integration, event, trace, event.time).await;
            (trace, kept.unwrap().trace)
        };
        let (first, kept) = record(&event).await;
        assert_eq!(kept, first);
        assert_eq!(record(&event).await.1, first);
        log.settle(&scope, &integration, &event.id).await.unwrap();
        assert_eq!(record(&event).await.1, first);
        // What is not this event is not of its trace.
        let (other, kept) = record(&self::event("2")).await;
        assert_eq!(kept, other);
    }
}
