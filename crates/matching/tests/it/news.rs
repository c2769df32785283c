//! What is told of an image: what changed, once, whatever fails in between.

use std::collections::BTreeSet;

use portwarden_matching::{MatchError, Rematched};
use portwarden_oci::Digest;
use portwarden_report::ChangeReason;

use crate::world::{World, news};

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
    assert_eq!(world.shown(&old).await, None, "there was none before");
    assert_eq!(world.shown(&new).await, Some((old, 1, 1)));
    // An older image that is tagged again is news, too, and needs no scan.
    world.observe("old", &["latest"]).await;
    world.tell(&old).await;
    assert_eq!(world.shown(&old).await, Some((new, 1, 1)));
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
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    assert_eq!(
        world.shown(&two).await,
        Some((one, 0, 0)),
        "that nothing changed is shown"
    );
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
        if !is_rematch {
            let shown = world.shown(&image).await;
            assert_eq!(shown, Some((old, 0, 1)), "crash at write {crash}");
        }
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
