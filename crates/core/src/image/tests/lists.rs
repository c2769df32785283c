//! Lists say what the images themselves say, whatever came in whichever order, and however much at once.

use std::{
    collections::BTreeMap,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::ToSpan as _;
use proptest::prelude::*;
use serde_json::Value;

use super::{reported, request};
use crate::{
    ecr::RegistryId,
    id::TenantId,
    image::*,
    random::OsRandomness,
    store::{Interleaved, Key, MemoryStore, Page, Partition, Store, Stored, Write, WriteError},
};

/// Something that happens to an image.
#[derive(Debug, Clone)]
enum Happening {
    Observed { image: u8, location: Location },
    Scanned { image: u8, version: u32 },
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + seconds.seconds()
}

fn digest(image: u8) -> Digest {
    Digest::of(&[image])
}

fn presence() -> impl Strategy<Value = Presence> {
    let tags = proptest::collection::btree_set((0..3u8).prop_map(|n| format!("v{n}").parse().unwrap()), 0..3);
    let pushed_at = proptest::option::of((0..4i64).prop_map(at));
    let present =
        (tags, pushed_at, any::<bool>()).prop_map(|(tags, pushed_at, archived)| Presence::Present {
            tags,
            pushed_at,
            archived,
        });
    prop_oneof![3 => present, 1 => Just(Presence::Deleted)]
}

fn location() -> impl Strategy<Value = Location> {
    let known_by = prop_oneof![
        Just(KnownBy::Event),
        Just(KnownBy::Backfill),
        Just(KnownBy::Reconcile)
    ];
    (0..3u8, presence(), 0..4i64, known_by, 0..4i64).prop_map(
        |(place, presence, observed_at, known_by, known_at)| Location {
            integration: IntegrationId::operator(),
            account: "111122223333".parse().unwrap(),
            region: ["us-east-1", "eu-west-1"][usize::from(place % 2)]
                .parse()
                .unwrap(),
            repository: ["shop/web", "shop/api"][usize::from(place / 2)].parse().unwrap(),
            presence,
            observed_at: at(observed_at),
            known_by,
            known_at: at(known_at),
        },
    )
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..3u8, location()).prop_map(|(image, location)| Happening::Observed { image, location }),
        1 => (0..3u8, 1..3u32).prop_map(|(image, version)| Happening::Scanned { image, version }),
    ]
}

async fn happen(images: &Images, scope: &TenantScope, happening: &Happening) {
    match happening {
        Happening::Observed { image, location } => {
            images.observe(scope, &digest(*image), location).await.unwrap();
        }
        Happening::Scanned { image, version } => {
            let digest = digest(*image);
            let holder = request();
            let claim = images.claim_scan(scope, &digest, *version, &holder, at(0), at(1));
            // It is done, or another one is at it.
            let Claimed::Ours(lease) = claim.await.unwrap() else {
                return;
            };
            let result = ScanResult::Refused {
                problem: crate::problem::Problem::new("code", "what", "fix"),
            };
            let result = if *image == 0 { result } else { reported() };
            let trace = "1-00000000-000000000000000000000000".parse().unwrap();
            images
                .finish_scan(scope, &lease, trace, at(9), result)
                .await
                .unwrap();
        }
    }
}

/// What is stored, but for who did it and how often it was written.
fn contents(store: &MemoryStore) -> BTreeMap<String, Value> {
    let contents = store.dump().into_iter().map(|item| {
        let mut body = Arc::unwrap_or_clone(item.body);
        if let Some(fields) = body.as_object_mut() {
            fields.remove("request");
        }
        (item.key.to_string(), body)
    });
    contents.collect()
}

/// The places where an image lies and is not archived.
fn present_places(locations: &[Location]) -> Vec<&Location> {
    let is_readable =
        |location: &&Location| matches!(location.presence, Presence::Present { archived: false, .. });
    locations.iter().filter(is_readable).collect()
}

