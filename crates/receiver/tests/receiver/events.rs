//! What becomes of each kind of event, and of events that come again.

use std::time::Duration;

use portwarden_core::{
    event::{EventLog, Settled},
    id::RequestId,
    integration::Trust,
    trace::TraceId,
    work::{InventoryReason, KnownBy, ScanRequest, VerifyReason},
};
use portwarden_testkit::events;
use serde_json::{Value, json};

use crate::world::{REGION, World, push};

/// The recorded events that hint at an image, so that one scan is queued for each.
const HINTS: [&str; 13] = [
    "ecr_delete",
    "ecr_delete_tagged",
    "ecr_pull_through_cache",
    "ecr_push_empty_tag",
    "ecr_push_index",
    "ecr_push_tagged",
    "ecr_push_untagged",
    "ecr_referrer_push",
    "ecr_replication",
    "ecr_storage_class_archive",
    "ecr_storage_class_restore",
    "ecr_image_scan",
    "inspector2_scan",
];

#[tokio::test]
async fn every_recorded_event_is_kept_and_leads_where_it_points() {
    let world = World::connected().await;
    let envelopes = events::names()
        .into_iter()
        .filter(|name| !name.starts_with("http_api_") && !name.starts_with("sqs_"));
    for name in envelopes {
        let event = events::load(&name);
        let before = world.outside.store.dump().len();
        assert_eq!(world.post(&event).await.row(), (202, None, None), "{name}");
        assert_eq!(world.outside.store.dump().len(), before + 1, "{name}");
        let scans = world.outside.queues.take_scans();
        let verifications = world.outside.queues.take_verifications();
        let inventories = world.outside.queues.take_inventories();
        if name == "cloudtrail_delete_repository" {
            let [(inventory, delay)] = &inventories[..] else {
                panic!("{name}: {inventories:?}")
            };
            assert_eq!(inventory.reason, InventoryReason::RepositoryDeleted);
            assert_eq!(inventory.tenant, *world.scope.tenant());
            assert!(inventory.repository.is_some() && inventory.event.is_some() && delay.is_zero());
        } else {
            assert_eq!(inventories, [], "{name}");
        }
        if HINTS.contains(&name.as_str()) {
            let made = (scans[0].request.clone(), scans[0].trace);
            assert_eq!(scans, [scan_of(&world, &event, made)], "{name}");
        } else {
            assert_eq!(scans, [], "{name}");
        }
        if name == "cloudformation_stack_status_claim" {
            assert_eq!(verifications.len(), 1);
            assert_eq!(&verifications[0].integration, world.id());
            assert_eq!(verifications[0].tenant, *world.scope.tenant());
            assert_eq!(verifications[0].region.as_str(), REGION);
            assert_eq!(verifications[0].reason, VerifyReason::Stack);
            let claim = verifications[0].claim.as_ref().unwrap();
            assert_eq!(claim.role.as_str(), event["detail"]["role-arn"]);
        } else {
            assert_eq!(verifications, [], "{name}");
        }
    }
}

fn scan_of(world: &World, event: &Value, (request, trace): (RequestId, TraceId)) -> ScanRequest {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    ScanRequest {
        tenant: world.scope.tenant().clone(),
        integration: world.id().clone(),
        account: "111122223333".parse().unwrap(),
        region: REGION.parse().unwrap(),
        // Amazon Inspector gives the repository's ARN.
        repository: text(&event["detail"]["repository-name"])
            .trim_start_matches("arn:aws:ecr:eu-west-1:111122223333:repository/")
            .parse()
            .unwrap(),
        digest: text(&event["detail"]["image-digest"]).parse().unwrap(),
        known_by: KnownBy::Event,
        event: Some(text(&event["id"]).parse().unwrap()),
        request,
        trace,
        since: world.clock_now(),
        continuation: 0,
    }
}

