//! Images whose scan was never finished.

use std::collections::BTreeSet;

use portwarden_core::work::{InventoryReason, KnownBy, ScanRequest};
use portwarden_reconciler::Outcome;

use crate::world::{World, hours, registry};

/// Makes a sweep now; returns how many images had waited, and what is queued.
async fn sweep(world: &World) -> (u64, Vec<ScanRequest>) {
    let (outcome, _) = world.run(world.request(InventoryReason::Asked)).await;
    let Outcome::Compared(found) = outcome else {
        panic!("{outcome:?}")
    };
    (found.waited, world.take_scans())
}

#[tokio::test]
async fn a_scan_that_was_never_finished_is_queued_again_each_day_until_it_is() {
    let world = World::new().await;
    let lost = world.push("shop/web", "its message is a dead letter", &["v1"]);
    let done = world.push("shop/web", "scanned", &["v2"]);
    world.run(world.request(InventoryReason::Connected)).await;
    for request in world.take_scans() {
        if request.digest == done {
            world.scan(&request).await;
        } else {
            assert!(world.look(&request).await);
        }
    }
    world.clock.advance(hours(19));
    assert_eq!(sweep(&world).await, (0, vec![]), "it may still be under way");
    for _day in 0..2 {
        world.clock.advance(hours(24));
        let (waited, queued) = sweep(&world).await;
        let [request] = &queued[..] else {
            panic!("{queued:?}")
        };
        assert_eq!((waited, request.digest), (1, lost));
        assert_eq!(
            (&request.account, &request.region),
            (&registry().account, &registry().region)
        );
        assert_eq!(
            (request.repository.as_str(), request.known_by),
            ("shop/web", KnownBy::Reconcile)
        );
    }
    world.tell("shop/web", lost).await;
    world.clock.advance(hours(24));
    assert_eq!(sweep(&world).await, (0, vec![]));
    world.check().await;
}

#[tokio::test]
async fn an_event_whose_message_was_lost_waits_too_and_what_is_gone_does_not() {
    let world = World::new().await;
    world.run(world.request(InventoryReason::Connected)).await;
    let [told, gone, archived] = ["told", "gone", "archived"].map(|content| world.push("a", content, &[]));
    for digest in [told, gone, archived] {
        assert!(world.look(&world.event("a", digest)).await);
    }
    {
        let mut ecr = world.aws.ecr();
        let images = ecr.values_mut().next().unwrap();
        images.remove(&gone);
        images.get_mut(&archived).unwrap().archived = true;
    }
    for digest in [gone, archived] {
        world.look(&world.event("a", digest)).await;
    }
    world.clock.advance(hours(24));
    let (waited, queued) = sweep(&world).await;
    let digests: Vec<_> = queued.iter().map(|request| request.digest).collect();
    assert_eq!((waited, digests), (1, vec![told]));
}

#[tokio::test]
async fn so_many_are_queued_in_a_run_the_longest_waiting_first_and_a_crash_loses_none() {
    let world = World::new().await;
    let mut pushed = Vec::new();
    for number in 0..10_020 {
        let digest = world.push("a", &number.to_string(), &[]);
        world.look(&world.event("a", digest)).await;
        pushed.push(digest);
    }
    world.run(world.request(InventoryReason::Connected)).await;
    world.take_scans();
    world.clock.advance(hours(24));
    // The process dies after some were queued, and the message comes again.
    let request = world.request(InventoryReason::Schedule);
    let calls = world.aws.calls.load(std::sync::atomic::Ordering::SeqCst);
    *world.aws.crash.lock().unwrap() = Some((calls + 700, true));
    world.invoke(&request).await.unwrap_err();
    *world.aws.crash.lock().unwrap() = None;
    let (outcome, _) = world.run(request).await;
    let Outcome::Compared(found) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(found.waited, 10_000);
    let queued: BTreeSet<_> = world
        .take_scans()
        .into_iter()
        .map(|request| request.digest)
        .collect();
    assert_eq!(queued, pushed[..10_000].iter().copied().collect());
}
