//! Which roles open which registries, and what happens when they do not.

use std::time::Duration;

use jiff::Timestamp;
use portwarden_core::{
    clock::Clock as _, ecr::EcrError, image::ScanResult, integration::Integrations, session::AssumeError,
    work::VerifyReason,
};
use portwarden_testkit::image::Artifact as _;

use crate::{
    handler::small_image,
    shelf::Fault,
    world::{World, repository, request},
};

const ACCOUNT: &str = "111122223333";
const REPOSITORY: &str = "shop/web";

#[tokio::test]
async fn a_role_that_is_not_proven_opens_nothing_until_it_is() {
    let world = World::new();
    let party = world.unproven_tenant(ACCOUNT).await;
    let image = small_image(&["a"]);
    world.push(&party, REPOSITORY, &[], &image);
    let request = world.event(&party, REPOSITORY, image.digest()).await;
    let process = world.process();
    assert!(!world.is_done(&process, &request).await, "claimed");
    world.conclude(&party, false).await;
    assert!(!world.is_done(&process, &request).await, "refused");
    assert!(world.aws.sessions.lock().unwrap().is_empty());
    assert!(!world.is_settled(&party, &request));
    world.conclude(&party, true).await;
    assert!(world.is_done(&process, &request).await);
    assert!(world.summary(&party, image.digest()).await.is_some());
}

#[tokio::test]
async fn requests_that_nobody_may_work_for_are_dropped() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let other = world.tenant("444455556666").await;
    let image = small_image(&["a"]);
    world.push(&party, REPOSITORY, &[], &image);
    let good = request(&party, REPOSITORY, image.digest(), None, world.clock.now());
    let mut of_other_tenant = good.clone();
    of_other_tenant.integration = other.integration.clone();
    let mut in_other_account = good.clone();
    in_other_account.account = other.account.clone();
    let mut in_other_region = good.clone();
    in_other_region.region = "us-east-1".parse().unwrap();
    let process = world.process();
    for bad in [&of_other_tenant, &in_other_account, &in_other_region] {
        assert!(world.is_done(&process, bad).await);
    }
    let integrations = Integrations::new(world.store.clone());
    let now = world.clock.now();
    assert!(
        integrations
            .remove(&party.scope, &party.integration, now)
            .await
            .unwrap()
    );
    assert!(world.is_done(&process, &good).await, "removed");
    assert!(
        world.aws.sessions.lock().unwrap().is_empty(),
        "no role was assumed"
    );
    assert_eq!(world.summary(&party, image.digest()).await, None);
    assert!(world.locations(&party, image.digest()).await.is_empty());
}

#[tokio::test]
async fn a_denial_has_the_connection_tested() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a"]);
    world.push(&party, REPOSITORY, &[], &image);
    let request = world.event(&party, REPOSITORY, image.digest()).await;
    let process = world.process();
    let shelf = world.shelf(&party, &repository(REPOSITORY));
    let denials: [fn(&World); 3] = [
        |world| {
            let error = AssumeError::NotAllowed("AccessDenied".into());
            world.aws.assume_errors.lock().unwrap().push(error);
        },
        |world| {
            let error = EcrError::Denied {
                action: "ecr:DescribeImages",
                source: "AccessDenied".into(),
            };
            world.aws.ecr_errors.lock().unwrap().push(error);
        },
        |_| {},
    ];
    shelf.fail(image.layers[0].digest(), Fault::Denied);
    for deny in denials {
        deny(&world);
        assert!(!world.is_done(&process, &request).await);
        let [test] = &world.queues.take_verifications()[..] else {
            panic!("one test of the connection")
        };
        assert_eq!(
            (&test.integration, &test.region),
            (&party.integration, &request.region)
        );
        assert_eq!(test.reason, VerifyReason::AccessDenied);
        assert_eq!(test.request, request.request);
    }
    shelf.mend();
    assert!(world.is_done(&process, &request).await);
    assert_eq!(world.announced().len(), 1);
}

