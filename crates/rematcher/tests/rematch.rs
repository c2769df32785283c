//! New editions of the advisory database, carried to images in memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portwarden_advisories::{Bulk, PackageName, build, parse};
use portwarden_aws::Metrics;
use portwarden_core::{
    advisory::{AdvisoryFile, Edition, Editions},
    clock::{Clock as _, ManualClock},
    id::{IntegrationId, TenantId},
    image::{Images, Location, Presence},
    inventory::{ImageState, Inventory, Matching},
    notification::MemoryNotifies,
    object::{Document, MemoryObjects, ObjectError, ObjectKey, ReadObject, WriteObject},
    purge::LeaveIndex as _,
    random::OsRandomness,
    rematch::{MemoryRematches, RematchRequest},
    scope::{OperatorScope, TenantScope},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
    tenant::Tenants,
    work::KnownBy,
};
use portwarden_matching::{Index, MatchError, Matcher};
use portwarden_oci::Digest;
use portwarden_rematcher::{Context, Failure, Outside, work};
use portwarden_report::{ImageFindings, Report};
use portwarden_testkit::documents;

/// A table that counts reads of images, and whose writes can be made to fail.
#[derive(Default)]
struct Table {
    memory: MemoryStore,
    image_reads: AtomicUsize,
    /// How many writes pass before one fails; none fails at first.
    writes_left: Mutex<Option<usize>>,
}

#[async_trait]
impl Store for Table {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        if key.partition().as_str().contains("#image#") {
            self.image_reads.fetch_add(1, Ordering::SeqCst);
        }
        self.memory.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        if partition.as_str().contains("#image#") {
            self.image_reads.fetch_add(1, Ordering::SeqCst);
        }
        self.memory.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        if let Some(left) = &mut *self.writes_left.lock().unwrap() {
            if *left == 0 {
                return Err(WriteError::Store(StoreError::Throttled));
            }
            *left -= 1;
        }
        self.memory.write(writes).await
    }
}

/// Objects of which the reads are kept.
#[derive(Default)]
struct Objects {
    memory: MemoryObjects,
    reads: Mutex<Vec<String>>,
}

#[async_trait]
impl ReadObject for Objects {
    async fn read_object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, ObjectError> {
        self.reads.lock().unwrap().push(key.to_string());
        self.memory.read_object(key).await
    }
}

#[async_trait]
impl WriteObject for Objects {
    async fn write_object(
        &self,
        key: &ObjectKey,
        kind: &'static str,
        content: Vec<u8>,
    ) -> Result<(), ObjectError> {
        self.memory.write_object(key, kind, content).await
    }
}

struct World {
    table: Arc<Table>,
    objects: Arc<Objects>,
    queue: Arc<MemoryRematches>,
    clock: ManualClock,
    context: Context,
    matcher: Matcher,
}

