//! Runs of the advisor over a feed in memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Write as _},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portwarden_advisor::{Context, Failure, Outside, handle, settings::Folders};
use portwarden_advisories::{Database, Package, PackageName};
use portwarden_aws::Metrics;
use portwarden_core::{
    advisory::{Edition, Editions, FeedAnswer, FeedError, FeedFile, Folder, ReadFeed},
    clock::{Clock as _, ManualClock},
    object::{MemoryObjects, ObjectError, ObjectKey, ReadObject as _, WriteObject},
    rematch::{MemoryRematches, RematchRequest},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A feed that keeps what was asked.
#[derive(Default)]
struct Feed {
    files: Mutex<BTreeMap<FeedFile, Vec<u8>>>,
    asked: Mutex<Vec<String>>,
    down: Mutex<BTreeSet<&'static str>>,
}

#[async_trait]
impl ReadFeed for Feed {
    async fn read_feed(
        &self,
        file: &FeedFile,
        known: Option<&str>,
        limit: u64,
    ) -> Result<FeedAnswer, FeedError> {
        self.asked.lock().unwrap().push(file.to_string());
        if self.down.lock().unwrap().contains(file.path()[0].as_str()) {
            return Err(FeedError::Unreachable(file.clone(), "it is down".into()));
        }
        let files = self.files.lock().unwrap();
        let content = files.get(file).ok_or_else(|| FeedError::Missing(file.clone()))?;
        let tag = portwarden_oci::Digest::of(content).to_string();
        if known == Some(&tag) {
            return Ok(FeedAnswer::Unchanged);
        }
        if content.len() as u64 > limit {
            return Err(FeedError::TooLarge(file.clone(), limit));
        }
        Ok(FeedAnswer::File {
            content: content.clone(),
            tag: Some(tag),
        })
    }
}

/// A store whose writes can fail.
#[derive(Default)]
struct Table {
    memory: MemoryStore,
    is_read_only: Mutex<bool>,
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
        if *self.is_read_only.lock().unwrap() {
            return Err(WriteError::Store(StoreError::Throttled));
        }
        self.memory.write(writes).await
    }
}

