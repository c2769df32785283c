//! What a new edition costs: a hundred thousand stored images of one tenant, and a change of a thousand advisories.
//!
//! Table and bucket are in memory, so that the time is the program's own; reads are counted, since each is a request on AWS.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portwarden_advisories::{Advisory, Bulk, PackageName, build, parse};
use portwarden_aws::Metrics;
use portwarden_core::{
    advisory::{AdvisoryFile, Edition, Editions},
    clock::{Clock as _, ManualClock},
    id::IntegrationId,
    image::{Images, Location, Presence},
    notification::MemoryNotifies,
    object::{Document, MemoryObjects, ObjectError, ObjectKey, ReadObject, WriteObject as _},
    random::OsRandomness,
    rematch::{MemoryRematches, RematchRequest},
    scope::{OperatorScope, TenantScope},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
    tenant::Tenants,
    work::KnownBy,
};
use portwarden_matching::Matcher;
use portwarden_oci::Digest;
use portwarden_rematcher::{Context, Outside, work};
use portwarden_report::Report;
use serde_json::json;

use crate::{
    Failure,
    sheet::{Sheet, Table, Unit, milliseconds},
};

const IMAGES: u32 = 100_000;
const PACKAGES_OF_AN_IMAGE: u32 = 20;
const PACKAGES: u32 = 10_000;
const CHANGED: u32 = 1_000;

/// Milliseconds for all of it.
const MINUTE: f64 = 60_000.0;

/// A table or a bucket whose reads of images are counted.
struct Counted<T> {
    inner: Arc<T>,
    reads: AtomicUsize,
}

impl<T> Counted<T> {
    fn of(inner: &Arc<T>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            reads: AtomicUsize::new(0),
        })
    }

    fn count(&self, is_of_image: bool) {
        self.reads.fetch_add(usize::from(is_of_image), Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn reads(&self) -> f64 {
        self.reads.load(Ordering::Relaxed) as f64
    }
}

fn is_image(partition: &Partition) -> bool {
    partition.as_str().contains("#image#")
}

#[async_trait]
impl Store for Counted<MemoryStore> {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.count(is_image(key.partition()));
        self.inner.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.count(is_image(partition));
        self.inner.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        self.inner.write(writes).await
    }
}

#[async_trait]
impl ReadObject for Counted<MemoryObjects> {
    async fn read_object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, ObjectError> {
        self.count(key.to_string().contains("/images/"));
        self.inner.read_object(key).await
    }
}

pub(crate) async fn measure() -> Result<Sheet, Failure> {
    let store = Arc::new(MemoryStore::default());
    let objects = Arc::new(MemoryObjects::default());
    let queue = Arc::new(MemoryRematches::default());
    let notifies = Arc::new(MemoryNotifies::default());
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let matcher = Matcher::new(
        store.clone(),
        objects.clone(),
        objects.clone(),
        notifies.clone(),
        Arc::new(clock.clone()),
    );
    let (table, bucket) = (Counted::of(&store), Counted::of(&objects));
    let context = Context::new(Outside {
        store: table.clone(),
        objects: bucket.clone(),
        documents: objects.clone(),
        rematches: queue.clone(),
        notifies,
        metrics: Metrics::written_by(Arc::new(clock.clone()), |_| {}),
        clock: Arc::new(clock.clone()),
    });
    let operator = OperatorScope::of_this_process();
    let tenant = Tenants::new(store.clone())
        .create(operator, "t", clock.now(), &OsRandomness)
        .await?;
    let scope = operator.tenant(tenant.id);

    let editions = Editions::new(store.clone());
    // Every tenth package has a flaw in the versions of every image; the change fixes other versions of these.
    publish(
        &editions,
        &objects,
        |package| if package % 10 == 0 { "5.0.0" } else { "0.1.0" },
        None,
    )
    .await?;
    let images = Images::new(store.clone());
    for image in 0..IMAGES {
        add_image(&scope, &images, &matcher, &objects, &clock, image).await?;
    }

    // Of the thousand packages that change, one in a hundred changes findings of images.
    let changed: BTreeSet<u32> = (0..CHANGED).map(|n| n * (PACKAGES / CHANGED) + 1).collect();
    let edition = publish(
        &editions,
        &objects,
        |package| match (changed.contains(&package), package % 10, package % 1000) {
            (true, _, 1) => "5.0.0",
            (true, ..) => "0.2.0",
            (_, 0, _) => "5.0.0",
            _ => "0.1.0",
        },
        Some(&changed),
    )
    .await?;
    let start = Instant::now();
    let (mut looked_at, mut with_others) = (0, 0);
    let mut waiting = vec![RematchRequest::Everyone { edition, after: None }];
    let stop = clock.now() + SignedDuration::from_hours(1);
    while !waiting.is_empty() {
        for request in waiting {
            let done = work(&context, &request, stop).await?;
            if matches!(request, RematchRequest::Images { .. }) {
                looked_at += done.images;
                with_others += done.changed;
            }
        }
        waiting = queue.take();
    }
    let taken = milliseconds(start.elapsed());
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (affected, others) = (looked_at as f64, with_others as f64);
    let each = |reads: f64| reads / affected.max(1.0);
    let mut sheet = Sheet::new("rematch");
    let mut figures = Table::new(
        "rematch, 100,000 images",
        &[
            ("time", Unit::Milliseconds),
            ("affected", Unit::Count),
            ("other findings", Unit::Count),
            ("table reads an image", Unit::Times),
            ("bucket reads an image", Unit::Times),
        ],
    );
    let [in_table, in_bucket] = [each(table.reads()), each(bucket.reads())];
    figures.row(
        format!("{CHANGED} advisories changed"),
        [taken, affected, others, in_table, in_bucket].map(Some),
    );
    sheet.add(figures);
    sheet.aim("rematch", taken, MINUTE, Unit::Milliseconds);
    sheet.aim(
        "reads of the table for an affected image",
        in_table,
        1.0,
        Unit::Times,
    );
    Ok(sheet)
}

