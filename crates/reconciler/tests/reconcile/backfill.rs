//! The first inventory of a region: everything that was there before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

use jiff::Timestamp;
use portwarden_core::{
    id::Region,
    receipt::AccessReceipts,
    reconcile::Unwatched,
    work::{InventoryReason, KnownBy, VerifyReason},
};
use portwarden_oci::RepositoryName;
use portwarden_reconciler::{Dropped, Outcome};

use crate::world::{World, hours, name, registry};

#[tokio::test]
async fn every_image_is_known_and_queued_with_the_newest_tags_first() {
    let world = World::new().await;
    world.aws.page.store(2, Ordering::SeqCst);
    let mut expected = Vec::new();
    for (content, tags) in [
        ("1", vec!["v1"]),
        ("2", vec![]),
        ("3", vec!["v3", "latest"]),
        ("4", vec![]),
        ("5", vec!["v5"]),
    ] {
        expected.push((tags.is_empty(), world.push("shop/web", content, &tags)));
        world.clock.advance(hours(1));
    }
    let other = world.push("shop/api", "1", &["v1"]);
    let archived = world.push("shop/api", "2", &[]);
    world
        .aws
        .ecr()
        .get_mut(&name("shop/api"))
        .unwrap()
        .get_mut(&archived)
        .unwrap()
        .archived = true;
    world.aws.ecr().insert(name("empty"), BTreeMap::new());

    let (outcome, invocations) = world.run(world.request(InventoryReason::Connected)).await;
    let Outcome::Compared(found) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (found.repositories, found.images, found.new, found.gone),
        (3, 7, 7, 0)
    );
    assert_eq!(
        (found.missed, invocations),
        (None, 1),
        "what was there before was not missed"
    );

    let queued = world.scan_all().await;
    assert!(
        queued
            .iter()
            .all(|request| request.known_by == KnownBy::Backfill && request.event.is_none())
    );
    let order: Vec<_> = queued.iter().map(|request| request.digest).collect();
    expected.reverse();
    expected.sort_by_key(|(is_untagged, _)| *is_untagged);
    let mut digests = vec![other];
    digests.extend(expected.iter().map(|(_, digest)| *digest));
    assert_eq!(order, digests, "an archived image cannot be read");
    world.check().await;
    assert_eq!(
        world
            .images
            .newest(&world.scope, None, 100)
            .await
            .unwrap()
            .items
            .len(),
        7
    );

    let last = world
        .inventories
        .last(&world.scope, &world.integration, &registry().region)
        .await
        .unwrap();
    assert_eq!(last.unwrap().kind, KnownBy::Backfill);
    assert_eq!(world.announced(), []);
}

#[tokio::test]
async fn the_session_has_a_receipt_with_the_number_of_its_calls() {
    let world = World::new().await;
    for repository in ["a", "b"] {
        world.push(repository, "1", &["latest"]);
    }
    let request = world.request(InventoryReason::Connected);
    let name = format!("reconcile-{}", request.request);
    world.run(request).await;
    let receipts = AccessReceipts::new(world.aws.clone())
        .list(&world.scope, &world.integration, Timestamp::UNIX_EPOCH, 10)
        .await
        .unwrap();
    let [receipt] = &receipts[..] else {
        panic!("{receipts:?}")
    };
    assert_eq!(
        (receipt.session.as_str(), receipt.purpose.as_str()),
        (name.as_str(), "registry")
    );
    assert_eq!(receipt.calls, 3, "the names, and the images of two repositories");
}