/// Advisories: for each id the npm package, and the version that fixes it.
type Advisories<'a> = &'a [(&'a str, &'a str, &'a str)];

fn world() -> World {
    let table = Arc::<Table>::default();
    let objects = Arc::<Objects>::default();
    let queue = Arc::<MemoryRematches>::default();
    let notifies = Arc::<MemoryNotifies>::default();
    let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
    let outside = Outside {
        store: table.clone(),
        objects: objects.clone(),
        documents: objects.clone(),
        rematches: queue.clone(),
        notifies: notifies.clone(),
        metrics: Metrics::written_by(Arc::new(clock.clone()), |_| {}),
        clock: Arc::new(clock.clone()),
    };
    World {
        context: Context::new(outside),
        matcher: Matcher::new(
            table.clone(),
            objects.clone(),
            objects.clone(),
            notifies.clone(),
            Arc::new(clock.clone()),
        ),
        table,
        objects,
        queue,
        clock,
    }
}

fn image(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn report(digest: &Digest, packages: &[&str]) -> Report {
    serde_json::from_value(documents::report(digest, packages)).unwrap()
}

impl World {
    async fn tenant(&self) -> TenantScope {
        let operator = OperatorScope::of_this_process();
        let tenants = Tenants::new(self.table.clone());
        let tenant = tenants
            .create(operator, "t", self.clock.now(), &OsRandomness)
            .await
            .unwrap();
        operator.tenant(tenant.id)
    }

    /// Brings an edition into use, whose changes are all packages that are named in it or were in the last one.
    async fn publish(&self, advisories: Advisories<'_>, changes: &[&str]) -> Edition {
        let mut bulk = Bulk::default();
        for (id, name, fixed) in advisories {
            let record = documents::advisory(id, "npm", name, fixed);
            bulk.advisories
                .insert((*id).to_owned(), parse(record.to_string().as_bytes()).unwrap());
        }
        let database = build(&bulk).unwrap();
        let editions = Editions::new(self.table.clone());
        let before = editions.shelf().await.unwrap();
        let number = before.edition.as_ref().map_or(1, |edition| edition.number + 1);
        let names: BTreeSet<PackageName> = changes.iter().map(|name| PackageName::of("npm", name)).collect();
        let names = serde_json::to_vec(&names).unwrap();
        let edition = Edition {
            number,
            database: Digest::of(&database),
            bytes: 0,
            advisories: 0,
            changes: before.edition.is_some().then(|| Digest::of(&names)),
            built_at: self.clock.now(),
        };
        let file = AdvisoryFile::Changes(number, Digest::of(&names));
        self.objects.write_object(&file.key(), "", names).await.unwrap();
        self.objects
            .write_object(&edition.file().key(), "", database)
            .await
            .unwrap();
        assert!(editions.publish(&before, &edition).await.unwrap());
        edition
    }

    /// Lets a tenant have an image with these packages, as the scanner leaves it.
    async fn scan(&self, scope: &TenantScope, name: &str, packages: &[&str]) -> Digest {
        let digest = image(name);
        self.observe(scope, &digest, Some(false)).await;
        let report = report(&digest, packages);
        let key = scope.image_object(&digest, 1, Document::Report);
        self.objects
            .write_object(&key, "", report.to_json())
            .await
            .unwrap();
        self.matcher.match_first(scope, &report).await.unwrap();
        digest
    }

    /// Says of an image that it is there, archived or not, or deleted.
    async fn observe(&self, scope: &TenantScope, digest: &Digest, archived: Option<bool>) {
        self.clock.advance(Duration::from_secs(1));
        let location = Location {
            integration: IntegrationId::generate(&OsRandomness),
            account: "111122223333".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            repository: "shop/web".parse().unwrap(),
            presence: match archived {
                Some(archived) => Presence::Present {
                    tags: BTreeSet::new(),
                    pushed_at: None,
                    archived,
                },
                None => Presence::Deleted,
            },
            observed_at: self.clock.now(),
            known_by: KnownBy::Event,
            known_at: self.clock.now(),
        };
        Images::new(self.table.clone())
            .observe(scope, digest, &location)
            .await
            .unwrap();
    }

    fn stop(&self) -> Timestamp {
        self.clock.now() + SignedDuration::from_mins(1)
    }

    /// Works on everything that a new edition leads to; returns how many images were matched again.
    async fn rematch(&self, edition: &Edition) -> usize {
        let everyone = RematchRequest::Everyone {
            edition: edition.clone(),
            after: None,
        };
        let mut waiting = vec![everyone];
        let mut matched = 0;
        while let Some(request) = waiting.pop() {
            let done = work(&self.context, &request, self.stop()).await.unwrap();
            if matches!(request, RematchRequest::Images { .. }) {
                matched += done.images;
            }
            waiting.extend(self.queue.take());
        }
        matched
    }

    async fn state(&self, scope: &TenantScope, digest: &Digest) -> ImageState {
        Inventory::new(self.table.clone())
            .image(scope, digest)
            .await
            .unwrap()
    }

    async fn matching(&self, scope: &TenantScope, digest: &Digest) -> Option<Matching> {
        self.state(scope, digest).await.matching
    }

    /// Returns the ids of an image's findings, as its document and as the index have them, which must be the same.
    async fn findings(&self, scope: &TenantScope, digest: &Digest, known: &[&str]) -> BTreeSet<String> {
        let key = scope.image_object(digest, 1, Document::Findings);
        let document = self.objects.memory.read_object(&key).await.unwrap();
        let found: BTreeSet<String> = document.map_or_else(BTreeSet::new, |document| {
            let findings: ImageFindings = serde_json::from_slice(&document).unwrap();
            findings.open().map(|found| found.finding.id.clone()).collect()
        });
        for id in known {
            let images = self
                .context_inventory()
                .images_with_finding(scope, id, None, 100)
                .await
                .unwrap();
            assert_eq!(images.items.contains(digest), found.contains(*id), "{id}");
        }
        found
    }

    fn context_inventory(&self) -> Inventory {
        Inventory::new(self.table.clone())
    }
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

const ALL: [&str; 3] = ["EX-1", "EX-2", "EX-3"];

#[tokio::test]
async fn a_new_edition_leads_to_new_findings_and_takes_old_ones_away() {
    let world = world();
    let [one, two] = [world.tenant().await, world.tenant().await];
    world.publish(&[("EX-1", "a", "2.0.0")], &[]).await;
    let a = world
        .scan(&one, "a", &["pkg:npm/a@1.0.0", "pkg:npm/z@1.0.0"])
        .await;
    let b = world.scan(&two, "b", &["pkg:npm/b@1.0.0"]).await;
    assert_eq!(world.findings(&one, &a, &ALL).await, ids(&["EX-1"]));
    assert_eq!(world.findings(&two, &b, &ALL).await, ids(&[]));

    let edition = world
        .publish(&[("EX-2", "b", "2.0.0"), ("EX-3", "a", "3.0.0")], &["a", "b"])
        .await;
    assert_eq!(world.rematch(&edition).await, 2);
    assert_eq!(world.findings(&one, &a, &ALL).await, ids(&["EX-3"]));
    assert_eq!(world.findings(&two, &b, &ALL).await, ids(&["EX-2"]));
    let matching = world.matching(&one, &a).await.unwrap();
    assert_eq!((matching.edition, matching.written), (Some(2), true));
    assert_eq!(matching.counts, BTreeMap::from([("unknown".to_owned(), 1)]));
    assert_eq!(world.rematch(&edition).await, 0, "nothing is left to do");
    let read = world.objects.reads.lock().unwrap().join(" ");
    assert!(!read.contains("/layers/"), "{read}");
}

#[tokio::test]
async fn only_images_whose_findings_change_are_read_and_each_once() {
    let world = world();
    let scope = world.tenant().await;
    world.publish(&[("EX-1", "a", "2.0.0")], &[]).await;
    let old = world
        .scan(&scope, "old", &["pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0"])
        .await;
    world
        .scan(&scope, "new", &["pkg:npm/a@3.0.0", "pkg:npm/b@9.0.0"])
        .await;
    // Two of the old image's packages have news, and the new image is above both bounds.
    let edition = world
        .publish(
            &[("EX-1", "a", "2.5.0"), ("EX-2", "b", "2.0.0")],
            &["a", "b", "c"],
        )
        .await;
    world.table.image_reads.store(0, Ordering::SeqCst);
    world.objects.reads.lock().unwrap().clear();
    assert_eq!(world.rematch(&edition).await, 1);
    let reads = std::mem::take(&mut *world.objects.reads.lock().unwrap());
    let of = |digest: &Digest| reads.iter().filter(|key| key.contains(&digest.hex())).count();
    assert_eq!(of(&old), 2, "its report and what was found before: {reads:?}");
    assert_eq!(of(&image("new")), 0, "{reads:?}");
    assert_eq!(world.table.image_reads.load(Ordering::SeqCst), 1);

    world.table.image_reads.store(0, Ordering::SeqCst);
    let again = RematchRequest::Images {
        tenant: scope.tenant().clone(),
        images: vec![old],
    };
    work(&world.context, &again, world.stop()).await.unwrap();
    assert_eq!(
        world.table.image_reads.load(Ordering::SeqCst),
        1,
        "one read says that it is matched"
    );
}

#[tokio::test]
async fn images_wait_for_their_first_database() {
    let world = world();
    let scope = world.tenant().await;
    let digest = world.scan(&scope, "a", &["pkg:npm/a@1.0.0"]).await;
    let matching = world.matching(&scope, &digest).await.unwrap();
    assert_eq!(matching.edition, None);
    let edition = world.publish(&[("EX-1", "a", "2.0.0")], &[]).await;
    assert_eq!(edition.changes, None);
    assert_eq!(world.rematch(&edition).await, 1);
    assert_eq!(world.findings(&scope, &digest, &ALL).await, ids(&["EX-1"]));
    assert_eq!(
        world
            .context_inventory()
            .unmatched(&scope, None, 9)
            .await
            .unwrap()
            .items,
        []
    );
}

#[tokio::test]
async fn a_broken_database_stops_no_report_and_the_next_edition_makes_up_for_it() {
    let world = world();
    let scope = world.tenant().await;
    let broken = world.publish(&[("EX-1", "a", "2.0.0")], &[]).await;
    world
        .objects
        .write_object(&broken.file().key(), "", b"damaged".to_vec())
        .await
        .unwrap();
    let digest = image("a");
    world.observe(&scope, &digest, Some(false)).await;
    let report = report(&digest, &["pkg:npm/a@1.0.0"]);
    let key = scope.image_object(&digest, 1, Document::Report);
    world
        .objects
        .write_object(&key, "", report.to_json())
        .await
        .unwrap();
    let (first, failure) = world.matcher.match_first(&scope, &report).await.unwrap();
    assert_eq!(first.edition, None);
    assert!(
        matches!(failure, Some(MatchError::Database { edition: 1, .. })),
        "{failure:?}"
    );
    let images = RematchRequest::Images {
        tenant: scope.tenant().clone(),
        images: vec![digest],
    };
    let failure = work(&world.context, &images, world.stop()).await.unwrap_err();
    assert_eq!(failure.code(), "advisories_unusable");
    let edition = world.publish(&[("EX-1", "a", "2.0.0")], &[]).await;
    assert_eq!(world.rematch(&edition).await, 1);
    assert_eq!(world.findings(&scope, &digest, &ALL).await, ids(&["EX-1"]));
}

#[tokio::test]
async fn deleted_and_archived_images_leave_the_index() {
    for gone in [Some(true), None] {
        let world = world();
        let scope = world.tenant().await;
        world.publish(&[("EX-1", "a", "2.0.0")], &[]).await;
        let digest = world.scan(&scope, "a", &["pkg:npm/a@1.0.0"]).await;
        world.observe(&scope, &digest, gone).await;
        let edition = world.publish(&[("EX-2", "a", "2.0.0")], &["a"]).await;
        world.rematch(&edition).await;
        assert_eq!(world.matching(&scope, &digest).await, None);
        let inventory = world.context_inventory();
        assert_eq!(
            inventory
                .search_packages(&scope, "a", None, 9)
                .await
                .unwrap()
                .items,
            []
        );
        for id in ALL {
            assert_eq!(
                inventory
                    .images_with_finding(&scope, id, None, 9)
                    .await
                    .unwrap()
                    .items,
                []
            );
        }
        // Back again, it is matched as it was scanned.
        world.observe(&scope, &digest, Some(false)).await;
        world.matcher.match_known(&scope, &digest, 1).await.unwrap();
        assert_eq!(world.findings(&scope, &digest, &ALL).await, ids(&["EX-2"]));
    }
}

#[tokio::test]
async fn a_purged_image_leaves_the_index_by_what_its_documents_say() {
    let world = world();
    let scope = world.tenant().await;
    world.publish(&[("EX-1", "a", "2.0.0")], &[]).await;
    let kept = world.scan(&scope, "kept", &["pkg:npm/a@1.0.0"]).await;
    // Whatever is stored of an image but for where it lies.
    let indexed = |digest: &Digest| -> Vec<String> {
        let items = world.table.memory.dump().into_iter();
        let keys = items.map(|item| item.key.to_string());
        let of_index = ["#packages ", "#findings ", "#unmatched ", " matching"];
        keys.filter(|key| key.contains(&digest.hex()))
            .filter(|key| of_index.iter().any(|part| key.contains(part)))
            .collect()
    };
    let entries = indexed(&kept);
    assert_eq!(
        entries.len(),
        3,
        "its matching, a package and a finding: {entries:?}"
    );
    // The documents of one of them cannot be read: it leaves as far as is known, and keeps nobody waiting.
    for (name, is_readable) in [("gone", true), ("garbled", false)] {
        let gone = world
            .scan(&scope, name, &["pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0"])
            .await;
        if !is_readable {
            let report = scope.image_object(&gone, 1, Document::Report);
            world
                .objects
                .write_object(&report, "", b"{".to_vec())
                .await
                .unwrap();
        }
        let index = Index::new(world.table.clone(), world.objects.clone());
        for _ in 0..2 {
            index.leave_index(&scope, &gone).await.unwrap();
        }
        assert_eq!(world.matching(&scope, &gone).await, None);
        assert!(indexed(&gone).is_empty() || !is_readable, "{:?}", indexed(&gone));
        assert_eq!(indexed(&kept), entries);
    }
}

#[tokio::test]
async fn a_crash_at_any_write_is_made_up_for_by_the_next_delivery() {
    for writes in 0.. {
        let world = world();
        let scope = world.tenant().await;
        world.publish(&[("EX-1", "a", "2.0.0")], &[]).await;
        let digest = world.scan(&scope, "a", &["pkg:npm/a@1.0.0"]).await;
        world.publish(&[("EX-2", "a", "2.0.0")], &["a"]).await;
        let request = RematchRequest::Images {
            tenant: scope.tenant().clone(),
            images: vec![digest],
        };
        *world.table.writes_left.lock().unwrap() = Some(writes);
        let crashed = work(&world.context, &request, world.stop()).await;
        *world.table.writes_left.lock().unwrap() = None;
        work(&world.context, &request, world.stop()).await.unwrap();
        assert_eq!(
            world.findings(&scope, &digest, &ALL).await,
            ids(&["EX-2"]),
            "after {writes} writes"
        );
        assert!(world.matching(&scope, &digest).await.unwrap().written);
        match crashed {
            Ok(_) => {
                assert!(writes >= 3, "{writes}");
                return;
            }
            Err(failure) => assert!(
                matches!(
                    failure,
                    Failure::Images {
                        failed: 1,
                        all: 1,
                        ..
                    }
                ),
                "{failure:?}"
            ),
        }
    }
}

#[tokio::test]
async fn work_goes_on_in_another_message_when_the_time_is_over() {
    let world = world();
    let scope = world.tenant().await;
    world.publish(&[("EX-1", "p0", "2.0.0")], &[]).await;
    let names: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let digest = world.scan(&scope, "a", &["pkg:npm/p39@1.0.0"]).await;
    let edition = world.publish(&[("EX-2", "p39", "2.0.0")], &names).await;
    let tenant = scope.tenant().clone();
    let request = RematchRequest::Tenant {
        tenant: tenant.clone(),
        edition: edition.clone(),
        done: 0,
    };
    let done = work(&world.context, &request, world.clock.now()).await.unwrap();
    assert!(done.is_continued);
    assert_eq!(world.queue.take(), [request]);
    let rest = RematchRequest::Tenant {
        tenant,
        edition: edition.clone(),
        done: 32,
    };
    let done = work(&world.context, &rest, world.stop()).await.unwrap();
    assert!(!done.is_continued);
    assert_eq!(done.images, 1);
    let [RematchRequest::Images { images, .. }] = &world.queue.take()[..] else {
        panic!("one batch");
    };
    assert_eq!(*images, [digest]);

    for _ in 0..150 {
        world.tenant().await;
    }
    let everyone = RematchRequest::Everyone { edition, after: None };
    let done = work(&world.context, &everyone, world.clock.now()).await.unwrap();
    assert!(done.is_continued);
    let mut queued = world.queue.take();
    let rest = queued.pop().unwrap();
    assert_eq!(queued.len(), 101, "the operator's own, and a page of tenants");
    work(&world.context, &rest, world.stop()).await.unwrap();
    queued.extend(world.queue.take());
    let tenants: BTreeSet<TenantId> = queued
        .iter()
        .map(|request| match request {
            RematchRequest::Tenant { tenant, done: 0, .. } => tenant.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((tenants.len(), queued.len()), (152, 152), "each once");
}

#[tokio::test]
async fn many_images_come_in_batches_and_one_bad_one_fails_alone() {
    let world = world();
    let scope = world.tenant().await;
    world.publish(&[("EX-1", "b", "2.0.0")], &[]).await;
    for n in 0..250 {
        world.scan(&scope, &n.to_string(), &["pkg:npm/a@1.0.0"]).await;
    }
    let bad = image("7");
    let key = scope.image_object(&bad, 1, Document::Report);
    world.objects.write_object(&key, "", b"{".to_vec()).await.unwrap();
    let edition = world.publish(&[("EX-2", "a", "2.0.0")], &["a"]).await;
    let request = RematchRequest::Tenant {
        tenant: scope.tenant().clone(),
        edition,
        done: 0,
    };
    work(&world.context, &request, world.stop()).await.unwrap();
    let batches = world.queue.take();
    let sizes: Vec<usize> = batches
        .iter()
        .map(|request| match request {
            RematchRequest::Images { images, .. } => images.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
    let mut failures = Vec::new();
    for batch in &batches {
        failures.extend(work(&world.context, batch, world.stop()).await.err());
    }
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].code(), "document_unreadable");
    for n in 0..250 {
        let digest = image(&n.to_string());
        let edition = world.matching(&scope, &digest).await.unwrap().edition;
        assert_eq!(edition, Some(if digest == bad { 1 } else { 2 }), "{n}");
    }
}