/// What a folder holds: for each number of a record the day of its last change, the package and the fixing version.
type Records = BTreeMap<u32, (u8, &'static str, u32)>;

struct World {
    feed: Arc<Feed>,
    table: Arc<Table>,
    objects: Arc<MemoryObjects>,
    clock: ManualClock,
    lines: Arc<Mutex<Vec<String>>>,
    rematches: Arc<MemoryRematches>,
}

impl World {
    fn new() -> Self {
        Self {
            feed: Arc::default(),
            table: Arc::default(),
            objects: Arc::default(),
            clock: ManualClock::at("2026-02-01T00:00:00Z".parse().unwrap()),
            lines: Arc::default(),
            rematches: Arc::default(),
        }
    }

    fn context(&self, folders: &str) -> Context {
        let lines = Arc::clone(&self.lines);
        Context::new(Outside {
            store: self.table.clone(),
            feed: self.feed.clone(),
            folders: folders.parse::<Folders>().unwrap(),
            objects: self.objects.clone(),
            documents: self.objects.clone(),
            remover: self.objects.clone(),
            rematches: self.rematches.clone(),
            metrics: Metrics::written_by(Arc::new(self.clock.clone()), move |line| {
                lines.lock().unwrap().push(line.to_owned());
            }),
            clock: Arc::new(self.clock.clone()),
        })
    }

    async fn try_run(&self, folders: &str) -> Result<(), Failure> {
        let ends = self.clock.now() + SignedDuration::from_mins(15);
        handle(&self.context(folders), ends).await
    }

    /// Follows npm and Go once; returns the edition in use, and what was asked of the feed.
    async fn run(&self) -> (Option<u64>, Vec<String>) {
        self.feed.asked.lock().unwrap().clear();
        self.try_run("npm,Go").await.unwrap();
        let asked = std::mem::take(&mut *self.feed.asked.lock().unwrap());
        (self.edition().await.map(|edition| edition.number), asked)
    }

    async fn edition(&self) -> Option<Edition> {
        Editions::new(self.table.clone()).current().await.unwrap()
    }

    async fn folder(&self, name: &str) -> Folder {
        let state = Editions::new(self.table.clone()).shelf().await.unwrap();
        state.folders[name].clone()
    }

    async fn database(&self) -> Database {
        let file = self.edition().await.unwrap().file();
        let content = self.objects.read_object(&file.key()).await.unwrap().unwrap();
        assert!(file.is(&content));
        Database::open(content).unwrap()
    }

    async fn fix_of(&self, purl: &str) -> Option<String> {
        let found = self.database().await.find(&[Package::new(purl)]).unwrap();
        found.findings.first().and_then(|finding| finding.fixed.clone())
    }

    async fn changes(&self) -> BTreeSet<PackageName> {
        let file = self.edition().await.unwrap().changes_file().unwrap();
        let content = self.objects.read_object(&file.key()).await.unwrap().unwrap();
        serde_json::from_slice(&content).unwrap()
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.objects.keys().into_iter().map(|key| key.to_string());
        keys.filter(|key| key.starts_with(prefix)).collect()
    }

    fn put(&self, file: FeedFile, content: impl Into<Vec<u8>>) {
        self.feed.files.lock().unwrap().insert(file, content.into());
    }

    /// Lets a folder of the feed hold these records.
    fn publish(&self, folder: &str, records: &Records) {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let mut list = Vec::new();
        for (number, (day, name, fixed)) in records {
            let id = id(folder, *number);
            let json = format!(
                r#"{{"id":"{id}","modified":"2026-01-{day:02}T00:00:00Z","affected":[{{"package":{{"ecosystem":"{folder}","name":"{name}"}},
                "ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}},{{"fixed":"{fixed}.0.0"}}]}}]}}]}}"#
            );
            archive
                .start_file(format!("{id}.json"), SimpleFileOptions::default())
                .unwrap();
            archive.write_all(json.as_bytes()).unwrap();
            list.push(format!("2026-01-{day:02}T00:00:00Z,{id}\n"));
            self.put(record_file(folder, *number), json);
        }
        list.sort();
        list.reverse();
        self.put(archive_file(folder), archive.finish().unwrap().into_inner());
        self.put(list_file(folder), list.concat());
    }
}

fn id(folder: &str, number: u32) -> String {
    format!("EX-{folder}-{number}")
}

fn list_file(folder: &str) -> FeedFile {
    FeedFile::List {
        folder: folder.to_owned(),
    }
}

fn archive_file(folder: &str) -> FeedFile {
    FeedFile::Archive {
        folder: folder.to_owned(),
    }
}

fn record_file(folder: &str, number: u32) -> FeedFile {
    FeedFile::Record {
        folder: folder.to_owned(),
        id: id(folder, number),
    }
}

/// So many records that losing some of them is noticed.
fn many(day: u8, name: &'static str) -> Records {
    (0..40).map(|number| (number, (day, name, 1))).collect()
}

fn begin() -> World {
    let world = World::new();
    world.publish("npm", &many(1, "a"));
    world.publish("Go", &Records::from([(1, (1, "example.org/x", 1))]));
    world
}

#[tokio::test]
async fn the_first_run_reads_archives_and_later_ones_what_changed() {
    let world = begin();
    let (edition, asked) = world.run().await;
    assert_eq!(edition, Some(1));
    assert_eq!(
        asked,
        [
            "Go/modified_id.csv",
            "Go/all.zip",
            "npm/modified_id.csv",
            "npm/all.zip"
        ]
    );
    assert_eq!(world.fix_of("pkg:npm/a@0.5.0").await.as_deref(), Some("1.0.0"));
    let first = world.edition().await.unwrap();
    assert_eq!(first.changes, None, "all is new");
    let told = |edition: Edition| vec![RematchRequest::Everyone { edition, after: None }];
    assert_eq!(world.rematches.take(), told(first));

    let (edition, asked) = world.run().await;
    assert_eq!(edition, Some(1), "nothing changed");
    assert_eq!(asked, ["Go/modified_id.csv", "npm/modified_id.csv"]);
    assert_eq!(world.rematches.take(), [], "nobody is asked again");

    let mut records = many(1, "a");
    records.insert(7, (9, "b", 3));
    records.insert(99, (8, "c", 2));
    records.remove(&5);
    world.publish("npm", &records);
    let (edition, asked) = world.run().await;
    assert_eq!(edition, Some(2));
    assert_eq!(
        asked,
        [
            "Go/modified_id.csv",
            "npm/modified_id.csv",
            "npm/EX-npm-7.json",
            "npm/EX-npm-99.json"
        ]
    );
    assert_eq!(world.fix_of("pkg:npm/b@0.5.0").await.as_deref(), Some("3.0.0"));
    assert_eq!(world.rematches.take(), told(world.edition().await.unwrap()));
    let changed = ["a", "b", "c"].map(|name| PackageName::of("npm", name));
    assert_eq!(world.changes().await, BTreeSet::from(changed));
}

#[tokio::test]
async fn with_too_many_changes_the_archive_is_read() {
    let world = begin();
    world.run().await;
    let more: Records = (0..600).map(|number| (number, (2, "a", 2))).collect();
    world.publish("npm", &more);
    let (edition, asked) = world.run().await;
    assert_eq!(edition, Some(2));
    assert_eq!(
        asked,
        ["Go/modified_id.csv", "npm/modified_id.csv", "npm/all.zip"]
    );
    assert_eq!(world.fix_of("pkg:npm/a@1.5.0").await.as_deref(), Some("2.0.0"));
}

#[tokio::test]
async fn an_archive_that_is_older_than_its_list_is_completed() {
    let world = begin();
    let old = many(1, "a");
    world.publish("npm", &old);
    let archive = world.feed.files.lock().unwrap()[&archive_file("npm")].clone();
    let mut new = old;
    new.insert(3, (20, "late", 4));
    world.publish("npm", &new);
    world.put(archive_file("npm"), archive);
    let (_, asked) = world.run().await;
    assert!(asked.contains(&"npm/EX-npm-3.json".to_owned()), "{asked:?}");
    assert_eq!(world.fix_of("pkg:npm/late@1.0.0").await.as_deref(), Some("4.0.0"));
}

#[tokio::test]
async fn a_record_that_is_missing_yet_is_asked_for_again() {
    let world = begin();
    world.run().await;
    let mut records = many(1, "a");
    records.insert(7, (9, "b", 3));
    world.publish("npm", &records);
    let late = world
        .feed
        .files
        .lock()
        .unwrap()
        .remove(&record_file("npm", 7))
        .unwrap();
    assert_eq!(world.run().await.0, Some(1), "nothing was learned");
    world.put(record_file("npm", 7), late);
    assert_eq!(world.run().await.0, Some(2));
    assert_eq!(world.fix_of("pkg:npm/b@0.5.0").await.as_deref(), Some("3.0.0"));
}

#[tokio::test]
async fn a_broken_source_costs_nothing_but_its_own_news() {
    let whole = World::new();
    whole.publish("npm", &(0..600).map(|number| (number, (5, "a", 9))).collect());
    let files = whole.feed.files.lock().unwrap().clone();
    let (list, archive) = (&files[&list_file("npm")], &files[&archive_file("npm")]);
    let some_lines = |count: usize| -> Vec<u8> {
        let lines = std::str::from_utf8(list).unwrap().lines().take(count);
        lines
            .flat_map(|line| [line, "\n"])
            .collect::<String>()
            .into_bytes()
    };
    let mut empty = ZipWriter::new(Cursor::new(Vec::new()));
    empty.start_file("x.json", SimpleFileOptions::default()).unwrap();
    let empty = empty.finish().unwrap().into_inner();
    let cases: [(&str, &[u8], &[u8]); 8] = [
        ("source_empty", b"", archive),
        ("source_list_malformed", b"<html>we are down</html>", archive),
        ("source_list_malformed", &list[..list.len() / 2 - 3], archive),
        ("source_shrunk", &some_lines(30), archive),
        ("source_archive_broken", list, &archive[..archive.len() / 2]),
        ("source_archive_broken", list, b"PK"),
        ("source_empty", list, &empty),
        ("source_unreachable", b"down", b"down"),
    ];
    for (code, list, archive) in cases {
        let world = begin();
        world.run().await;
        world.clock.advance(Duration::from_hours(2));
        if list == b"down" {
            world.feed.down.lock().unwrap().insert("npm");
        }
        world.put(list_file("npm"), list);
        world.put(archive_file("npm"), archive);
        world.publish("Go", &Records::from([(1, (2, "example.org/x", 2))]));
        world.lines.lock().unwrap().clear();

        assert_eq!(world.run().await.0, Some(2), "{code}: Go has news");
        assert_eq!(
            world.fix_of("pkg:npm/a@0.5.0").await.as_deref(),
            Some("1.0.0"),
            "{code}"
        );
        assert_eq!(
            world.fix_of("pkg:golang/example.org/x@v1.5.0").await.as_deref(),
            Some("2.0.0")
        );
        let folder = world.folder("npm").await;
        let problem = folder.problem.clone().unwrap();
        assert_eq!(problem.code, code);
        assert_eq!(problem.since, world.clock.now());
        let lines = world.lines.lock().unwrap().join("\n");
        assert!(lines.contains(r#""AdvisoryAge":7200000"#), "{code}: {lines}");
        assert!(
            lines.contains(&format!(r#""outcome.code":"{code}""#)),
            "{code}: {lines}"
        );

        world.clock.advance(Duration::from_hours(1));
        world.run().await;
        assert_eq!(
            world.folder("npm").await.problem,
            Some(problem),
            "{code}: since when stays"
        );
        world.feed.down.lock().unwrap().clear();
        world.publish("npm", &many(10, "b"));
        assert_eq!(world.run().await.0, Some(3), "{code}: it is whole again");
        assert_eq!(world.folder("npm").await.problem, None);
    }
}

#[tokio::test]
async fn a_source_that_never_worked_leaves_no_edition() {
    let world = World::new();
    assert_eq!(world.run().await.0, None);
    assert_eq!(
        world.folder("npm").await.problem.unwrap().code,
        "source_file_missing"
    );
    assert_eq!(world.keys(""), [] as [String; 0]);
}

#[tokio::test]
async fn what_was_stored_and_is_damaged_is_read_from_the_source_again() {
    let world = begin();
    world.run().await;
    let key = world
        .objects
        .keys()
        .into_iter()
        .find(|key| key.to_string().starts_with("advisories/folders/npm/"))
        .unwrap();
    world
        .objects
        .write_object(&key, "", b"damaged".to_vec())
        .await
        .unwrap();
    let (edition, asked) = world.run().await;
    assert!(asked.contains(&"npm/all.zip".to_owned()), "{asked:?}");
    assert_eq!(edition, Some(1), "the same content has the same name");
    assert_eq!(world.run().await.1, ["Go/modified_id.csv", "npm/modified_id.csv"]);
}

#[tokio::test]
async fn an_edition_that_cannot_be_published_leaves_the_one_in_use() {
    let world = begin();
    world.run().await;
    let before = world.edition().await;
    world.publish("npm", &many(10, "b"));
    *world.table.is_read_only.lock().unwrap() = true;
    let failure = world.try_run("npm,Go").await.unwrap_err();
    assert!(matches!(failure, Failure::Store(_)), "{failure:?}");
    assert_eq!(world.edition().await, before);
    *world.table.is_read_only.lock().unwrap() = false;
    // The list lies about nothing: what was read before the failure is read again.
    assert_eq!(world.run().await.0, Some(2));
    assert_eq!(world.changes().await.len(), 2);
}

#[tokio::test]
async fn objects_that_nobody_needs_are_removed_after_a_day() {
    let world = begin();
    world.run().await;
    let first = world.keys("advisories/");
    assert_eq!(first.len(), 3, "a database and two folders: {first:?}");
    let mut fewer = many(1, "a");
    fewer.remove(&39);
    world.publish("npm", &fewer);
    world.run().await;
    assert_eq!(
        world.keys("advisories/").len(),
        6,
        "and another database, folder and list of changes"
    );
    world.publish("npm", &many(1, "a"));
    world.run().await;
    assert_eq!(world.edition().await.unwrap().number, 3);
    world.clock.advance(Duration::from_hours(25));
    world.run().await;
    assert_eq!(world.keys("advisories/databases/").len(), 1);
    assert_eq!(
        world.keys("advisories/folders/").len(),
        2,
        "what came back into use stays"
    );
    assert_eq!(
        world.keys("advisories/changes/").len(),
        2,
        "a message may still ask for them"
    );
    assert!(world.fix_of("pkg:npm/a@0.5.0").await.is_some());
}

#[tokio::test]
async fn a_run_that_is_too_short_publishes_what_it_has() {
    let world = begin();
    let ends = world.clock.now();
    handle(&world.context("npm,Go"), ends).await.unwrap();
    assert_eq!(world.edition().await, None);
    assert_eq!(world.folder("npm").await.problem.unwrap().code, "time_over");
    assert_eq!(world.run().await.0, Some(1));
}

#[tokio::test]
async fn a_folder_that_is_not_followed_any_more_takes_its_advisories_with_it() {
    let world = begin();
    world.run().await;
    world.try_run("npm").await.unwrap();
    assert_eq!(world.edition().await.unwrap().number, 2);
    assert_eq!(world.fix_of("pkg:golang/example.org/x@v0.5.0").await, None);
    assert_eq!(
        world.changes().await,
        BTreeSet::from([PackageName::of("Go", "example.org/x")])
    );
    world.try_run("npm,Go").await.unwrap();
    assert!(world.fix_of("pkg:golang/example.org/x@v0.5.0").await.is_some());
}

/// Lets another run publish while this one writes its database.
struct Overtaking(Arc<MemoryObjects>, Arc<Table>);

#[async_trait]
impl WriteObject for Overtaking {
    async fn write_object(
        &self,
        key: &ObjectKey,
        kind: &'static str,
        content: Vec<u8>,
    ) -> Result<(), ObjectError> {
        let editions = Editions::new(self.1.clone());
        let state = editions.shelf().await.unwrap();
        if state.edition.is_none() && key.to_string().starts_with("advisories/databases/") {
            let edition = Edition {
                number: 1,
                database: portwarden_oci::Digest::of(b"other"),
                bytes: 5,
                advisories: 0,
                changes: None,
                built_at: Timestamp::UNIX_EPOCH,
            };
            assert!(editions.publish(&state, &edition).await.unwrap());
        }
        self.0.write_object(key, kind, content).await
    }
}

#[tokio::test]
async fn of_two_runs_at_once_one_publishes() {
    let world = begin();
    let lines = Arc::clone(&world.lines);
    let clock = Arc::new(world.clock.clone());
    let context = Context::new(Outside {
        store: world.table.clone(),
        feed: world.feed.clone(),
        folders: "npm,Go".parse().unwrap(),
        objects: world.objects.clone(),
        documents: Arc::new(Overtaking(world.objects.clone(), world.table.clone())),
        remover: world.objects.clone(),
        rematches: world.rematches.clone(),
        metrics: Metrics::written_by(clock.clone(), move |line| {
            lines.lock().unwrap().push(line.to_owned());
        }),
        clock,
    });
    let ends = world.clock.now() + SignedDuration::from_mins(15);
    let failure = handle(&context, ends).await.unwrap_err();
    assert!(matches!(failure, Failure::Overtaken), "{failure:?}");
    assert_eq!(world.edition().await.unwrap().bytes, 5);
}