#[tokio::test]
async fn ten_thousand_copies_have_one_effect() {
    let world = World::connected().await;
    let event = push("often");
    assert_eq!(world.post(&event).await.status, 202);
    assert_eq!(world.outside.queues.take_scans().len(), 1);
    // The consumer takes the work up.
    let id = "often".parse().unwrap();
    let settled = EventLog::new(world.outside.clone())
        .settle(&world.scope, world.id(), &id)
        .await;
    assert_eq!(settled.unwrap(), Settled::Now);
    let stored = world.outside.store.dump();
    for index in 0..10_000 {
        // The budget fills again meanwhile; a day and a fortnight pass, too.
        let hours = match index {
            5_000 => 24,
            9_000 => 14 * 24,
            _ => 0,
        };
        world
            .clock
            .advance(Duration::from_millis(50) + Duration::from_hours(hours));
        assert_eq!(world.post(&event).await.row(), (202, None, None), "{index}");
    }
    assert_eq!(world.outside.queues.take_scans(), []);
    assert_eq!(world.outside.store.dump(), stored);
}

#[tokio::test]
async fn a_copy_is_queued_again_until_its_work_is_taken_up() {
    let world = World::connected().await;
    for _ in 0..3 {
        assert_eq!(world.post(&push("e")).await.status, 202);
    }
    let scans = world.outside.queues.take_scans();
    assert_eq!(scans.len(), 3);
    assert!(
        scans
            .iter()
            .all(|scan| scan.digest == scans[0].digest && scan.event == scans[0].event)
    );
}

#[tokio::test]
async fn of_two_events_under_one_id_the_first_counts() {
    let world = World::connected().await;
    assert_eq!(world.post(&push("e")).await.status, 202);
    let stored = world.outside.store.dump();
    assert_eq!(world.outside.queues.take_scans().len(), 1);
    let mut other = push("e");
    other["detail"]["image-tag"] = json!("2.0");
    assert_eq!(world.post(&other).await.row(), (202, None, None));
    assert_eq!(world.outside.queues.take_scans(), []);
    assert_eq!(world.outside.store.dump(), stored);
    assert_eq!(
        world.outside.take_counted(),
        ["accepted image_pushed", "refused conflicting"]
    );
}

#[tokio::test]
async fn each_event_is_counted_once_by_kind_or_reason() {
    let world = World::connected().await;
    world.post(&push("e")).await;
    world.post(&push("e")).await;
    world.post(&events::load("heartbeat")).await;
    world.post(&events::load("unknown_detail_type")).await;
    world.http(&events::load("http_api_push_wrong_credentials")).await;
    world.post(&json!({})).await;
    let expected = [
        "accepted image_pushed",
        "accepted image_pushed",
        "accepted heartbeat",
        "accepted other",
        "refused not_accepted",
        "refused event_malformed",
    ];
    assert_eq!(world.outside.take_counted(), expected);
}

#[tokio::test]
async fn two_tenants_may_use_the_same_event_id() {
    use crate::world::{request, to, with_credentials};
    let world = World::connected().await;
    let neighbour = world.neighbour().await;
    assert_eq!(world.post(&push("e")).await.status, 202);
    let mut own = push("e");
    own["account"] = json!("444455556666");
    let own = with_credentials(
        to(request(&own), &neighbour.id),
        events::USERNAME,
        &neighbour.password,
    );
    assert_eq!(world.http(&own).await.status, 202);
    let tenants: Vec<_> = world
        .outside
        .queues
        .take_scans()
        .into_iter()
        .map(|scan| scan.tenant)
        .collect();
    assert_eq!(tenants.len(), 2);
    assert_ne!(tenants[0], tenants[1]);
}

