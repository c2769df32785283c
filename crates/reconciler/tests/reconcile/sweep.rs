//! Later inventories: what events did not tell.

use std::{sync::atomic::Ordering, time::Duration};

use portwarden_core::{
    announce::Announcement,
    clock::Clock as _,
    image::Presence,
    reconcile::MissedPushes,
    work::{InventoryReason, InventoryRequest, KnownBy},
};
use portwarden_reconciler::Outcome;
use proptest::prelude::*;

use crate::world::{World, hours, name, registry};

/// A world whose backfill is over.
async fn connected() -> World {
    let world = World::new().await;
    world.run(world.request(InventoryReason::Connected)).await;
    world
}

fn missed(world: &World) -> Vec<Option<MissedPushes>> {
    let announced = world.announced().into_iter();
    announced
        .map(|announcement| match announcement {
            Announcement::CoverageChanged(changed) => changed.missed,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn missed_pushes_deletes_and_moved_tags_are_found() {
    let world = connected().await;
    world.aws.page.store(2, Ordering::SeqCst);
    let told: Vec<_> = (0..5)
        .map(|n| world.push("shop/web", &n.to_string(), &[["v0", "v1", "v2", "v3", "v4"][n]]))
        .collect();
    for digest in &told {
        world.tell("shop/web", *digest).await;
    }
    let untold = world.push("shop/web", "untold", &["latest"]);
    {
        let mut ecr = world.aws.ecr();
        let images = ecr.get_mut(&name("shop/web")).unwrap();
        images.remove(&told[1]);
        images.get_mut(&told[2]).unwrap().tags = ["moved".parse().unwrap()].into();
    }
    let Outcome::Compared(found) = world.sweep().await else {
        panic!()
    };
    assert_eq!((found.images, found.new, found.changed, found.gone), (5, 1, 1, 1));
    // A listing alone makes nothing deleted.
    let known = world.known("shop/web").await;
    assert_eq!(known.len(), 6);
    let queued = world.scan_all().await;
    let queued: Vec<_> = queued
        .iter()
        .map(|request| (request.digest, request.known_by))
        .collect();
    assert_eq!(
        queued,
        [(untold, KnownBy::Reconcile), (told[1], KnownBy::Reconcile)]
    );
    world.check().await;
    let locations = world.images.locations(&world.scope, &told[1]).await.unwrap();
    assert_eq!(
        (&locations[0].presence, locations[0].known_by),
        (&Presence::Deleted, KnownBy::Event)
    );
    // Once more finds nothing.
    let Outcome::Compared(found) = world.sweep().await else {
        panic!()
    };
    assert_eq!((found.new, found.changed, found.gone), (0, 0, 0));
    assert!(world.take_scans().is_empty());

    let coverage = world
        .inventories
        .last(&world.scope, &world.integration, &registry().region)
        .await
        .unwrap();
    assert_eq!(coverage.unwrap().kind, KnownBy::Reconcile);
}

#[tokio::test]
async fn a_silent_rule_is_named_until_events_come_again() {
    let world = connected().await;
    let told = world.push("shop/web", "told", &[]);
    world.tell("shop/web", told).await;
    world.clock.advance(hours(1));
    let first = world.clock.now();
    world.push("shop/api", "1", &[]);
    world.clock.advance(hours(1));
    let last = world.push("shop/web", "2", &["latest"]);
    let last_at = world.clock.now();
    world.sweep().await;
    world.scan_all().await;
    let expected = MissedPushes {
        count: 2,
        first_at: first,
        last_at,
        repository: name("shop/web"),
        digest: last,
        rule_is_silent: true,
    };
    assert_eq!(missed(&world), [Some(expected.clone())]);
    let region = registry().region;
    let stored = async || {
        world
            .inventories
            .missed(&world.scope, &world.integration, &region)
            .await
            .unwrap()
    };
    assert_eq!(stored().await, Some(expected.clone()));
    // A day without pushes proves nothing, and is told to nobody.
    world.sweep().await;
    assert_eq!((stored().await, missed(&world)), (Some(expected), vec![]));
    // An event that is older says nothing, a newer one ends it.
    let (scope, id, now) = (&world.scope, &world.integration, world.clock.now());
    let is_heard = async |at| world.inventories.is_heard(scope, id, &region, at).await.unwrap();
    assert_eq!((is_heard(first).await, is_heard(now).await), (false, true));
    world.inventories.forget_missed(scope, id, &region).await.unwrap();
    assert_eq!((is_heard(now).await, stored().await), (false, None));
}

#[tokio::test]
async fn a_lost_event_is_not_a_silent_rule() {
    let world = connected().await;
    world.push("shop/web", "untold", &[]);
    world.clock.advance(hours(1));
    let told = world.push("shop/web", "told", &[]);
    world.tell("shop/web", told).await;
    world.sweep().await;
    world.scan_all().await;
    let [Some(found)] = &missed(&world)[..] else {
        panic!()
    };
    assert_eq!((found.count, found.rule_is_silent), (1, false));
    // The next sweep that finds nothing takes it away.
    world.sweep().await;
    assert_eq!(missed(&world), [None]);
}

#[tokio::test]
async fn a_young_push_is_found_and_not_counted_as_missed() {
    let world = connected().await;
    world.clock.advance(hours(24));
    world.push("shop/web", "young", &[]);
    world.clock.advance(Duration::from_mins(5));
    let (outcome, _) = world.run(world.request(InventoryReason::Schedule)).await;
    let Outcome::Compared(found) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((found.new, found.missed), (1, None));
    assert_eq!(world.scan_all().await.len(), 1);
}

#[tokio::test]
async fn a_deleted_repository_is_looked_at_image_by_image() {
    let world = connected().await;
    for (repository, content) in [("gone", "1"), ("gone", "2"), ("stays", "1")] {
        let digest = world.push(repository, content, &["v"]);
        world.tell(repository, digest).await;
    }
    world.aws.ecr().remove(&name("gone"));
    let request = InventoryRequest {
        repository: Some(name("gone")),
        ..world.request(InventoryReason::RepositoryDeleted)
    };
    let outcome = world.invoke(&request).await.unwrap();
    assert!(matches!(outcome, Outcome::Looked(_)), "{outcome:?}");
    assert_eq!(world.scan_all().await.len(), 2);
    world.check().await;
    assert_eq!(world.known("stays").await.len(), 1);
    // An event that lies does no harm.
    let lie = InventoryRequest {
        repository: Some(name("stays")),
        ..world.request(InventoryReason::RepositoryDeleted)
    };
    world.invoke(&lie).await.unwrap();
    assert_eq!(world.scan_all().await.len(), 0);
    // Without a trail no event tells, and the sweep finds it.
    world.aws.ecr().remove(&name("stays"));
    world.sweep().await;
    world.scan_all().await;
    world.check().await;
}

#[tokio::test]
async fn what_was_told_while_ecr_was_listed_is_not_taken_for_gone() {
    let world = connected().await;
    let digest = world.push("shop/web", "1", &[]);
    world.tell("shop/web", digest).await;
    // ECR's listing is older than what the scanner saw.
    world.aws.ecr().get_mut(&name("shop/web")).unwrap().clear();
    *world.aws.latency.lock().unwrap() = Duration::ZERO;
    let known = world.known("shop/web").await;
    let look = portwarden_core::reconcile::Look {
        kind: KnownBy::Reconcile,
        started_at: known[0].location.observed_at,
        listed_at: known[0].location.observed_at,
    };
    let mut comparing = portwarden_core::reconcile::Comparing::new(look, []);
    comparing.meet(&known[0], &name("shop/web"));
    assert_eq!(comparing.end(&name("shop/web")).gone, []);
}

/// What happens to an image, and whether an event tells of it.
fn happenings() -> impl Strategy<Value = Vec<(u8, u8, u8, bool)>> {
    proptest::collection::vec((0..3_u8, 0..4_u8, 0..4_u8, any::<bool>()), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn one_sweep_finds_all_that_no_event_told(happenings in happenings(), page in 1..4_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = connected().await;
            world.aws.page.store(page, Ordering::SeqCst);
            for (repository, content, what, is_told) in happenings {
                world.clock.advance(Duration::from_mins(1));
                let repository = ["a", "b", "c"][usize::from(repository)];
                let digest = world.push(repository, &content.to_string(), &[["v1", "v2"][usize::from(what % 2)]]);
                match what {
                    0 => {}
                    1 => { world.aws.ecr().get_mut(&name(repository)).unwrap().remove(&digest); }
                    2 => { world.aws.ecr().remove(&name(repository)); }
                    _ => {
                        let mut ecr = world.aws.ecr();
                        ecr.get_mut(&name(repository)).unwrap().get_mut(&digest).unwrap().archived = true;
                    }
                }
                if is_told {
                    world.tell(repository, digest).await;
                }
            }
            world.sweep().await;
            world.scan_all().await;
            world.check().await;
            let Outcome::Compared(found) = world.sweep().await else { panic!() };
            assert_eq!((found.new, found.changed, found.gone), (0, 0, 0), "one is enough");
        });
    }
}