#[tokio::test]
async fn regions_without_a_stack_are_looked_into_once_a_day_for_names_only() {
    let world = World::new().await;
    let repositories = |count: usize| (0..count).map(|number| name(&format!("r{number:02}"))).collect();
    let elsewhere: BTreeMap<Region, Option<Vec<RepositoryName>>> = [
        ("us-east-1", Some(repositories(25))),
        ("us-east-2", Some(Vec::new())),
        ("us-west-1", None),
        // Its stack watches this one, and nobody's role opens another partition.
        ("eu-west-1", None),
        ("cn-north-1", None),
    ]
    .map(|(region, names)| (region.parse().unwrap(), names))
    .into();
    *world.aws.elsewhere.lock().unwrap() = elsewhere;
    let found = async || {
        let elsewhere = world.inventories.elsewhere(&world.scope, &world.integration);
        elsewhere.await.unwrap().unwrap()
    };
    world.run(world.request(InventoryReason::Connected)).await;
    let first = found().await;
    let seen = |count, names| Unwatched::Seen {
        count,
        more: false,
        first: repositories(names),
    };
    let denied = Unwatched::Unseen {
        code: "ecr_denied".to_owned(),
    };
    let expected = [
        ("us-east-1", seen(25, 20)),
        ("us-east-2", seen(0, 0)),
        ("us-west-1", denied),
    ]
    .map(|(region, unwatched)| (region.parse().unwrap(), unwatched));
    assert_eq!(first.regions, expected.into());
    assert_eq!(
        world.known("r00").await.len() + world.take_scans().len(),
        0,
        "names, and nothing of them"
    );
    let receipts = AccessReceipts::new(world.aws.clone())
        .list(&world.scope, &world.integration, Timestamp::UNIX_EPOCH, 10)
        .await
        .unwrap();
    let calls: BTreeMap<_, _> = receipts
        .iter()
        .map(|receipt| (receipt.purpose.as_str(), receipt.calls))
        .collect();
    assert_eq!(calls["names"], 3);
    // The sweep of another region of the same account comes some hours later.
    world.clock.advance(hours(5));
    world.run(world.request(InventoryReason::Schedule)).await;
    assert_eq!(found().await.at, first.at);
    world.run(world.request(InventoryReason::Asked)).await;
    let asked = found().await;
    assert!(asked.at > first.at);
    world.aws.page.store(10, Ordering::SeqCst);
    world.sweep().await;
    let region: Region = "us-east-1".parse().unwrap();
    let Unwatched::Seen { count, more, .. } = found().await.regions[&region].clone() else {
        panic!("{:?}", found().await)
    };
    assert_eq!((count, more), (10, true), "one page is enough to know");
}

#[tokio::test]
async fn a_region_that_is_connected_again_gets_another_backfill() {
    let world = World::new().await;
    world.run(world.request(InventoryReason::Connected)).await;
    world.push("shop/web", "1", &[]);
    world.clock.advance(hours(30));
    world.run(world.request(InventoryReason::Connected)).await;
    assert_eq!(world.scan_all().await[0].known_by, KnownBy::Backfill);
    world.push("shop/web", "2", &[]);
    world.sweep().await;
    assert_eq!(world.scan_all().await[0].known_by, KnownBy::Reconcile);
}

/// ECR's largest repository, and more repositories than its default quota has at a page.
#[tokio::test]
async fn large_registries_are_done_in_several_invocations() {
    const LARGE: usize = 100_000;
    let world = World::new().await;
    *world.aws.latency.lock().unwrap() = Duration::from_millis(400);
    for number in 0..1_000 {
        world.push(&format!("small/{number:04}"), "1", &["latest"]);
    }
    for number in 0..LARGE {
        world.push("large", &number.to_string(), &[]);
    }
    let (outcome, invocations) = world.run(world.request(InventoryReason::Connected)).await;
    let Outcome::Compared(found) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((found.repositories, found.new), (1_001, LARGE as u64 + 1_000));
    // 100 pages, 1,000 repositories and 2 pages of names at 0.4 s each are 441 s of 720.
    assert_eq!(invocations, 1);
    let calls = world.aws.calls.load(Ordering::SeqCst);
    let queued: BTreeSet<_> = world
        .take_scans()
        .into_iter()
        .map(|request| request.digest)
        .collect();
    assert_eq!(queued.len(), LARGE + 1_000);

    // A sweep of what is known reads and changes nothing else, however long ECR takes.
    *world.aws.latency.lock().unwrap() = Duration::from_secs(4);
    let gone = {
        let mut ecr = world.aws.ecr();
        let images = ecr.get_mut(&name("large")).unwrap();
        let gone = *images.keys().nth(50_000).unwrap();
        images.remove(&gone);
        gone
    };
    // Before the scans of all these count as forgotten.
    world.clock.advance(hours(19));
    let (outcome, invocations) = world.run(world.request(InventoryReason::Schedule)).await;
    let Outcome::Compared(found) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (found.repositories, found.new, found.gone, found.unread),
        (1_001, 0, 1, 0)
    );
    assert!((6..12).contains(&invocations), "{invocations}");
    let queued = world.take_scans();
    assert_eq!(
        queued.iter().map(|request| request.digest).collect::<Vec<_>>(),
        [gone]
    );
    let of_sweep = world.aws.calls.load(Ordering::SeqCst) - calls;
    assert!(of_sweep < 6_000, "{of_sweep} calls for a thousand repositories");
}

#[tokio::test]
async fn a_repository_that_takes_longer_than_an_invocation_is_left_out_at_last() {
    let world = World::new().await;
    world.push("b", "1", &[]);
    for number in 0..30 {
        world.push("a", &number.to_string(), &[]);
    }
    world.aws.page.store(1, Ordering::SeqCst);
    *world.aws.latency.lock().unwrap() = Duration::from_mins(1);
    let (outcome, _) = world.run(world.request(InventoryReason::Connected)).await;
    let Outcome::Compared(found) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (found.unread, found.new),
        (1, 1),
        "the others are not kept waiting for ever"
    );
    assert_eq!(world.known("b").await.len(), 1);
}