/// What lists must say, worked out from the images alone.
async fn check_lists(images: &Images, scope: &TenantScope) {
    let (mut all, mut in_repositories, mut repositories) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut waiting: BTreeMap<Region, BTreeSet<_>> = BTreeMap::new();
    for digest in (0..3).map(digest) {
        let locations = images.locations(scope, &digest).await.unwrap();
        for location in &locations {
            let repository = RepositoryId::of(location);
            repositories.insert(repository.clone());
            if location.is_present() {
                let entries: &mut Vec<Located> = in_repositories.entry(repository).or_default();
                entries.push(Located {
                    digest,
                    location: location.clone(),
                });
            }
        }
        let present = locations.iter().filter(|location| location.is_present());
        let summary = images.summary(scope, &digest).await.unwrap();
        assert_eq!(summary.is_some(), !locations.is_empty());
        let Some(summary) = summary else { continue };
        assert_eq!(summary.place_count, present.clone().count());
        assert_eq!(
            Some(summary.known_at),
            locations.iter().map(|location| location.known_at).min()
        );
        let newest = present.map(Location::since).max();
        assert_eq!(summary.since, newest.unwrap_or(summary.known_at));
        let mut scan = None;
        for version in 1..3 {
            let done = images.scan(scope, &digest, version).await.unwrap();
            scan = done.map(|done| (version, done.result)).or(scan);
        }
        assert_eq!(
            summary
                .scan
                .clone()
                .map(|scan| (scan.catalog_version, scan.result)),
            scan
        );
        // One that was never scanned waits in the place that became known first, of those that can be read.
        let mut readable = present_places(&locations);
        readable.sort_by_key(|place| (place.known_at, &place.account, &place.region, &place.repository));
        if let (None, Some(place)) = (scan, readable.first()) {
            let entry = (summary.known_at, digest.to_string(), place.repository.clone());
            waiting.entry(place.region.clone()).or_default().insert(entry);
        }
        if summary.place_count > 0 {
            all.push(summary);
        }
    }
    for region in ["us-east-1", "eu-west-1"].map(|region| region.parse().unwrap()) {
        let of_region = (&IntegrationId::operator(), &region);
        let listed = images.waiting(scope, of_region, None, 100).await.unwrap().items;
        let listed = listed.into_iter();
        let listed: Vec<_> = listed
            .map(|image| (image.known_at, image.digest.to_string(), image.repository))
            .collect();
        let expected = waiting.remove(&region).unwrap_or_default();
        assert_eq!(listed, expected.into_iter().collect::<Vec<_>>());
    }
    all.sort_by_key(|summary| (std::cmp::Reverse(summary.since), summary.digest.to_string()));
    assert_eq!(images.newest(scope, None, 100).await.unwrap().items, all);
    let listed = images.repositories(scope, None, None, 100).await.unwrap().items;
    assert_eq!(listed, repositories.into_iter().collect::<Vec<_>>());
    for repository in listed {
        let mut expected = in_repositories.remove(&repository).unwrap_or_default();
        expected.sort_by_key(|entry| {
            (
                std::cmp::Reverse(entry.location.since()),
                entry.digest.to_string(),
            )
        });
        let listed = images.in_repository(scope, &repository, None, 100).await.unwrap();
        assert_eq!(listed.items, expected);
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(work)
}

proptest! {
    #[test]
    fn lists_say_what_images_say_in_any_order(
        (happenings, shuffled) in proptest::collection::vec(happening(), 1..12)
            .prop_flat_map(|happenings| (Just(happenings.clone()), Just(happenings).prop_shuffle()))
    ) {
        block_on(async {
            let scope = TenantScope::of(TenantId::generate(&OsRandomness));
            let stores = [(); 2].map(|()| Arc::new(MemoryStore::default()));
            for (store, happenings) in stores.iter().zip([happenings, shuffled]) {
                let images = Images::new(store.clone());
                for happening in &happenings {
                    happen(&images, &scope, happening).await;
                }
                check_lists(&images, &scope).await;
                let before = contents(store);
                for happening in &happenings {
                    happen(&images, &scope, happening).await;
                }
                assert_eq!(contents(store), before, "once more changes nothing");
            }
            assert_eq!(contents(&stores[0]), contents(&stores[1]));
        });
    }

    #[test]
    fn lists_say_what_images_say_after_everything_at_once(
        happenings in proptest::collection::vec(happening(), 1..8)
    ) {
        block_on(async {
            let scope = TenantScope::of(TenantId::generate(&OsRandomness));
            let images = Images::new(Arc::new(Interleaved::default()));
            join_all(happenings.iter().map(|happening| happen(&images, &scope, happening))).await;
            check_lists(&images, &scope).await;
        });
    }

    #[test]
    fn pages_together_are_the_list(count in 0..12u8, limit in 1..5usize) {
        block_on(async {
            let scope = TenantScope::of(TenantId::generate(&OsRandomness));
            let images = Images::new(Arc::new(MemoryStore::default()));
            for image in 0..count {
                images.observe(&scope, &digest(image), &pushed(image, i64::from(image % 3))).await.unwrap();
            }
            let all = images.newest(&scope, None, 100).await.unwrap();
            assert_eq!((all.items.len(), all.next), (usize::from(count), None));
            let (mut items, mut after) = (Vec::new(), None);
            loop {
                let page = images.newest(&scope, after.as_ref(), limit).await.unwrap();
                assert!(page.items.len() <= limit);
                items.extend(page.items);
                // As it goes through a page's address.
                let Some(next) = page.next else { break };
                after = Some(next.to_string().parse().unwrap());
            }
            assert_eq!(items, all.items);
        });
    }
}

fn pushed(image: u8, seconds: i64) -> Location {
    Location {
        integration: IntegrationId::operator(),
        account: "111122223333".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        repository: format!("shop/{}", image % 4).parse().unwrap(),
        presence: Presence::Present {
            tags: BTreeSet::new(),
            pushed_at: Some(at(seconds)),
            archived: false,
        },
        observed_at: at(seconds),
        known_by: KnownBy::Backfill,
        known_at: at(100),
    }
}

#[tokio::test]
async fn the_first_page_is_one_query_however_many_images_there_are() {
    let store = Arc::new(Counting::default());
    let scope = TenantScope::of(TenantId::generate(&OsRandomness));
    let images = Images::new(store.clone());
    for number in 0..2_000_u32 {
        let digest = Digest::of(&number.to_be_bytes());
        let location = pushed(0, i64::from(number));
        images.observe(&scope, &digest, &location).await.unwrap();
    }
    store.calls.store(0, Ordering::SeqCst);
    let page = images.newest(&scope, None, 50).await.unwrap();
    assert_eq!(store.calls.load(Ordering::SeqCst), 1);
    let expected: Vec<Timestamp> = (1_950..2_000).rev().map(at).collect();
    let since: Vec<Timestamp> = page.items.iter().map(|summary| summary.since).collect();
    assert_eq!(since, expected);
}

#[tokio::test]
async fn images_with_a_tag_are_found_a_query_for_each_thousand() {
    let store = Arc::new(Counting::default());
    let scope = TenantScope::of(TenantId::generate(&OsRandomness));
    let images = Images::new(store.clone());
    let named = |number: u32| Digest::of(&number.to_be_bytes());
    for number in 0..2_500_u32 {
        let tags: &[&str] = match number {
            3 | 1_600 | 2_400 => &["latest", "RC-7"],
            _ => &["1"],
        };
        let location = Location {
            repository: "shop/web".parse().unwrap(),
            presence: Presence::Present {
                tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
                pushed_at: Some(at(i64::from(number))),
                archived: false,
            },
            ..pushed(0, i64::from(number))
        };
        images.observe(&scope, &named(number), &location).await.unwrap();
    }
    let repository = RepositoryId {
        account: "111122223333".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        repository: "shop/web".parse().unwrap(),
    };
    let pages = async |limit: usize, is_one_repository: bool| {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            store.calls.store(0, Ordering::SeqCst);
            let after_it: Option<&Cursor> = after.as_ref();
            let (found, next): (Vec<Digest>, _) = if is_one_repository {
                let page = images
                    .in_repository_tagged(&scope, &repository, "rc-7", after_it, limit)
                    .await
                    .unwrap();
                (page.items.iter().map(|found| found.digest).collect(), page.next)
            } else {
                let page = images
                    .newest_tagged(&scope, "rc-7", after_it, limit)
                    .await
                    .unwrap();
                (page.items.iter().map(|found| found.digest).collect(), page.next)
            };
            assert_eq!(store.calls.load(Ordering::SeqCst), 1);
            pages.push(found);
            match next {
                Some(next) => after = Some(next),
                None => return pages,
            }
        }
    };
    for is_one_repository in [false, true] {
        // 2,499 to 1,500, 1,499 to 500, and the rest.
        let by_thousands = [vec![named(2_400), named(1_600)], vec![], vec![named(3)]];
        assert_eq!(pages(50, is_one_repository).await, by_thousands);
        // A full page ends with what is on it, and the next thousand begins there.
        let one_each = [vec![named(2_400)], vec![named(1_600)], vec![], vec![named(3)]];
        assert_eq!(pages(1, is_one_repository).await, one_each);
    }
}

