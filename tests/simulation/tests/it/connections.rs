//! Bugs in how connections begin, change and end; each must be found, and by its own name.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    announce::{Announce, AnnounceError, Announcement},
    clock::Clock,
    object::{ObjectError, ObjectKey, ReadObject, RemoveObject},
    purge::PurgeObjects,
    store::{Key, Page, Partition, Store, StoreError, Stored, Write, WriteError},
};
use portwarden_receiver::context::Outside as Receiver;
use portwarden_simulation::{Invariant, Wiring};
use serde_json::Value;

use crate::bugs::caught;

/// A clock that stands still after a day.
struct Stopped(Arc<dyn Clock>, Timestamp);

#[async_trait]
impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0.now().min(self.1 + SignedDuration::from_hours(24))
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

struct StopTheClock;

impl Wiring for StopTheClock {
    fn receiver(&self, mut outside: Receiver) -> Receiver {
        let start = "2026-11-23T12:00:00Z".parse().unwrap();
        outside.clock = Arc::new(Stopped(outside.clock, start));
        outside
    }
}

#[test]
fn old_credentials_that_never_die_are_caught() {
    caught(
        StopTheClock,
        Invariant::AnswersOfTheTable,
        "NotAccepted was answered with 202",
    );
}

/// A table that changes what is read or written, or how a write ends.
struct Changed {
    store: Arc<dyn Store>,
    read: fn(&Key, &mut Value),
    write: fn(&Key, &mut Value),
    ended: fn(&Key, Result<(), WriteError>) -> Result<(), WriteError>,
}

impl Changed {
    fn of(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            read: |_, _| {},
            write: |_, _| {},
            ended: |_, result| result,
        }
    }

    fn seen(&self, mut stored: Stored) -> Stored {
        (self.read)(&stored.key, Arc::make_mut(&mut stored.body));
        stored
    }
}

#[async_trait]
impl Store for Changed {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        Ok(self.store.get(key).await?.map(|stored| self.seen(stored)))
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let Page { items, more } = self.store.query(partition, prefix, after, limit).await?;
        let items = items.into_iter().map(|stored| self.seen(stored)).collect();
        Ok(Page { items, more })
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let mut writes = writes.to_vec();
        for write in &mut writes {
            if let Write::Put { key, body, .. } = write {
                (self.write)(key, Arc::make_mut(body));
            }
        }
        let ended = self.store.write(&writes).await;
        match &writes[..] {
            [write] => (self.ended)(write.key(), ended),
            _ => ended,
        }
    }
}

/// Does not keep when new credentials were first used.
struct ForgetFirstUse;

impl Wiring for ForgetFirstUse {
    fn receiver(&self, mut outside: Receiver) -> Receiver {
        outside.store = Arc::new(Changed {
            write: |key, body| {
                if key.sort().contains("#region#")
                    && let Some(credentials) = body["credentials"].as_array_mut()
                {
                    for credential in credentials {
                        credential.as_object_mut().unwrap().remove("first_used_at");
                    }
                }
            },
            ..Changed::of(outside.store)
        });
        outside
    }
}

#[test]
fn a_first_use_that_is_not_kept_is_caught() {
    caught(
        ForgetFirstUse,
        Invariant::NothingLostInRotation,
        "came for the first time, and that is not noted",
    );
}

/// Does not see that an integration is removed.
struct HideRemoval;

impl Wiring for HideRemoval {
    fn receiver(&self, mut outside: Receiver) -> Receiver {
        outside.store = Arc::new(Changed {
            read: |key, body| {
                if key.sort().ends_with("#integration") {
                    body["removed_at"] = Value::Null;
                }
            },
            ..Changed::of(outside.store)
        });
        outside
    }
}

#[test]
fn a_removed_integration_that_is_served_is_caught() {
    caught(HideRemoval, Invariant::AnswersOfTheTable, "was answered with 202");
}

/// Takes every claim for the first of its minute.
struct EveryClaimIsFirst;

impl Wiring for EveryClaimIsFirst {
    fn receiver(&self, mut outside: Receiver) -> Receiver {
        outside.store = Arc::new(Changed {
            ended: |key, ended| match ended {
                Err(WriteError::Conflict(_)) if key.sort() == "claim" => Ok(()),
                ended => ended,
            },
            ..Changed::of(outside.store)
        });
        outside
    }
}

#[test]
fn a_flood_of_claims_that_is_tested_is_caught() {
    caught(
        EveryClaimIsFirst,
        Invariant::ClaimsProveNothing,
        "more than one test of a claim in a minute",
    );
}

/// Says that objects are deleted, and leaves them.
struct Left(Arc<dyn PurgeObjects>);

#[async_trait]
impl ReadObject for Left {
    async fn read_object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, ObjectError> {
        self.0.read_object(key).await
    }
}

#[async_trait]
impl RemoveObject for Left {
    async fn remove_object(&self, _: &ObjectKey) -> Result<(), ObjectError> {
        Ok(())
    }
}

struct LeaveObjects;

impl Wiring for LeaveObjects {
    fn purged_objects(&self, objects: Arc<dyn PurgeObjects>) -> Arc<dyn PurgeObjects> {
        Arc::new(Left(objects))
    }
}

#[test]
fn a_purge_that_leaves_objects_is_caught() {
    caught(LeaveObjects, Invariant::GoneForGood, "is left");
}

/// A bus that swallows changes of connections.
struct Swallows(Arc<dyn Announce>);

#[async_trait]
impl Announce for Swallows {
    async fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError> {
        match announcement {
            Announcement::ConnectionChanged(_) => Ok(()),
            other => self.0.announce(other).await,
        }
    }
}

struct SwallowChanges;

impl Wiring for SwallowChanges {
    fn verifier(
        &self,
        mut context: portwarden_verifier::context::Context,
    ) -> portwarden_verifier::context::Context {
        context.bus = Arc::new(Swallows(context.bus));
        context
    }
}

#[test]
fn a_change_of_status_that_nobody_hears_is_caught() {
    caught(
        SwallowChanges,
        Invariant::ToldOnce,
        "is marked as told, and the bus never heard of it",
    );
}