#[tokio::test]
async fn throttling_is_waited_for_and_then_left_for_later() {
    let world = World::new().await;
    world.push("shop/web", "1", &[]);
    world.aws.throttled.store(4, Ordering::SeqCst);
    let (outcome, invocations) = world.run(world.request(InventoryReason::Connected)).await;
    assert!(matches!(outcome, Outcome::Compared(_)), "{outcome:?}");
    assert_eq!(invocations, 1);
    let world = World::new().await;
    world.push("shop/web", "1", &[]);
    world.aws.throttled.store(10, Ordering::SeqCst);
    let before = world.aws.calls.load(Ordering::SeqCst);
    let (outcome, invocations) = world.run(world.request(InventoryReason::Connected)).await;
    assert!(matches!(outcome, Outcome::Compared(_)), "{outcome:?}");
    assert_eq!(invocations, 2, "after a pause");
    assert!(world.aws.calls.load(Ordering::SeqCst) - before < 40);
    assert_eq!(world.scan_all().await.len(), 1);
}

#[tokio::test]
async fn a_role_that_says_no_is_tested() {
    let world = World::new().await;
    world.push("shop/web", "1", &[]);
    *world.aws.is_shut.lock().unwrap() = true;
    let outcome = world
        .invoke(&world.request(InventoryReason::Connected))
        .await
        .unwrap();
    assert_eq!(
        outcome,
        Outcome::Refused {
            code: "role_not_assumable"
        }
    );
    let [asked] = world.verifications().try_into().unwrap();
    assert_eq!(asked.reason, VerifyReason::AccessDenied);
    world.conclude(false).await;
    let outcome = world
        .invoke(&world.request(InventoryReason::Schedule))
        .await
        .unwrap();
    assert_eq!(outcome, Outcome::Dropped(Dropped::Unproven));
}

#[tokio::test]
async fn a_repository_that_says_no_does_not_keep_the_others_from_being_read() {
    let world = World::new().await;
    for repository in ["a", "closed", "z"] {
        world.push(repository, "1", &[]);
    }
    *world.aws.closed.lock().unwrap() = Some(name("closed"));
    let (outcome, _) = world.run(world.request(InventoryReason::Connected)).await;
    let Outcome::Compared(found) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((found.repositories, found.unread), (2, 1));
    assert_eq!(world.scan_all().await.len(), 2);
    assert_eq!(world.verifications().len(), 0);
    // What could be read once and cannot any more is not taken for gone.
    *world.aws.closed.lock().unwrap() = Some(name("z"));
    world.sweep().await;
    let queued = world.scan_all().await;
    let repositories: Vec<_> = queued.iter().map(|request| request.repository.as_str()).collect();
    assert_eq!(repositories, ["closed"]);
    assert_eq!(world.known("z").await.len(), 1);
}

#[tokio::test]
async fn two_at_once_do_not_work_on_one_region() {
    let world = World::new().await;
    world.push("shop/web", "1", &[]);
    // The first one dies in the middle, and holds the region.
    let first = world.request(InventoryReason::Connected);
    *world.aws.crash.lock().unwrap() = Some((world.aws.calls.load(Ordering::SeqCst) + 6, true));
    world.invoke(&first).await.unwrap_err();
    *world.aws.crash.lock().unwrap() = None;
    let second = world.request(InventoryReason::Schedule);
    assert_eq!(
        world.invoke(&second).await.unwrap(),
        Outcome::Dropped(Dropped::Held)
    );
    // Its message comes again and goes on; one more copy finds all done.
    assert!(matches!(
        world.invoke(&first).await.unwrap(),
        Outcome::Compared(_)
    ));
    assert_eq!(
        world.invoke(&first).await.unwrap(),
        Outcome::Dropped(Dropped::Done)
    );
    // A round that repeats itself does not repeat the sweep.
    assert_eq!(
        world.invoke(&second).await.unwrap(),
        Outcome::Dropped(Dropped::Done)
    );
    // One that died for good is taken over.
    world.clock.advance(hours(24));
    *world.aws.crash.lock().unwrap() = Some((world.aws.calls.load(Ordering::SeqCst) + 6, true));
    world
        .invoke(&world.request(InventoryReason::Schedule))
        .await
        .unwrap_err();
    *world.aws.crash.lock().unwrap() = None;
    world.clock.advance(hours(24));
    let taken_over = world
        .invoke(&world.request(InventoryReason::Schedule))
        .await
        .unwrap();
    assert!(matches!(taken_over, Outcome::Compared(_)), "{taken_over:?}");
}