#[tokio::test]
async fn what_passes_later_goes_back_to_the_queue_and_is_no_denial() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a"]);
    world.push(&party, REPOSITORY, &[], &image);
    let request = world.event(&party, REPOSITORY, image.digest()).await;
    let shelf = world.shelf(&party, &repository(REPOSITORY));
    for error in [
        AssumeError::Throttled,
        AssumeError::Unreachable("time-out".into()),
        AssumeError::Connector("AccessDenied".into()),
    ] {
        world.aws.assume_errors.lock().unwrap().push(error);
        assert!(!world.is_done(&world.process(), &request).await);
    }
    for error in [EcrError::Throttled, EcrError::Unreachable("time-out".into())] {
        world.aws.ecr_errors.lock().unwrap().push(error);
        assert!(!world.is_done(&world.process(), &request).await);
    }
    for digest in [image.digest(), image.config.digest(), image.layers[0].digest()] {
        for fault in [Fault::NotFound, Fault::Throttled, Fault::Status(500)] {
            shelf.fail(digest, fault);
            assert!(
                !world.is_done(&world.process(), &request).await,
                "{fault:?} of {digest}"
            );
            shelf.mend();
        }
    }
    assert!(world.queues.take_verifications().is_empty());
    assert_eq!(world.summary(&party, image.digest()).await, None);
    assert!(!world.is_settled(&party, &request));
    assert!(world.is_done(&world.process(), &request).await);
    assert_eq!(world.announced().len(), 1);
}

#[tokio::test]
async fn a_session_that_expires_midway_is_renewed_once() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a", "b"]);
    world.push(&party, REPOSITORY, &[], &image);
    let request = world.event(&party, REPOSITORY, image.digest()).await;
    let shelf = world.shelf(&party, &repository(REPOSITORY));
    let process = world.process();
    world.aws.ecr_errors.lock().unwrap().push(EcrError::Expired);
    shelf.fail(image.layers[1].digest(), Fault::UnauthorizedOnce);
    assert!(world.is_done(&process, &request).await);
    assert_eq!(world.aws.sessions.lock().unwrap().len(), 3);
    assert!(world.queues.take_verifications().is_empty());

    // One that is refused again and again is a denial.
    let other = small_image(&["c"]);
    world.push(&party, REPOSITORY, &[], &other);
    shelf.fail(other.layers[0].digest(), Fault::Unauthorized);
    let request = world.event(&party, REPOSITORY, other.digest()).await;
    assert!(!world.is_done(&process, &request).await);
    assert_eq!(world.queues.take_verifications().len(), 1);
}

#[tokio::test]
async fn the_image_is_scanned_wherever_it_can_be_read() {
    for fault in [Fault::NotFound, Fault::Denied, Fault::Status(500), Fault::Lie] {
        let world = World::new();
        let here = world.tenant(ACCOUNT).await;
        let there = world.connect(&here.scope, "444455556666").await;
        world.conclude(&there, true).await;
        let image = small_image(&["a"]);
        let digest = image.digest();
        world.push(&here, REPOSITORY, &["here"], &image);
        world.push(&there, "mirror", &["there"], &image);
        let shelves = [
            world.shelf(&here, &repository(REPOSITORY)),
            world.shelf(&there, &repository("mirror")),
        ];
        // The second place becomes known while its image cannot be read.
        shelves[1].fail(image.layers[0].digest(), Fault::Status(503));
        let first = world.event(&there, "mirror", digest).await;
        assert!(!world.is_done(&world.process(), &first).await);
        shelves[1].mend();

        shelves[0].fail(image.layers[0].digest(), fault);
        let request = world.event(&here, REPOSITORY, digest).await;
        assert!(world.is_done(&world.process(), &request).await, "{fault:?}");
        let told = world.announced().remove(0);
        assert_eq!(
            (&told.integration, told.tags[0].as_str()),
            (&there.integration, "there")
        );
        assert!(matches!(told.outcome, ScanResult::Reported { packages: 1, .. }));
        let tests = world.queues.take_verifications();
        assert_eq!(
            tests.len(),
            usize::from(matches!(fault, Fault::Denied)),
            "{fault:?}"
        );
        assert!(tests.iter().all(|test| test.integration == here.integration));

        // The first request comes again and finds everything done.
        assert!(world.is_done(&world.process(), &first).await);
        assert_eq!(world.announced(), []);
    }
}

