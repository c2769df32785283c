//! Claims without proof: what is looked at, and that the sender learns nothing of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use portwarden_core::{
    endpoint::{Password, Username},
    id::ExternalId,
    random::OsRandomness,
    work::{VerifyReason, VerifyRequest},
};
use portwarden_testkit::events;
use serde_json::{Value, json};

use crate::world::{NOT_ACCEPTED, REGION, World, propose, request, with_credentials};

/// A message of the stack with credentials that nobody knows yet.
fn unproven(event: &Value) -> Value {
    with_credentials(
        request(event),
        "portwarden",
        "made-by-the-stack-itself-0123456789",
    )
}

fn with(path: &str, value: impl Into<Value>) -> Value {
    let mut event = events::load("heartbeat");
    *event.pointer_mut(path).unwrap() = value.into();
    event
}

impl World {
    async fn claims(&self, event: &Value) -> Vec<VerifyRequest> {
        assert_eq!(self.http(&unproven(event)).await.row(), NOT_ACCEPTED);
        self.outside.queues.take_verifications()
    }
}

#[tokio::test]
async fn a_claim_with_the_right_external_id_leads_to_one_test() {
    for name in ["heartbeat", "cloudformation_stack_status_claim"] {
        let world = World::saved().await;
        let claims = world.claims(&events::load(name)).await;
        let [request] = &claims[..] else {
            panic!("{claims:?}")
        };
        let claim = request.claim.as_ref().unwrap();
        assert_eq!(claim.role.name(), "portwarden-ecr-Role-1A2B3C4D5E6F");
        assert_eq!((&request.role, request.reason), (&None, VerifyReason::Claim));
        assert_eq!(request.region.as_str(), REGION);
    }
}

#[tokio::test]
async fn a_flood_of_claims_leads_to_one_test_in_a_minute() {
    let world = World::saved().await;
    let mut tests = 0;
    // Two minutes and a half, from the beginning of a minute.
    for second in 0..150 {
        let mut claim = events::load("heartbeat");
        claim["id"] = json!(format!("e-{second}"));
        claim["detail"]["role-arn"] = json!(format!("arn:aws:iam::111122223333:role/r{second}"));
        for _ in 0..3 {
            tests += world.claims(&claim).await.len();
        }
        world.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(tests, 3);
}

#[tokio::test]
async fn what_is_no_claim_of_this_integration_is_ignored_with_the_same_answer_to_the_byte() {
    let world = World::saved().await;
    let looked_at = world.http(&unproven(&events::load("heartbeat"))).await;
    assert_eq!(world.outside.queues.take_verifications().len(), 1);
    let world = World::saved().await;
    let stored = world.outside.store.dump();
    let foreign = ExternalId::generate(&OsRandomness);
    for ignored in [
        with("/detail/external-id", json!(foreign)),
        with("/detail/external-id", "mine"),
        with(
            "/detail/role-arn",
            "arn:aws:iam::444455556666:role/of-another-account-than-the-event",
        ),
        with("/detail/role-arn", "arn:aws:iam::111122223333:user/u"),
        with("/region", "sa-east-1"),
        with("/detail", json!({})),
        events::load("ecr_push_tagged"),
        events::load("cloudformation_stack_status"),
    ] {
        let answer = world.http(&unproven(&ignored)).await;
        assert_eq!(answer.whole.to_string(), looked_at.whole.to_string(), "{ignored}");
        assert_eq!(world.outside.queues.take_verifications(), [], "{ignored}");
    }
    assert_eq!(world.outside.store.dump(), stored);
}

#[tokio::test]
async fn a_stack_with_the_right_password_and_another_external_id_is_looked_at_while_its_role_is_unproven() {
    let world = World::saved().await;
    let mistaken = with("/detail/external-id", "pw-00000000000000000000000000");
    let own = request(&mistaken);
    let strangers = unproven(&mistaken);
    assert_eq!(world.http(&strangers).await.row(), NOT_ACCEPTED);
    assert_eq!(
        world.outside.queues.take_verifications(),
        [],
        "nobody knows who says so"
    );
    for _ in 0..2 {
        assert_eq!(world.http(&own).await.row(), NOT_ACCEPTED);
    }
    let requests = world.outside.queues.take_verifications();
    let [request] = &requests[..] else {
        panic!("once in a minute: {requests:?}")
    };
    assert_eq!(request.reason, VerifyReason::Claim);
    let claim = request.claim.as_ref().unwrap();
    assert_eq!(claim.external_id.as_str(), "pw-00000000000000000000000000");
    // Another region's stack is none that this password belongs to.
    world.clock.advance(Duration::from_mins(1));
    let mut elsewhere = mistaken.clone();
    elsewhere["region"] = json!("sa-east-1");
    let elsewhere = crate::world::request(&elsewhere);
    assert_eq!(world.http(&elsewhere).await.row(), NOT_ACCEPTED);
    assert_eq!(world.outside.queues.take_verifications(), []);
}

#[tokio::test]
async fn a_connected_region_looks_at_claims_only_when_it_is_silent_or_makes_new_credentials() {
    let world = World::connected().await;
    let claim = events::load("heartbeat");
    assert_eq!(world.claims(&claim).await, []);
    let (scope, id, region) = (&world.scope, world.id(), REGION.parse().unwrap());
    let until = world.clock_now() + jiff::SignedDuration::from_mins(10);
    let integrations = world.integrations();
    integrations
        .expect_credentials(scope, id, &region, until)
        .await
        .unwrap();
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(world.claims(&claim).await.len(), 1);
    world.clock.advance(Duration::from_mins(11));
    assert_eq!(world.claims(&claim).await, [], "the time for new ones is over");

    // A heartbeat comes, and then two are missing.
    let at = world.clock_now();
    integrations
        .record_heartbeat(scope, id, &region, at, None)
        .await
        .unwrap();
    world.clock.advance(Duration::from_mins(30));
    assert_eq!(world.claims(&claim).await, []);
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.claims(&claim).await.len(), 1);
    world.remove().await;
    world.clock.advance(Duration::from_mins(2));
    assert_eq!(world.claims(&claim).await, [], "it is removed");
}