#[tokio::test]
async fn a_foreign_cursor_and_a_foreign_tenant_see_nothing_of_others() {
    let images = Images::new(Arc::new(MemoryStore::default()));
    let [mine, theirs] = [(); 2].map(|()| TenantScope::of(TenantId::generate(&OsRandomness)));
    for image in 0..6 {
        images
            .observe(&theirs, &digest(image), &pushed(image, 0))
            .await
            .unwrap();
    }
    let their_page = images.newest(&theirs, None, 2).await.unwrap();
    for after in [None, their_page.next.as_ref()] {
        assert_eq!(images.newest(&mine, after, 10).await.unwrap().items, []);
        assert_eq!(
            images.repositories(&mine, None, after, 10).await.unwrap().items,
            []
        );
    }
    let registry = RegistryId {
        account: "111122223333".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
    };
    let all = images
        .repositories(&theirs, Some(&registry), their_page.next.as_ref(), 10)
        .await
        .unwrap();
    assert_eq!(all.items.len(), 4, "a cursor of another list is none");
    let elsewhere = RegistryId {
        region: "us-east-2".parse().unwrap(),
        ..registry
    };
    assert_eq!(
        images
            .repositories(&theirs, Some(&elsewhere), None, 10)
            .await
            .unwrap()
            .items,
        []
    );
    for text in ["", "!", "a", &"A".repeat(4096)] {
        assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
    }
}