#[tokio::test]
async fn heartbeats_are_noted_and_never_go_back_or_ahead() {
    let world = World::connected().await;
    let heartbeat = async |id: &str, time: &str| {
        let mut event = events::load("heartbeat");
        event["id"] = json!(id);
        event["time"] = json!(time);
        assert_eq!(world.post(&event).await.row(), (202, None, None));
        let connection = world
            .integrations()
            .find(&world.scope, world.id())
            .await
            .unwrap()
            .unwrap();
        connection.heartbeats[&REGION.parse().unwrap()].to_string()
    };
    assert_eq!(
        heartbeat("a", "2026-11-16T01:18:34Z").await,
        "2026-11-16T01:18:34Z"
    );
    assert_eq!(
        heartbeat("b", "2026-11-16T01:03:34Z").await,
        "2026-11-16T01:18:34Z"
    );
    // A clock ahead of ours does not hide what comes later.
    assert_eq!(
        heartbeat("c", "2036-01-01T00:00:00Z").await,
        world.clock_now().to_string()
    );
    assert_eq!(world.outside.queues.take_verifications(), []);
}

#[tokio::test]
async fn claims_of_another_integration_are_refused_and_change_nothing() {
    let world = World::connected().await;
    let neighbour = world.neighbour().await;
    let stored = world.outside.store.dump();
    for name in ["heartbeat", "cloudformation_stack_status_claim"] {
        let mut other_id = events::load(name);
        other_id["detail"]["external-id"] = json!(neighbour.external_id);
        let mut other_role = events::load(name);
        other_role["detail"]["role-arn"] = json!("arn:aws:iam::444455556666:role/r");
        for event in [other_id, other_role] {
            assert_eq!(
                world.post(&event).await.row(),
                (422, Some("other_stack"), None),
                "{event}"
            );
        }
    }
    assert_eq!(world.outside.store.dump(), stored);
    assert_eq!(world.outside.queues.take_verifications(), []);
}

fn elsewhere(name: &str, id: &str, region: &str) -> Value {
    let mut event = events::load(name);
    event["id"] = json!(id);
    event["region"] = json!(region);
    event
}

#[tokio::test]
async fn a_new_region_of_the_proven_account_is_claimed_and_its_event_kept() {
    let world = World::connected().await;
    let trust = async || {
        let connection = world
            .integrations()
            .find(&world.scope, world.id())
            .await
            .unwrap()
            .unwrap();
        connection
            .regions
            .get(&"us-east-1".parse().unwrap())
            .map(|region| region.trust.clone())
    };
    assert_eq!(trust().await, None);
    assert_eq!(
        world
            .post(&elsewhere("ecr_push_tagged", "1", "us-east-1"))
            .await
            .row(),
        (202, None, None)
    );
    assert_eq!(trust().await, Some(Trust::Unnamed));
    // What is known of the region by now changes nothing about the answer.
    assert_eq!(
        world
            .post(&elsewhere("ecr_push_tagged", "2", "us-east-1"))
            .await
            .row(),
        (202, None, None)
    );
    let scans = world.outside.queues.take_scans();
    assert_eq!(
        scans.iter().map(|scan| scan.region.as_str()).collect::<Vec<_>>(),
        ["us-east-1"; 2]
    );
    // Its heartbeats name a role, which is tested until it is proven, and not after that.
    let heartbeat = async |id: &str| {
        assert_eq!(
            world.post(&elsewhere("heartbeat", id, "us-east-1")).await.row(),
            (202, None, None)
        );
        world.outside.queues.take_verifications().len()
    };
    assert_eq!(heartbeat("3").await, 1);
    world.prove("us-east-1").await;
    world.clock.advance(std::time::Duration::from_mins(1));
    assert_eq!(heartbeat("4").await, 0);
}

#[tokio::test]
async fn regions_are_added_up_to_a_limit() {
    let world = World::connected().await;
    let mut answers = Vec::new();
    for index in 0..70 {
        let letter = |value: u8| char::from(b'a' + value);
        let region = format!("x{}-{}-1", letter(index / 26), letter(index % 26));
        answers.push(
            world
                .post(&elsewhere("ecr_push_tagged", &format!("e-{index}"), &region))
                .await,
        );
    }
    assert!(answers[..63].iter().all(|answer| answer.status == 202));
    for answer in &answers[63..] {
        assert_eq!(answer.row(), (422, Some("other_region"), None));
    }
    let connection = world
        .integrations()
        .find(&world.scope, world.id())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(connection.regions.len(), 64);
}