#[tokio::test]
async fn a_region_that_waits_for_the_tenants_word_leaves_the_minute_to_the_others() {
    let world = World::saved().await;
    let (scope, id, region) = (&world.scope, world.id(), REGION);
    propose(&world.outside, scope, id, region, "111122223333").await;
    let integrations = world.integrations();
    let other = "us-east-1".parse().unwrap();
    integrations.claim_region(scope, id, &other).await.unwrap();
    let known = events::load("heartbeat");
    assert_eq!(world.claims(&known).await, [], "only a click is missing");
    assert_eq!(world.claims(&with("/region", "us-east-1")).await.len(), 1);
    world.clock.advance(Duration::from_mins(1));
    let changed = with("/detail/credential-generation", 2);
    assert_eq!(world.claims(&changed).await.len(), 1, "that is not known");
    // With the tenant's word, a repetition makes up for a test that was lost.
    let account = "111122223333".parse().unwrap();
    let confirmed = integrations.confirm_account(scope, id, &account);
    confirmed.await.unwrap();
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.claims(&known).await.len(), 1);
}

#[tokio::test]
async fn an_account_that_was_named_keeps_the_claims_of_others_away() {
    let world = World::saved().await;
    let named = "444455556666".parse().unwrap();
    let integrations = world.integrations();
    integrations
        .confirm_account(&world.scope, world.id(), &named)
        .await
        .unwrap();
    assert_eq!(world.claims(&events::load("heartbeat")).await, []);
    let mut own = events::load("heartbeat");
    own["account"] = json!("444455556666");
    own["detail"]["role-arn"] = json!("arn:aws:iam::444455556666:role/r");
    assert_eq!(world.claims(&own).await.len(), 1);
}