#[tokio::test]
async fn what_lists_show_of_one_image_is_bounded() {
    let images = Images::new(Arc::new(MemoryStore::default()));
    let scope = TenantScope::of(TenantId::generate(&OsRandomness));
    for number in 0..150_u32 {
        let tag_count = if number < 6 { 1_000 } else { 0 };
        let tags = (0..tag_count)
            .map(|tag| format!("{tag:0>128}").parse().unwrap())
            .collect();
        let location = Location {
            repository: format!("r{number}").parse().unwrap(),
            presence: Presence::Present {
                tags,
                pushed_at: None,
                archived: true,
            },
            ..pushed(0, i64::from(number))
        };
        images.observe(&scope, &digest(0), &location).await.unwrap();
    }
    let [summary] = images
        .newest(&scope, None, 10)
        .await
        .unwrap()
        .items
        .try_into()
        .unwrap();
    assert_eq!((summary.place_count, summary.places.len()), (150, 5));
    assert_eq!(
        (summary.places[0].tag_count, summary.places[0].tags.len()),
        (1_000, 10)
    );
    assert!(serde_json::to_string(&summary).unwrap().len() < 10_000);
}

/// A table that counts what it is asked.
#[derive(Default)]
struct Counting {
    inner: MemoryStore,
    calls: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        self.inner.write(writes).await
    }
}
