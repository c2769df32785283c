//! A table, a bucket and a matcher in memory, and an image's way through them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use portwarden_advisories::{Bulk, build, parse};
use portwarden_core::{
    advisory::{Edition, Editions},
    clock::{Clock as _, ManualClock},
    id::{IntegrationId, TenantId},
    image::{Images, Location, Presence},
    notification::{MemoryNotifies, Notification, Notifications, NotifyRequest, QueueNotify},
    object::{Document, MemoryObjects, WriteObject as _},
    random::OsRandomness,
    scope::{OperatorScope, TenantScope},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
    work::{KnownBy, QueueError},
};
use portwarden_matching::Matcher;
use portwarden_oci::Digest;
use portwarden_report::{FindingsChanged, Report};
use portwarden_testkit::documents;

/// A table whose writes fail once as many were made as are left, and a queue that fails with it.
#[derive(Default)]
pub(crate) struct Table {
    memory: MemoryStore,
    queue: MemoryNotifies,
    pub(crate) left: Mutex<Option<usize>>,
}

impl Table {
    fn spend(&self) -> Result<(), StoreError> {
        match &mut *self.left.lock().unwrap() {
            Some(0) => Err(StoreError::Throttled),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Table {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.memory.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.memory.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        self.spend()?;
        self.memory.write(writes).await
    }
}

#[async_trait]
impl QueueNotify for Table {
    async fn queue_notify(&self, request: &NotifyRequest, delay: Option<Duration>) -> Result<(), QueueError> {
        self.spend().map_err(|error| QueueError(error.into()))?;
        self.queue.queue_notify(request, delay).await
    }
}

pub(crate) struct World {
    pub(crate) table: Arc<Table>,
    pub(crate) objects: Arc<MemoryObjects>,
    pub(crate) clock: ManualClock,
    pub(crate) scope: TenantScope,
    pub(crate) integration: IntegrationId,
    pub(crate) matcher: Matcher,
}

/// Advisories: for each id the npm package, and the version that fixes it.
pub(crate) type Advisories<'a> = &'a [(&'a str, &'a str, &'a str)];

impl World {
    pub(crate) fn new() -> Self {
        let table = Arc::<Table>::default();
        let objects = Arc::<MemoryObjects>::default();
        let clock = ManualClock::at("2026-01-02T00:00:00Z".parse().unwrap());
        let operator = OperatorScope::of_this_process();
        Self {
            matcher: Matcher::new(
                table.clone(),
                objects.clone(),
                objects.clone(),
                table.clone(),
                Arc::new(clock.clone()),
            ),
            scope: operator.tenant(TenantId::generate(&OsRandomness)),
            integration: IntegrationId::generate(&OsRandomness),
            table,
            objects,
            clock,
        }
    }

    pub(crate) async fn publish(&self, advisories: Advisories<'_>) {
        let mut bulk = Bulk::default();
        for (id, name, fixed) in advisories {
            let record = documents::advisory(id, "npm", name, fixed);
            let advisory = parse(record.to_string().as_bytes()).unwrap();
            bulk.advisories.insert((*id).to_owned(), advisory);
        }
        let database = build(&bulk).unwrap();
        let editions = Editions::new(self.table.clone());
        let known = editions.shelf().await.unwrap();
        self.clock.advance(Duration::from_secs(1));
        let edition = Edition {
            number: known.edition.as_ref().map_or(1, |edition| edition.number + 1),
            database: Digest::of(&database),
            bytes: 0,
            advisories: 1,
            changes: None,
            built_at: self.clock.now(),
        };
        self.objects
            .write_object(&edition.file().key(), "", database)
            .await
            .unwrap();
        assert!(editions.publish(&known, &edition).await.unwrap());
    }

    /// Has ECR say that an image has these tags.
    pub(crate) async fn observe(&self, name: &str, tags: &[&str]) -> Digest {
        self.clock.advance(Duration::from_secs(1));
        let location = Location {
            integration: self.integration.clone(),
            account: "111122223333".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            repository: "shop/web".parse().unwrap(),
            presence: Presence::Present {
                tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
                pushed_at: None,
                archived: false,
            },
            observed_at: self.clock.now(),
            known_by: KnownBy::Event,
            known_at: self.clock.now(),
        };
        let digest = Digest::of(name.as_bytes());
        let images = Images::new(self.table.clone());
        images.observe(&self.scope, &digest, &location).await.unwrap();
        digest
    }

    /// Scans an image with these packages, as the scanner does, but for telling.
    pub(crate) async fn scan(&self, name: &str, tags: &[&str], packages: &[&str]) -> Digest {
        let digest = self.observe(name, tags).await;
        let report = report(&digest, packages);
        let key = self.scope.image_object(&digest, 1, Document::Report);
        self.objects
            .write_object(&key, "", report.to_json())
            .await
            .unwrap();
        self.matcher.match_first(&self.scope, &report).await.unwrap();
        digest
    }

    pub(crate) async fn tell(&self, digest: &Digest) {
        self.matcher
            .compare_tags(&self.scope, digest, None)
            .await
            .unwrap();
    }

    /// Returns which image lists say was before an image, and how many findings came and went since.
    pub(crate) async fn shown(&self, digest: &Digest) -> Option<(Digest, usize, usize)> {
        let images = Images::new(self.table.clone());
        let summary = images.summary(&self.scope, digest).await.unwrap().unwrap();
        let changes = summary.changes?;
        Some((changes.before, changes.new, changes.fixed))
    }

    /// Takes what is on its way to the notifier.
    pub(crate) async fn told(&self) -> Vec<FindingsChanged> {
        let mut told = Vec::new();
        for (request, _) in self.table.queue.take() {
            let NotifyRequest::Tell { notification, .. } = request else {
                panic!("{request:?}")
            };
            let notifications = Notifications::new(self.table.clone());
            let found = notifications.find(&self.scope, &notification).await.unwrap();
            let Notification { id, data, .. } = found.unwrap();
            let event: FindingsChanged = serde_json::from_value(data).unwrap();
            assert_eq!(event.id, id);
            told.push(event);
        }
        told
    }
}

pub(crate) fn report(digest: &Digest, packages: &[&str]) -> Report {
    serde_json::from_value(documents::report(digest, packages)).unwrap()
}

/// The ids of what is new and of what is fixed.
pub(crate) fn news(event: &FindingsChanged) -> (Vec<&str>, Vec<&str>) {
    (
        event.changes.new.iter().map(|line| line.id.as_str()).collect(),
        event.changes.fixed.iter().map(|line| line.id.as_str()).collect(),
    )
}