async fn publish(
    editions: &Editions,
    objects: &MemoryObjects,
    fixed: impl Fn(u32) -> &'static str,
    changed: Option<&BTreeSet<u32>>,
) -> Result<Edition, Failure> {
    let mut bulk = Bulk::default();
    for package in 0..PACKAGES {
        let advisory = advisory(package, fixed(package))?;
        bulk.advisories.insert(advisory.id.clone(), advisory);
    }
    let database = build(&bulk)?;
    let shelf = editions.shelf().await?;
    let number = shelf.edition.as_ref().map_or(1, |edition| edition.number + 1);
    let names = changed
        .into_iter()
        .flatten()
        .map(|package| PackageName::of("npm", &format!("package-{package}")));
    let names = serde_json::to_vec(&names.collect::<BTreeSet<_>>())?;
    let edition = Edition {
        number,
        database: Digest::of(&database),
        bytes: database.len() as u64,
        advisories: u64::from(PACKAGES),
        changes: changed.map(|_| Digest::of(&names)),
        built_at: Timestamp::UNIX_EPOCH,
    };
    let file = AdvisoryFile::Changes(number, Digest::of(&names));
    objects.write_object(&file.key(), "", names).await?;
    objects.write_object(&edition.file().key(), "", database).await?;
    if !editions.publish(&shelf, &edition).await? {
        return Err("somebody else published".into());
    }
    Ok(edition)
}

fn advisory(package: u32, fixed: &str) -> Result<Advisory, Failure> {
    let record = json!({ "id": format!("EX-{package}"), "modified": "2026-01-01T00:00:00Z", "aliases": [format!("CVE-2026-{package}")],
        "affected": [{ "package": { "ecosystem": "npm", "name": format!("package-{package}") },
            "ranges": [{ "type": "SEMVER", "events": [{ "introduced": "0" }, { "fixed": fixed }] }] }] });
    Ok(parse(record.to_string().as_bytes())?)
}

async fn add_image(
    scope: &TenantScope,
    images: &Images,
    matcher: &Matcher,
    objects: &MemoryObjects,
    clock: &ManualClock,
    image: u32,
) -> Result<(), Failure> {
    clock.advance(Duration::from_millis(1));
    let digest = Digest::of(&image.to_be_bytes());
    let location = Location {
        integration: IntegrationId::generate(&OsRandomness),
        account: "111122223333".parse()?,
        region: "us-east-1".parse()?,
        repository: "shop/web".parse()?,
        presence: Presence::Present {
            tags: BTreeSet::new(),
            pushed_at: None,
            archived: false,
        },
        observed_at: clock.now(),
        known_by: KnownBy::Event,
        known_at: clock.now(),
    };
    images.observe(scope, &digest, &location).await?;
    // Neighbours share most packages, as images of one organisation do.
    let packages: Vec<_> = (0..PACKAGES_OF_AN_IMAGE)
        .map(|n| {
            let package = (image / 100 * 37 + n * 499 + image % 7) % PACKAGES;
            let version = 1 + image % 3;
            json!({ "purl": format!("pkg:npm/package-{package}@{version}.0.0"), "kind": "npm", "name": format!("package-{package}"),
                "version": format!("{version}.0.0"), "file": format!("app/node_modules/package-{package}/package.json"),
                "layer": { "index": 0, "digest": digest } })
        })
        .collect();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let report: Report = serde_json::from_value(json!({
        "schema_version": 1, "catalog_version": 1, "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
        "image": { "repository": "r", "tags": [], "digest": digest, "media_type": media_type },
        "pulled_bytes": 0, "spared_bytes": 0, "package_count": packages.len(), "packages_by_kind": {}, "partial": false,
        "platforms": [{ "platform": null, "digest": digest, "media_type": media_type, "os": null, "packages_by_kind": {},
            "layers": [], "partial": [], "packages": packages }],
    }))?;
    let key = scope.image_object(&digest, 1, Document::Report);
    objects.write_object(&key, "", report.to_json()).await?;
    matcher.match_first(scope, &report).await?;
    Ok(())
}
