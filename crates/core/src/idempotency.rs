//! Writes that are sent again: done once, and answered alike.
//!
//! A caller gives each write a key of its own. The first request under a key leaves its fingerprint before it is done and
//! its answer afterwards; the same request under the same key is then answered from there for a day. What ended without
//! an answer is not done again: nobody knows how far it came.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    id::PersonId,
    scope::{TenantScope, TenantsScope},
    store::{Condition, Key, Partition, Revision, Store, StoreError, Write, try_write},
};

/// How long an answer is kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// How long a write can be under way.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(30);

/// Whose writes.
#[derive(Debug, Clone)]
pub enum Desk {
    /// A tenant's: what is answered is the tenant's content, and lies with it.
    Tenant(TenantScope),
    /// The operators', about tenants.
    Operators(TenantsScope),
    /// A person's own, about what they are.
    Person(PersonId),
}

/// An answer as it is given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Headers that belong to it, by their names.
    pub headers: Vec<(String, String)>,
    /// The body, without what is shown once.
    pub body: String,
}

/// What is known of a key.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    begun_at: Timestamp,
    answer: Option<KeptAnswer>,
    /// Whether it failed, and nobody knows how far it came.
    #[serde(default)]
    interrupted: bool,
}

/// What becomes of a write under a key.
#[derive(Debug)]
pub enum Begun {
    /// It is the first one: do it.
    First(Ticket),
    /// It is done, with this answer.
    Done(KeptAnswer),
    /// It is under way.
    UnderWay,
    /// It was begun and never answered.
    Interrupted,
    /// The key belongs to another write.
    OtherWrite,
}

/// The right to do a write, and to leave its answer.
#[derive(Debug)]
pub struct Ticket {
    key: Key,
    revision: Revision,
    fingerprint: String,
    begun_at: Timestamp,
}

/// The writes of the last day.
#[derive(Clone)]
pub struct Writes {
    store: Arc<dyn Store>,
}

impl Ticket {
    fn record(&self, answer: Option<KeptAnswer>) -> Record {
        Record {
            fingerprint: self.fingerprint.clone(),
            begun_at: self.begun_at,
            answer,
            interrupted: false,
        }
    }
}

impl Desk {
    fn key(&self, caller: &str, key: &str) -> Key {
        let partition = match self {
            Self::Tenant(scope) => scope.partition(&["writes"]),
            Self::Operators(_) | Self::Person(_) => Partition::directory(&["writes"]),
        };
        partition.key(&[caller, key])
    }
}

impl Writes {
    /// Opens the writes in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Begins a write of `caller` under their `key`.
    pub async fn begin(
        &self,
        desk: &Desk,
        (caller, key): (&str, &str),
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<Begun, StoreError> {
        let key = desk.key(caller, key);
        let stored = self.store.get(&key).await?;
        let (condition, revision) = match &stored {
            None => (Condition::Absent, Revision(1)),
            Some(stored) => (
                Condition::Unchanged(stored.revision),
                Revision(stored.revision.0 + 1),
            ),
        };
        let record: Option<Record> = stored.map(|stored| stored.parse()).transpose()?;
        // The table forgets it some time after its day is over.
        let known = record.filter(|record| now.duration_since(record.begun_at) < KEPT);
        let Some(record) = known else {
            let ticket = Ticket {
                key,
                revision,
                fingerprint: fingerprint.to_owned(),
                begun_at: now,
            };
            return self.take(ticket, condition).await;
        };
        Ok(if record.fingerprint != fingerprint {
            Begun::OtherWrite
        } else if let Some(answer) = record.answer {
            Begun::Done(answer)
        } else if !record.interrupted && now.duration_since(record.begun_at) < UNDER_WAY {
            Begun::UnderWay
        } else {
            Begun::Interrupted
        })
    }

    async fn take(&self, ticket: Ticket, condition: Condition) -> Result<Begun, StoreError> {
        let record = ticket.record(None);
        let write = Write::put(ticket.key.clone(), &record, condition).expiring(ticket.begun_at + KEPT);
        Ok(if try_write(&*self.store, &[write]).await? {
            Begun::First(ticket)
        } else {
            Begun::UnderWay
        })
    }

    /// Keeps the answer of a write that was done.
    pub async fn finish(&self, ticket: Ticket, answer: KeptAnswer) -> Result<(), StoreError> {
        let record = ticket.record(Some(answer));
        let condition = Condition::Unchanged(ticket.revision);
        let write = Write::put(ticket.key, &record, condition).expiring(ticket.begun_at + KEPT);
        try_write(&*self.store, &[write]).await?;
        Ok(())
    }

    /// Keeps that a write failed without anybody knowing how far it came, so that it is not done again.
    pub async fn leave(&self, ticket: Ticket) -> Result<(), StoreError> {
        let record = Record {
            interrupted: true,
            ..ticket.record(None)
        };
        let condition = Condition::Unchanged(ticket.revision);
        let write = Write::put(ticket.key, &record, condition).expiring(ticket.begun_at + KEPT);
        try_write(&*self.store, &[write]).await?;
        Ok(())
    }

    /// Forgets a write that was not done, so that it can be sent again.
    pub async fn forget(&self, ticket: Ticket) -> Result<(), StoreError> {
        let write = Write::Delete {
            key: ticket.key,
            condition: Condition::Unchanged(ticket.revision),
        };
        try_write(&*self.store, &[write]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::TenantId, random::OsRandomness, store::MemoryStore};

    fn answer() -> KeptAnswer {
        KeptAnswer {
            status: 201,
            headers: vec![("location".to_owned(), "/a".to_owned())],
            body: "{}".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_write_is_done_once_and_answered_alike_for_a_day() {
        let writes = Writes::new(Arc::new(MemoryStore::default()));
        let scope = || TenantScope::of(TenantId::generate(&OsRandomness));
        let (desk, other) = (Desk::Tenant(scope()), Desk::Tenant(scope()));
        let now = Timestamp::UNIX_EPOCH;
        let begin = |desk: Desk, key: &'static str, print: &'static str, now| {
            let writes = writes.clone();
            async move { writes.begin(&desk, ("k-1", key), print, now).await.unwrap() }
        };
        let Begun::First(ticket) = begin(desk.clone(), "a", "x", now).await else {
            panic!("nobody came before");
        };
        let later = now + UNDER_WAY;
        assert!(matches!(
            begin(desk.clone(), "a", "x", now).await,
            Begun::UnderWay
        ));
        assert!(matches!(
            begin(desk.clone(), "a", "x", later).await,
            Begun::Interrupted
        ));
        writes.finish(ticket, answer()).await.unwrap();
        let Begun::Done(kept) = begin(desk.clone(), "a", "x", later).await else {
            panic!("it is done");
        };
        assert_eq!(kept, answer());
        assert!(matches!(
            begin(desk.clone(), "a", "y", later).await,
            Begun::OtherWrite
        ));
        // Other keys and other tenants know nothing of it, and neither does the next day.
        for (desk, key, now) in [
            (desk.clone(), "b", later),
            (other, "a", later),
            (desk.clone(), "a", now + KEPT),
        ] {
            let Begun::First(ticket) = begin(desk.clone(), key, "x", now).await else {
                panic!("{key} is new");
            };
            writes.forget(ticket).await.unwrap();
            let Begun::First(ticket) = begin(desk.clone(), key, "y", now).await else {
                panic!("{key} is forgotten");
            };
            // What failed halfway is not begun again, not even at once.
            writes.leave(ticket).await.unwrap();
            assert!(matches!(begin(desk, key, "y", now).await, Begun::Interrupted));
        }
    }
}