#[tokio::test]
async fn rotation_under_load_loses_nothing_and_ends_the_old_credentials_after_a_day() {
    let world = World::connected().await;
    let (scope, id, region) = (&world.scope, world.id(), REGION.parse().unwrap());
    let new = "made-by-the-stack-itself-0123456789";
    let push = |name: &str| {
        let mut event = events::load("ecr_push_tagged");
        event["id"] = json!(name);
        request(&event)
    };
    let old_credentials = |name: &str| push(name);
    let new_credentials = |name: &str| with_credentials(push(name), "portwarden", new);
    let mut accepted = 0;
    let mut refused = Vec::new();

    // The stack says that it is being updated, with its old credentials.
    let mut updating = events::load("cloudformation_stack_status_claim");
    updating["detail"]["status-details"]["status"] = json!("UPDATE_IN_PROGRESS");
    assert_eq!(world.post(&updating).await.status, 202);
    world.outside.queues.take_verifications();
    // Then pushes come with either, as EventBridge takes up the connection's change.
    for index in 0..40 {
        let name = format!("push-{index}");
        assert_eq!(
            world.http(&old_credentials(&format!("old-{index}"))).await.status,
            202
        );
        accepted += 1;
        if world.http(&new_credentials(&name)).await.status == 429 {
            refused.push(name);
        } else {
            accepted += 1;
        }
        if index == 20 {
            // The stack's next message says so, and its secret is read.
            let mut updated = events::load("cloudformation_stack_status_claim");
            updated["id"] = json!("updated");
            updated["detail"]["credential-generation"] = json!(2);
            let claims = world.claims(&updated).await;
            assert_eq!(claims.len(), 1, "an update was announced");
            let (username, password) = (
                Username::parse("portwarden").unwrap(),
                Password::parse(&new.to_owned().into()).unwrap(),
            );
            let added = world
                .integrations()
                .add_credentials(scope, id, &region, (&username, &password), 2)
                .await;
            assert!(added.unwrap());
            world.clock.advance(Duration::from_secs(6));
        }
        world.clock.advance(Duration::from_millis(100));
    }
    assert_eq!(refused.len(), 21, "only those before the secret was read");
    for name in &refused {
        assert_eq!(
            world.http(&new_credentials(name)).await.status,
            202,
            "EventBridge tries again"
        );
        accepted += 1;
    }
    let scans = world.outside.queues.take_scans();
    assert_eq!((accepted, scans.len()), (80, 80), "every push is known");

    // Redeliveries of a day still come with the old ones, and nothing after that.
    let stored = integrations_region(&world).await;
    let first_used = stored.credentials[1].first_used_at.unwrap();
    let last = first_used + jiff::SignedDuration::from_hours(24);
    let left = last.duration_since(world.clock_now()).unsigned_abs();
    world.clock.advance(left.saturating_sub(Duration::from_millis(1)));
    assert_eq!(world.http(&old_credentials("late")).await.status, 202);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.http(&old_credentials("too-late")).await.row(), NOT_ACCEPTED);
    assert_eq!(world.http(&new_credentials("later")).await.status, 202);
}

async fn integrations_region(world: &World) -> portwarden_core::integration::RegionConnection {
    let connection = world.integrations().find(&world.scope, world.id()).await;
    connection.unwrap().unwrap().regions[&REGION.parse().unwrap()].clone()
}

#[tokio::test]
async fn a_heartbeat_that_says_something_new_is_looked_at() {
    let world = World::connected().await;
    assert_eq!(world.post(&events::load("heartbeat")).await.status, 202);
    assert_eq!(world.outside.queues.take_verifications(), [], "all is as it was");
    for (field, value) in [
        ("credential-generation", json!(2)),
        ("template-version", json!("9")),
    ] {
        let mut changed = events::load("heartbeat");
        changed["detail"][field] = value;
        assert_eq!(world.post(&changed).await.status, 202);
        let requests = world.outside.queues.take_verifications();
        assert!(
            matches!(
                &requests[..],
                [VerifyRequest {
                    reason: VerifyReason::Stack,
                    said_at: Some(_),
                    ..
                }]
            ),
            "{field}: {requests:?}"
        );
    }
}