#[tokio::test]
async fn corrupt_content_in_one_place_is_no_refusal_while_another_may_be_read_later() {
    let world = World::new();
    let here = world.tenant(ACCOUNT).await;
    let image = small_image(&["a"]);
    let digest = image.digest();
    world.push(&here, REPOSITORY, &[], &image);
    world.push(&here, "copy", &[], &image);
    let layer = image.layers[0].digest();
    let shelves = [REPOSITORY, "copy"].map(|name| world.shelf(&here, &repository(name)));
    shelves[0].fail(layer, Fault::Status(500));
    shelves[1].fail(layer, Fault::Lie);
    let now = world.clock.now();
    let [first, second] = [REPOSITORY, "copy"].map(|name| request(&here, name, digest, None, now));
    assert!(!world.is_done(&world.process(), &first).await);
    assert!(!world.is_done(&world.process(), &second).await);
    assert_eq!(world.summary(&here, digest).await, None);
    shelves[0].mend();
    assert!(world.is_done(&world.process(), &second).await);
    assert_eq!(world.announced()[0].repository.as_str(), REPOSITORY);
}

#[tokio::test]
async fn whenever_a_second_place_comes_while_the_first_fails_it_is_tried() {
    let mut held = 0;
    for delay in 0..90 {
        let world = World::new();
        let party = world.tenant(ACCOUNT).await;
        let image = small_image(&["a"]);
        let digest = image.digest();
        world.push(&party, REPOSITORY, &[], &image);
        world.push(&party, "copy", &[], &image);
        world
            .shelf(&party, &repository(REPOSITORY))
            .fail(image.layers[0].digest(), Fault::NotFound);
        let first = world.event(&party, REPOSITORY, digest).await;
        let second = world.event(&party, "copy", digest).await;
        let processes = [world.slow_process(5), world.process()];
        let late = async {
            for _ in 0..delay {
                tokio::task::yield_now().await;
            }
            world.is_done(&processes[1], &second).await
        };
        let (_, is_second_done) =
            futures_util::future::join(world.is_done(&processes[0], &first), late).await;
        // Whoever was told that somebody else is at it comes again.
        if !is_second_done {
            held += 1;
            assert!(world.is_done(&world.process(), &second).await, "delay {delay}");
        }
        let summary = world.summary(&party, digest).await;
        assert!(summary.is_some_and(|summary| summary.announced), "delay {delay}");
    }
    assert!(held > 1, "the two met {held} times only");
}

#[tokio::test]
async fn push_and_delete_in_any_order_leave_what_ecr_says() {
    for order in [[0, 1], [1, 0]] {
        let world = World::new();
        let party = world.tenant(ACCOUNT).await;
        let image = small_image(&["a"]);
        let digest = image.digest();
        world.push(&party, REPOSITORY, &["1"], &image);
        let now: Timestamp = world.clock.now();
        let requests = [(); 2].map(|()| request(&party, REPOSITORY, digest, None, now));
        world.delete(&party, REPOSITORY, digest);
        for index in order {
            world.clock.advance(Duration::from_secs(1));
            assert!(world.is_done(&world.process(), &requests[index]).await);
        }
        let locations = world.locations(&party, digest).await;
        assert_eq!(locations.len(), 1);
        assert_eq!(locations[0].presence, portwarden_core::image::Presence::Deleted);
    }
}
