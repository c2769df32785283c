//! What is told of an image: what changed, once, whatever fails in between.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::{
    collections::BTreeSet,
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
use portwarden_matching::{MatchError, Matcher, Rematched};
use portwarden_oci::Digest;
use portwarden_report::{ChangeReason, FindingsChanged, Report};
use serde_json::json;

/// A table whose writes fail once as many were made as are left, and a queue that fails with it.
#[derive(Default)]
struct Table {
    memory: MemoryStore,
    queue: MemoryNotifies,
    left: Mutex<Option<usize>>,
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

struct World {
    table: Arc<Table>,
    objects: Arc<MemoryObjects>,
    clock: ManualClock,
    scope: TenantScope,
    integration: IntegrationId,
    matcher: Matcher,
}

/// Advisories: for each id the npm package, and the version that fixes it.
type Advisories<'a> = &'a [(&'a str, &'a str, &'a str)];

impl World {
    fn new() -> Self {
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

    async fn publish(&self, advisories: Advisories<'_>) {
        let mut bulk = Bulk::default();
        for (id, name, fixed) in advisories {
            let record = json!({ "id": id, "modified": "2026-01-01T00:00:00Z", "affected": [{
                "package": { "ecosystem": "npm", "name": name },
                "ranges": [{ "type": "SEMVER", "events": [{ "introduced": "0" }, { "fixed": fixed }] }] }] });
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
    async fn observe(&self, name: &str, tags: &[&str]) -> Digest {
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
    async fn scan(&self, name: &str, tags: &[&str], packages: &[&str]) -> Digest {
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

    async fn tell(&self, digest: &Digest) {
        self.matcher
            .compare_tags(&self.scope, digest, None)
            .await
            .unwrap();
    }

    /// Takes what is on its way to the notifier.
    async fn told(&self) -> Vec<FindingsChanged> {
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

fn report(digest: &Digest, packages: &[&str]) -> Report {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let packages: Vec<_> = packages
        .iter()
        .map(|purl| {
            json!({ "purl": purl, "kind": "npm", "name": "x", "version": "1", "file": "package.json",
                "layer": { "index": 0, "digest": digest } })
        })
        .collect();
    serde_json::from_value(json!({
        "schema_version": 1, "catalog_version": 1, "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
        "image": { "repository": "r", "tags": [], "digest": digest, "media_type": media_type },
        "pulled_bytes": 0, "spared_bytes": 0, "package_count": packages.len(), "packages_by_kind": {}, "partial": false,
        "platforms": [{ "platform": null, "digest": digest, "media_type": media_type, "os": null, "packages_by_kind": {},
            "layers": [], "partial": [], "packages": packages }],
    }))
    .unwrap()
}

/// The ids of what is new and of what is fixed.
fn news(event: &FindingsChanged) -> (Vec<&str>, Vec<&str>) {
    (
        event.changes.new.iter().map(|line| line.id.as_str()).collect(),
        event.changes.fixed.iter().map(|line| line.id.as_str()).collect(),
    )
}

#[tokio::test]
async fn an_image_is_compared_with_the_one_that_its_tag_named_before() {
    let world = World::new();
    world
        .publish(&[("EX-1", "a", "2.0.0"), ("EX-2", "b", "2.0.0")])
        .await;
    let old = world
        .scan("old", &["latest", "1.0"], &["pkg:npm/a@1.0.0", "pkg:npm/c@1.0.0"])
        .await;
    world.tell(&old).await;
    assert_eq!(world.told().await, [], "there was none before");
    let new = world
        .scan("new", &["latest", "1.1"], &["pkg:npm/a@2.0.0", "pkg:npm/b@1.0.0"])
        .await;
    for _ in 0..3 {
        world.tell(&new).await;
    }
    let told = world.told().await;
    let [event] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(event.reason, ChangeReason::TagMoved);
    assert_eq!(
        (event.changes.before.digest, event.changes.after.digest),
        (old, new)
    );
    assert_eq!(news(event), (vec!["EX-2"], vec!["EX-1"]));
    let [place] = &event.places[..] else {
        panic!("{event:#?}")
    };
    assert_eq!(place.tags, ["latest".parse().unwrap()], "the other one is new");
    // An older image that is tagged again is news, too, and needs no scan.
    world.observe("old", &["latest"]).await;
    world.tell(&old).await;
    let told = world.told().await;
    assert_eq!(told.len(), 1);
    assert_eq!(news(&told[0]), (vec!["EX-1"], vec!["EX-2"]));
}

#[tokio::test]
async fn an_image_without_other_findings_is_no_news_and_is_compared_with_next_time() {
    let world = World::new();
    world.publish(&[("EX-1", "a", "3.0.0")]).await;
    for (name, package) in [("one", "pkg:npm/a@1.0.0"), ("two", "pkg:npm/a@2.0.0")] {
        let image = world.scan(name, &["latest"], &[package]).await;
        world.tell(&image).await;
    }
    assert_eq!(world.told().await, []);
    let fixed = world.scan("three", &["latest"], &["pkg:npm/a@3.0.0"]).await;
    world.tell(&fixed).await;
    let told = world.told().await;
    assert_eq!(told[0].changes.before.digest, Digest::of(b"two"));
}

#[tokio::test]
async fn a_slow_scan_of_an_image_that_lost_its_tag_meanwhile_tells_nothing() {
    let world = World::new();
    world.publish(&[("EX-1", "a", "2.0.0")]).await;
    let slow = world.scan("slow", &["latest"], &["pkg:npm/a@1.0.0"]).await;
    let fast = world.scan("fast", &["latest"], &["pkg:npm/a@2.0.0"]).await;
    world.tell(&fast).await;
    world.tell(&slow).await;
    assert_eq!(world.told().await, [], "what ECR said later holds");
}

#[tokio::test]
async fn a_new_edition_is_news_of_an_image_once_and_says_what_came_and_went() {
    let world = World::new();
    world.publish(&[("EX-1", "a", "2.0.0")]).await;
    let image = world
        .scan("x", &["latest"], &["pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0"])
        .await;
    world.tell(&image).await;
    world.publish(&[("EX-2", "b", "2.0.0")]).await;
    let rematch = async || world.matcher.rematch(&world.scope, &image).await.unwrap();
    assert_eq!(rematch().await, Rematched::Changed);
    assert_eq!(rematch().await, Rematched::Known);
    let told = world.told().await;
    let [event] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(event.reason, ChangeReason::AdvisoriesChanged);
    assert_eq!(news(event), (vec!["EX-2"], vec!["EX-1"]));
    assert_eq!(event.places[0].tags, ["latest".parse().unwrap()]);
    // An edition that says the same of it is none.
    world
        .publish(&[("EX-2", "b", "2.0.0"), ("EX-3", "z", "2.0.0")])
        .await;
    assert_eq!(rematch().await, Rematched::Unchanged);
    assert_eq!(world.told().await, []);
}

#[tokio::test]
async fn what_was_scanned_without_a_database_is_compared_when_there_is_one() {
    let world = World::new();
    let old = world.scan("old", &["latest"], &["pkg:npm/a@1.0.0"]).await;
    world.tell(&old).await;
    world.publish(&[("EX-1", "a", "2.0.0")]).await;
    world.matcher.rematch(&world.scope, &old).await.unwrap();
    assert_eq!(world.told().await, [], "the first findings are no change");
    let new = world.scan("new", &["latest"], &["pkg:npm/a@2.0.0"]).await;
    world.tell(&new).await;
    assert_eq!(world.told().await.len(), 1);
}

/// Does something again and again, while the first time fewer and fewer writes fail, and looks at what was told.
async fn with_crashes_anywhere(is_rematch: bool) {
    for crash in 0..40 {
        let world = World::new();
        world.publish(&[("EX-1", "a", "2.0.0")]).await;
        let old = world.scan("old", &["latest"], &["pkg:npm/a@1.0.0"]).await;
        world.tell(&old).await;
        let image = if is_rematch {
            world.publish(&[]).await;
            old
        } else {
            world.scan("new", &["latest"], &["pkg:npm/a@2.0.0"]).await
        };
        let attempt = async || -> Result<(), MatchError> {
            if is_rematch {
                world.matcher.rematch(&world.scope, &image).await.map(drop)
            } else {
                world.matcher.compare_tags(&world.scope, &image, None).await
            }
        };
        *world.table.left.lock().unwrap() = Some(crash);
        let crashed = attempt().await.is_err();
        *world.table.left.lock().unwrap() = None;
        for _ in 0..2 {
            attempt().await.unwrap();
        }
        let told = world.told().await;
        let ids: BTreeSet<_> = told.iter().map(|event| &event.id).collect();
        assert_eq!(ids.len(), 1, "crash at write {crash}: {told:#?}");
        assert_eq!(told[0].changes.counts.fixed, 1);
        // Twice only if the process died between queueing and noting that.
        assert!(
            told.len() <= 2 && (crashed || told.len() == 1),
            "crash at write {crash}"
        );
        if !crashed {
            assert!(crash >= 3, "there are more writes than {crash}");
            return;
        }
    }
    panic!("it never got through");
}

#[tokio::test]
async fn a_crash_anywhere_in_a_comparison_of_tags_loses_nothing() {
    with_crashes_anywhere(false).await;
}

#[tokio::test]
async fn a_crash_anywhere_in_a_rematch_loses_nothing() {
    with_crashes_anywhere(true).await;
}

#[tokio::test]
async fn a_thousand_tags_move_together() {
    let world = World::new();
    world.publish(&[("EX-1", "a", "2.0.0")]).await;
    let tags: Vec<String> = (0..1000).map(|n| format!("t{n}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    for (name, package) in [("old", "pkg:npm/a@1.0.0"), ("new", "pkg:npm/a@2.0.0")] {
        let image = world.scan(name, &tags, &[package]).await;
        world.tell(&image).await;
    }
    let told = world.told().await;
    assert_eq!((told.len(), told[0].places[0].tags.len()), (1, 10));
}
