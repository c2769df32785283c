//! The process dies at every call that it makes, and the message is delivered again.

use std::time::Duration;

use portwarden_core::{clock::Clock as _, image::ScanResult, object::Document};
use portwarden_testkit::image::Artifact as _;

use crate::{
    handler::small_image,
    shelf::Fault,
    world::{Crash, World, repository},
};

const REPOSITORY: &str = "shop/web";

/// Lets the process die at each of its calls in turn, before and after the call's effect, and hands the world that
/// is left to `check`, until a process lives to its end.
async fn crash_everywhere(faults: &[Fault], check: impl AsyncFn(&World, &crate::world::Party, Crash)) {
    let mut survived = 0;
    for after_effect in [false, true] {
        for call in 1.. {
            let world = World::new();
            let party = world.tenant("111122223333").await;
            let image = small_image(&["a", "b"]);
            let digest = image.digest();
            world.push(&party, REPOSITORY, &["1"], &image);
            let shelf = world.shelf(&party, &repository(REPOSITORY));
            for (layer, fault) in image.layers.iter().zip(faults) {
                shelf.fail(layer.digest(), *fault);
            }
            let request = world.event(&party, REPOSITORY, digest).await;
            let crash = Crash { call, after_effect };
            world.faults.plan(Some(crash));
            let is_done = world.is_done(&world.process(), &request).await;
            let calls = world.faults.calls();
            world.faults.plan(None);
            if calls < call {
                assert!(is_done);
                survived += 1;
                break;
            }
            assert!(!is_done, "a death at {crash:?} was not noticed");
            world.clock.advance(Duration::from_mins(20));
            // What was queued comes, then the message itself until it is done; each from another process.
            let mut waiting = world.queues.take_scans();
            waiting.push(request.clone());
            let mut deliveries = 0;
            while let Some(next) = waiting.pop() {
                deliveries += 1;
                assert!(deliveries < 12, "{crash:?} leaves work that never ends");
                assert!(world.is_done(&world.process(), &next).await, "{crash:?}");
                waiting.extend(world.queues.take_scans());
            }
            assert!(world.is_settled(&party, &request), "{crash:?}");
            check(&world, &party, crash).await;
        }
    }
    assert_eq!(survived, 2);
}

#[tokio::test]
async fn a_crash_anywhere_leaves_exactly_one_report() {
    let digest = small_image(&["a", "b"]).digest();
    crash_everywhere(&[], async |world, party, crash| {
        let report = world.report(party, digest).await.unwrap();
        assert_eq!((report.package_count, report.partial), (2, false), "{crash:?}");
        assert!(world.document(party, digest, Document::CycloneDx).await.is_some());
        let summary = world.summary(party, digest).await.unwrap();
        assert!(summary.announced && summary.at <= world.clock.now(), "{crash:?}");
        let told = world.announced();
        assert!(
            (1..=2).contains(&told.len()),
            "{crash:?}: told {} times",
            told.len()
        );
        for told in told {
            assert_eq!(
                (told.at, &told.outcome),
                (summary.at, &summary.result),
                "{crash:?}"
            );
        }
        assert_eq!(world.locations(party, digest).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_crash_anywhere_leaves_exactly_one_refusal() {
    let digest = small_image(&["a", "b"]).digest();
    crash_everywhere(&[Fault::Lie], async |world, party, crash| {
        let summary = world.summary(party, digest).await.unwrap();
        assert!(
            matches!(&summary.result, ScanResult::Refused { problem } if problem.code == "content_corrupt"),
            "{crash:?}"
        );
        assert!(summary.announced);
        assert!(world.report(party, digest).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_crash_anywhere_in_a_continued_scan_loses_nothing() {
    let digest = small_image(&["a", "b"]).digest();
    let slow = Fault::Slow(Duration::from_secs(500));
    crash_everywhere(&[slow, slow], async |world, party, crash| {
        let report = world.report(party, digest).await.unwrap();
        assert_eq!((report.package_count, report.partial), (2, false), "{crash:?}");
        assert!(!world.announced().is_empty());
    })
    .await;
}
