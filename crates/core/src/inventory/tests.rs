use std::collections::BTreeSet;

use jiff::ToSpan as _;
use serde_json::json;

use super::*;
use crate::{
    id::{IntegrationId, TenantId},
    image::Images,
    random::OsRandomness,
    store::MemoryStore,
    work::KnownBy,
};

struct World {
    store: Arc<MemoryStore>,
    inventory: Inventory,
    scope: TenantScope,
}

fn world() -> World {
    let store = Arc::new(MemoryStore::default());
    World {
        inventory: Inventory::new(store.clone()),
        scope: TenantScope::of(TenantId::generate(&OsRandomness)),
        store,
    }
}

fn key(ecosystem: &str, name: &str) -> PackageKey {
    PackageKey {
        ecosystem: ecosystem.to_owned(),
        name: name.to_owned(),
    }
}

fn entry(ecosystem: &str, name: &str, version: &str) -> Entry {
    Entry {
        key: key(ecosystem, name),
        versions: vec![version.to_owned()],
        packages: json!([version]),
        signature: "s".to_owned(),
    }
}

fn image(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn matching(edition: Option<u64>) -> Matching {
    Matching {
        catalog_version: 1,
        edition,
        registry_scan: None,
        at: Timestamp::UNIX_EPOCH,
        counts: BTreeMap::new(),
        fixable: 0,
        written: true,
    }
}

fn digests(part: &List<Holder>) -> BTreeSet<Digest> {
    part.items.iter().map(|holder| holder.digest).collect()
}

#[tokio::test]
async fn a_package_is_found_by_its_name_its_last_part_and_the_beginning_of_it() {
    let World { inventory, scope, .. } = world();
    let log4j = "org.apache.logging.log4j:log4j-core";
    inventory
        .enter(&scope, &image("a"), &[entry("Maven", log4j, "2.14.1")])
        .await
        .unwrap();
    inventory
        .enter(&scope, &image("b"), &[entry("Maven", log4j, "2.17.0")])
        .await
        .unwrap();
    inventory
        .enter(
            &scope,
            &image("c"),
            &[entry("npm", "@x/log4j-core", "1"), entry("npm", "log", "1")],
        )
        .await
        .unwrap();
    let exact = inventory
        .images_with_package(&scope, &key("Maven", log4j), None, 10)
        .await
        .unwrap();
    assert_eq!(digests(&exact), BTreeSet::from([image("a"), image("b")]));
    assert_eq!(exact.next, None);
    for (text, count) in [
        ("log4j-core", 3),
        ("LOG4J", 3),
        (log4j, 3),
        ("log", 4),
        ("log4j-core2", 0),
        ("og4j", 0),
        ("", 0),
        ("#", 0),
        ("log#", 0),
    ] {
        let found = inventory.search_packages(&scope, text, None, 10).await.unwrap();
        assert_eq!(found.items.len(), count, "{text:?}");
    }
    // A package is no other one whose name begins like it.
    let log = inventory
        .images_with_package(&scope, &key("npm", "log"), None, 10)
        .await
        .unwrap();
    assert_eq!(digests(&log), BTreeSet::from([image("c")]));
}

#[tokio::test]
async fn lists_go_on_where_they_ended() {
    let World { inventory, scope, .. } = world();
    let images: BTreeSet<Digest> = (0..25).map(|n| image(&n.to_string())).collect();
    for digest in &images {
        inventory
            .enter(&scope, digest, &[entry("npm", "a", "1")])
            .await
            .unwrap();
        inventory
            .note_findings(&scope, digest, &["CVE-2026-1"], &[])
            .await
            .unwrap();
    }
    let (mut found, mut flawed) = (Vec::new(), Vec::new());
    let (mut after, mut pages) = (None, 0);
    loop {
        let part = inventory
            .images_with_package(&scope, &key("npm", "a"), after.as_ref(), 10)
            .await
            .unwrap();
        found.extend(part.items.into_iter().map(|holder| holder.digest));
        pages += 1;
        let Some(next) = part.next else { break };
        after = Some(next.to_string().parse().unwrap());
    }
    assert_eq!(
        (found.into_iter().collect::<BTreeSet<_>>(), pages),
        (images.clone(), 3)
    );
    let mut after = None;
    loop {
        let part = inventory
            .images_with_finding(&scope, "CVE-2026-1", after.as_ref(), 10)
            .await
            .unwrap();
        flawed.extend(part.items);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(flawed.len(), 25);
    assert_eq!(flawed.into_iter().collect::<BTreeSet<_>>(), images);
    assert_eq!(
        inventory
            .images_with_finding(&scope, "CVE-2026-11", None, 10)
            .await
            .unwrap()
            .items,
        []
    );
}

#[tokio::test]
async fn names_that_no_key_holds_are_left_out_and_harm_nothing() {
    let World {
        inventory,
        scope,
        store,
    } = world();
    let long = "#".repeat(2000);
    inventory
        .enter(
            &scope,
            &image("a"),
            &[entry("npm", &long, "1"), entry("npm", "b", "1")],
        )
        .await
        .unwrap();
    inventory
        .note_findings(&scope, &image("a"), &[long.as_str(), "CVE-1"], &[])
        .await
        .unwrap();
    assert_eq!(
        inventory
            .images_with_package(&scope, &key("npm", &long), None, 9)
            .await
            .unwrap()
            .items,
        []
    );
    assert_eq!(
        inventory
            .search_packages(&scope, &long, None, 9)
            .await
            .unwrap()
            .items,
        []
    );
    assert_eq!(store.dump().len(), 2);
    assert!(store.dump().iter().all(|item| item.key.sort().len() <= 1024));
}

#[tokio::test]
async fn an_image_is_matched_once_for_whoever_read_it_first() {
    let World { inventory, scope, .. } = world();
    let digest = image("a");
    let [first, second] = [
        inventory.image(&scope, &digest).await.unwrap(),
        inventory.image(&scope, &digest).await.unwrap(),
    ];
    assert!(
        inventory
            .keep_matching(&scope, &digest, &first, &matching(None), None)
            .await
            .unwrap()
    );
    assert!(
        !inventory
            .keep_matching(&scope, &digest, &second, &matching(Some(1)), None)
            .await
            .unwrap()
    );
    assert_eq!(
        inventory.unmatched(&scope, None, 10).await.unwrap().items,
        [digest]
    );

    let state = inventory.image(&scope, &digest).await.unwrap();
    assert_eq!(state.matching, Some(matching(None)));
    let unwritten = Matching {
        written: false,
        ..matching(Some(2))
    };
    assert!(
        inventory
            .keep_matching(&scope, &digest, &state, &unwritten, None)
            .await
            .unwrap()
    );
    assert_eq!(inventory.unmatched(&scope, None, 10).await.unwrap().items, []);
    assert_eq!(
        inventory.image(&scope, &digest).await.unwrap().matching.as_ref(),
        Some(&unwritten)
    );
    inventory
        .mark_written(&scope, &digest, &state, &unwritten)
        .await
        .unwrap();
    let marked = inventory.image(&scope, &digest).await.unwrap();
    assert_eq!(marked.matching, Some(matching(Some(2))));
    // Somebody else's newer matching is not touched.
    assert!(
        inventory
            .keep_matching(&scope, &digest, &marked, &matching(Some(3)), None)
            .await
            .unwrap()
    );
    inventory
        .mark_written(&scope, &digest, &state, &unwritten)
        .await
        .unwrap();
    assert_eq!(
        inventory.image(&scope, &digest).await.unwrap().matching,
        Some(matching(Some(3)))
    );
}

#[tokio::test]
async fn an_image_that_leaves_leaves_nothing_and_no_other_image() {
    let World {
        inventory,
        scope,
        store,
    } = world();
    let entries = [entry("npm", "a", "1"), entry("npm", "b", "1")];
    inventory.enter(&scope, &image("other"), &entries).await.unwrap();
    let before = store.dump();
    let digest = image("a");
    inventory.enter(&scope, &digest, &entries).await.unwrap();
    inventory
        .note_findings(&scope, &digest, &["CVE-1", "GHSA-1"], &[])
        .await
        .unwrap();
    let state = inventory.image(&scope, &digest).await.unwrap();
    inventory
        .keep_matching(&scope, &digest, &state, &matching(None), None)
        .await
        .unwrap();
    let keys = entries.each_ref().map(|entry| &entry.key);
    inventory
        .leave(&scope, &digest, &keys, &["CVE-1", "GHSA-1"])
        .await
        .unwrap();
    assert_eq!(store.dump(), before);
    // Twice is as once.
    inventory
        .leave(&scope, &digest, &keys, &["CVE-1", "GHSA-1"])
        .await
        .unwrap();
    assert_eq!(store.dump(), before);
}

#[tokio::test]
async fn one_read_says_whether_an_image_is_there() {
    let World {
        inventory,
        scope,
        store,
    } = world();
    let digest = image("a");
    assert!(!inventory.image(&scope, &digest).await.unwrap().is_live());
    let images = Images::new(store);
    let mut location = Location {
        integration: IntegrationId::generate(&OsRandomness),
        account: "111122223333".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        repository: "shop/web".parse().unwrap(),
        presence: Presence::Deleted,
        observed_at: Timestamp::UNIX_EPOCH,
        known_by: KnownBy::Event,
        known_at: Timestamp::UNIX_EPOCH,
    };
    for (archived, is_live) in [(Some(false), true), (Some(true), false), (None, false)] {
        location.presence = match archived {
            Some(archived) => Presence::Present {
                tags: BTreeSet::new(),
                pushed_at: None,
                archived,
            },
            None => Presence::Deleted,
        };
        location.observed_at += 1.second();
        images.observe(&scope, &digest, &location).await.unwrap();
        let state = inventory.image(&scope, &digest).await.unwrap();
        assert_eq!((state.is_live(), state.locations.len()), (is_live, 1));
    }
}

#[tokio::test]
async fn tenants_share_no_package_and_no_finding() {
    let World { inventory, scope, .. } = world();
    let other = TenantScope::of(TenantId::generate(&OsRandomness));
    for name in ["a", "b"] {
        inventory
            .enter(&scope, &image(name), &[entry("npm", "a", "1")])
            .await
            .unwrap();
    }
    inventory
        .note_findings(&scope, &image("a"), &["CVE-1"], &[])
        .await
        .unwrap();
    let state = inventory.image(&scope, &image("a")).await.unwrap();
    inventory
        .keep_matching(&scope, &image("a"), &state, &matching(None), None)
        .await
        .unwrap();
    assert_eq!(
        inventory
            .search_packages(&other, "a", None, 9)
            .await
            .unwrap()
            .items,
        []
    );
    assert_eq!(
        inventory
            .images_with_finding(&other, "CVE-1", None, 9)
            .await
            .unwrap()
            .items,
        []
    );
    assert_eq!(inventory.unmatched(&other, None, 9).await.unwrap().items, []);
    assert_eq!(
        inventory.image(&other, &image("a")).await.unwrap(),
        ImageState::default()
    );
    // A cursor of one tenant's list opens nothing of it to another.
    let cursor = inventory
        .search_packages(&scope, "a", None, 1)
        .await
        .unwrap()
        .next;
    assert_eq!(
        inventory
            .search_packages(&other, "a", cursor.as_ref(), 9)
            .await
            .unwrap()
            .items,
        []
    );
}

#[tokio::test]
async fn lists_show_how_many_findings_count() {
    let World {
        inventory,
        scope,
        store,
    } = world();
    let (images, digest) = (Images::new(store.clone()), image("a"));
    images.observe(&scope, &digest, &place(&[], 0)).await.unwrap();
    let before = inventory.image(&scope, &digest).await.unwrap();
    let found = Matching {
        counts: [("high".to_owned(), 2)].into(),
        fixable: 1,
        ..matching(Some(1))
    };
    // It is pushed again meanwhile: the entry of the list lies elsewhere now, and what was read is no more.
    images.observe(&scope, &digest, &place(&[], 60)).await.unwrap();
    assert!(
        !inventory
            .keep_matching(&scope, &digest, &before, &found, None)
            .await
            .unwrap()
    );
    let now = inventory.image(&scope, &digest).await.unwrap();
    assert!(
        inventory
            .keep_matching(&scope, &digest, &now, &found, None)
            .await
            .unwrap()
    );
    let listed = async || images.newest(&scope, None, 10).await.unwrap().items;
    assert_eq!(listed().await.len(), 1);
    assert_eq!(listed().await[0].findings, found.findings());
    images.observe(&scope, &digest, &place(&[], 120)).await.unwrap();
    assert_eq!(listed().await[0].findings, found.findings());
    let summary = images.summary(&scope, &digest).await.unwrap().unwrap();
    assert_eq!(summary, listed().await[0]);
}

/// A place where an image was pushed with tags, so many seconds after the epoch.
fn place(tags: &[&str], seconds: i64) -> Location {
    let at = Timestamp::from_second(seconds).unwrap();
    Location {
        integration: IntegrationId::operator(),
        account: "111122223333".parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        repository: "shop/web".parse().unwrap(),
        presence: Presence::Present {
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
            pushed_at: Some(at),
            archived: false,
        },
        observed_at: at,
        known_by: KnownBy::Event,
        known_at: Timestamp::UNIX_EPOCH,
    }
}

/// Lets tags of a place name an image, as ECR said at a time.
async fn tag(world: &World, name: &str, tags: &[&str], at: i64) -> Location {
    let location = place(tags, at);
    let World { inventory, scope, .. } = world;
    let moved = inventory
        .moved_tags(scope, &image(name), &location)
        .await
        .unwrap();
    let places: Vec<&TagPlace> = moved.iter().map(|(place, _)| place).collect();
    let to = Tagged {
        digest: image(name),
        catalog_version: 1,
        observed_at: location.observed_at,
    };
    assert!(
        inventory
            .move_tags(scope, &places, &to, None, None)
            .await
            .unwrap()
    );
    location
}

#[tokio::test]
async fn the_image_before_is_the_one_that_a_tag_named_before() {
    let world = world();
    let before = async |name: &str, location: &Location| {
        let before = world.inventory.before(&world.scope, &image(name), location).await;
        before
            .unwrap()
            .map(|(tag, before)| (tag.to_string(), before.digest))
    };
    let a = tag(&world, "a", &["latest", "1"], 1).await;
    assert_eq!(before("a", &a).await, None, "the first of its tags");
    let b = tag(&world, "b", &["nightly"], 2).await;
    let c = tag(&world, "c", &["latest", "2"], 3).await;
    assert_eq!(
        before("b", &b).await,
        None,
        "another tag's image is no predecessor"
    );
    assert_eq!(before("c", &c).await, Some(("latest".to_owned(), image("a"))));
    assert_eq!(
        before("a", &a).await,
        None,
        "its tags name others by now, or nothing before"
    );
    // Told again, nothing moves; of several tags the newest predecessor counts.
    tag(&world, "c", &["latest", "2"], 4).await;
    assert_eq!(before("c", &c).await, Some(("latest".to_owned(), image("a"))));
    let d = tag(&world, "d", &["latest", "nightly"], 5).await;
    assert_eq!(before("d", &d).await, Some(("latest".to_owned(), image("c"))));
    // Taken back, the tag names an older image, and what it named before is the newer one.
    let a = tag(&world, "a", &["latest"], 6).await;
    assert_eq!(before("a", &a).await, Some(("latest".to_owned(), image("d"))));
    // What ECR said earlier changes nothing.
    tag(&world, "b", &["latest"], 2).await;
    assert_eq!(before("a", &a).await, Some(("latest".to_owned(), image("d"))));
    let elsewhere = Location {
        repository: "shop/api".parse().unwrap(),
        ..a.clone()
    };
    assert_eq!(before("a", &elsewhere).await, None);
}

#[tokio::test]
async fn lists_show_how_an_image_differed_when_it_came_whatever_comes_after() {
    let World {
        store,
        inventory,
        scope,
    } = world();
    let (images, digest) = (Images::new(store), image("a"));
    let location = |seconds: i64| place(&["latest"], seconds);
    images.observe(&scope, &digest, &location(1)).await.unwrap();
    let changes = ChangeCounts {
        before: image("b"),
        new: 2,
        fixed: 1,
    };
    let keep = async |is_read_before: bool| {
        let state = inventory.image(&scope, &digest).await.unwrap();
        if !is_read_before {
            images.observe(&scope, &digest, &location(9)).await.unwrap();
        }
        let moved = inventory
            .moved_tags(&scope, &digest, &location(10))
            .await
            .unwrap();
        let places: Vec<&TagPlace> = moved.iter().map(|(place, _)| place).collect();
        let to = Tagged {
            digest,
            catalog_version: 1,
            observed_at: Timestamp::from_second(10).unwrap(),
        };
        let moved = inventory.move_tags(&scope, &places, &to, None, Some((&state, changes)));
        moved.await.unwrap()
    };
    assert!(!keep(false).await, "the image has changed since it was read");
    let listed = async || images.newest(&scope, None, 10).await.unwrap().items;
    assert_eq!(listed().await[0].changes, None, "nothing of it was done");
    assert!(keep(true).await);
    assert_eq!(listed().await[0].changes, Some(changes));
    images.observe(&scope, &digest, &location(20)).await.unwrap();
    let state = inventory.image(&scope, &digest).await.unwrap();
    let found = matching(Some(1));
    let kept = inventory.keep_matching(&scope, &digest, &state, &found, None);
    assert!(kept.await.unwrap());
    assert_eq!(listed().await[0].changes, Some(changes));
    let summary = images.summary(&scope, &digest).await.unwrap().unwrap();
    assert_eq!(summary, listed().await[0]);
}
