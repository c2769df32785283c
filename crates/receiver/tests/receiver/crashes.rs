//! Accepted means kept: wherever a process ends, a delivery that is repeated until it is accepted has its whole effect.

use portwarden_testkit::events;
use serde_json::{Value, json};

use crate::world::{Fault, World, push};

/// What must be there in the end.
#[derive(Debug, PartialEq)]
struct Effect {
    answer: u64,
    events_and_heartbeats: usize,
    regions: usize,
    scans: bool,
    verifications: bool,
}

async fn effect(world: &World, answer: u64) -> Effect {
    let dump = world.outside.store.dump();
    let has = |part: &str| {
        dump.iter()
            .filter(|item| item.key.to_string().contains(part))
            .count()
    };
    let connection = world
        .integrations()
        .find(&world.scope, world.id())
        .await
        .unwrap()
        .unwrap();
    Effect {
        answer,
        events_and_heartbeats: has("#event#") + connection.heartbeats.len(),
        regions: connection.regions.len(),
        scans: !world.outside.queues.take_scans().is_empty(),
        verifications: !world.outside.queues.take_verifications().is_empty(),
    }
}

#[tokio::test]
async fn a_delivery_that_is_repeated_until_it_is_accepted_has_its_whole_effect() {
    let elsewhere = |name: &str| {
        let mut event = events::load(name);
        event["region"] = json!("us-east-1");
        event
    };
    let expected = |regions, scans, verifications| Effect {
        answer: 202,
        events_and_heartbeats: 1,
        regions,
        scans,
        verifications,
    };
    let cases: [(Value, Effect); 6] = [
        (push("e"), expected(1, true, false)),
        (events::load("heartbeat"), expected(1, false, false)),
        (
            events::load("cloudformation_stack_status_claim"),
            expected(1, false, true),
        ),
        (
            events::load("ecr_scan_resource_change"),
            expected(1, false, false),
        ),
        (elsewhere("ecr_push_tagged"), expected(2, true, false)),
        (elsewhere("heartbeat"), expected(2, false, true)),
    ];
    for (event, expected) in cases {
        for fault in [Fault::Before, Fault::HangsAfter] {
            for dies in [false, true] {
                let mut broken = 0;
                for nth in 1.. {
                    let mut world = World::connected().await;
                    world.outside.fail_at(nth, fault);
                    let first = world.post(&event).await;
                    let called = world.outside.calls().len();
                    world.outside.count_anew();
                    let answer = if called < nth {
                        first.status
                    } else {
                        assert_eq!(
                            first.row(),
                            (503, Some("unavailable"), Some("10")),
                            "{nth} {fault:?}"
                        );
                        broken += 1;
                        if dies {
                            world.restart();
                        }
                        world.post(&event).await.status
                    };
                    let found = effect(&world, answer).await;
                    assert_eq!(found, expected, "call {nth}, {fault:?}, {}", event["detail-type"]);
                    if called < nth {
                        break;
                    }
                }
                // Two reads to know the endpoint, and one write at least.
                assert!(broken >= 3, "{broken} calls for {}", event["detail-type"]);
            }
        }
    }
}

#[tokio::test]
async fn a_warm_process_makes_two_calls_for_an_event() {
    let world = World::connected().await;
    assert_eq!(world.post(&push("cold")).await.status, 202);
    let calls = async |event: &Value| {
        world.outside.count_anew();
        assert_eq!(world.post(event).await.status, 202);
        world.outside.calls()
    };
    assert_eq!(calls(&push("warm")).await, ["write", "queue_scan"]);
    assert_eq!(calls(&push("warm")).await, ["write", "queue_scan"]);
    assert_eq!(calls(&events::load("heartbeat")).await, ["write"]);
    let scanned = ["ecr_image_scan", "inspector2_scan"].map(events::load);
    for event in &scanned {
        assert_eq!(calls(event).await, ["write", "queue_scan"]);
    }
    assert_eq!(calls(&events::load("unknown_detail_type")).await, ["write"]);
    let stack = events::load("cloudformation_stack_status_claim");
    assert_eq!(calls(&stack).await, ["write", "queue_verify"]);
    // A region that is known and not proven costs no more.
    let mut elsewhere = push("elsewhere");
    elsewhere["region"] = json!("us-east-1");
    assert_eq!(calls(&elsewhere).await, ["write", "write", "queue_scan"]);
    elsewhere["id"] = json!("elsewhere-2");
    assert_eq!(calls(&elsewhere).await, ["get", "query", "write", "queue_scan"]);
    elsewhere["id"] = json!("elsewhere-3");
    assert_eq!(calls(&elsewhere).await, ["write", "queue_scan"]);
}
