//! A process that dies at any call leaves work that is done again, with one effect.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use portwarden_core::work::{InventoryReason, InventoryRequest, KnownBy};
use portwarden_reconciler::Outcome;

use crate::world::{World, hours, name};

/// A day after the backfill, one image of each kind is to be found.
async fn world() -> World {
    let world = World::new().await;
    let gone = world.push("a", "gone", &[]);
    let moved = world.push("a", "moved", &["v1"]);
    world.run(world.request(InventoryReason::Connected)).await;
    world.scan_all().await;
    world.clock.advance(hours(1));
    world.push("a", "new", &[]);
    world.push("b", "new", &[]);
    let mut ecr = world.aws.ecr();
    let images = ecr.get_mut(&name("a")).unwrap();
    images.remove(&gone);
    images.get_mut(&moved).unwrap().tags = ["v2".parse().unwrap()].into();
    drop(ecr);
    world.clock.advance(hours(24));
    world
}

#[tokio::test]
async fn a_crash_anywhere_loses_nothing() {
    let calls = {
        let world = world().await;
        let before = world.aws.calls.load(Ordering::SeqCst);
        world.run(world.request(InventoryReason::Schedule)).await;
        world.aws.calls.load(Ordering::SeqCst) - before
    };
    assert!(calls > 20, "{calls}");
    for call in 0..calls {
        for is_after in [false, true] {
            let world = world().await;
            let request = world.request(InventoryReason::Schedule);
            let at = world.aws.calls.load(Ordering::SeqCst) + call;
            *world.aws.crash.lock().unwrap() = Some((at, is_after));
            let died = world.invoke(&request).await;
            *world.aws.crash.lock().unwrap() = None;
            let again = world.invoke(&request).await.unwrap();
            let is_done = matches!(again, Outcome::Compared(_) | Outcome::Dropped(_));
            assert!(is_done, "{call}: {died:?}, then {again:?}");
            let queued: BTreeSet<_> = world
                .scan_all()
                .await
                .into_iter()
                .map(|request| request.digest)
                .collect();
            assert_eq!(
                queued.len(),
                3,
                "{call} {is_after}: two new ones and one that is gone"
            );
            world.check().await;
            let known = world.known("b").await;
            assert_eq!(known[0].location.known_by, KnownBy::Reconcile);
            let region = crate::world::registry().region;
            let last = world
                .inventories
                .last(&world.scope, &world.integration, &region)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(last.kind, KnownBy::Reconcile, "{call} {is_after}");
            assert_eq!(
                (last.found.new, last.found.missed.map(|missed| missed.count)),
                (2, Some(2)),
                "{call} {is_after}"
            );
            let missed = world
                .inventories
                .missed(&world.scope, &world.integration, &region)
                .await
                .unwrap();
            assert_eq!(missed.map(|missed| missed.count), Some(2), "{call} {is_after}");
            assert!(
                (1..=2).contains(&world.announced().len()),
                "{call} {is_after}: told at least once"
            );
        }
    }
}

/// A run that died for good after its first repository, and the next day's sweep.
#[tokio::test]
async fn what_a_dead_run_has_seen_is_compared_again_by_whoever_takes_it_over() {
    let calls = {
        let world = world().await;
        let before = world.aws.calls.load(Ordering::SeqCst);
        world.run(world.request(InventoryReason::Schedule)).await;
        world.aws.calls.load(Ordering::SeqCst) - before
    };
    for call in 0..calls {
        let world = world().await;
        let dead = world.request(InventoryReason::Schedule);
        let at = world.aws.calls.load(Ordering::SeqCst) + call;
        *world.aws.crash.lock().unwrap() = Some((at, true));
        let _ = world.invoke(&dead).await;
        *world.aws.crash.lock().unwrap() = None;
        world.scan_all().await;
        world.clock.advance(hours(1));
        {
            let mut ecr = world.aws.ecr();
            let image = ecr.get_mut(&name("a")).unwrap().values_mut().next().unwrap();
            image.tags = ["v9".parse().unwrap()].into();
        }
        world.clock.advance(hours(23));
        let next = world.request(InventoryReason::Schedule);
        let compared = world.invoke(&next).await.unwrap();
        assert!(matches!(compared, Outcome::Compared(_)), "{call}: {compared:?}");
        world.scan_all().await;
        // Tags that moved since the dead run saw them are noted, too.
        world.check().await;
        let rest = InventoryRequest {
            continuation: 1,
            ..dead
        };
        let late = world.invoke(&rest).await.unwrap();
        assert!(matches!(late, Outcome::Dropped(_)), "{call}: {late:?}");
    }
}
