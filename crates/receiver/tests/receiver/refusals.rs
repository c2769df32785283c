//! Who is not accepted: by credentials, by removal, by budget, and when something outside fails.

use std::time::Duration;

use portwarden_core::{
    endpoint::{Password, Username},
    id::IntegrationId,
    integration::NewRegion,
    random::OsRandomness,
};
use portwarden_testkit::events;
use serde_json::json;

use crate::world::{
    Fault, NOT_ACCEPTED, REGION, World, prove, push, recorded, request, request_with, request_with_body, to,
    with_credentials,
};

#[tokio::test]
async fn every_refusal_of_a_sender_is_the_same_to_the_byte() {
    let world = World::connected().await;
    let neighbour = world.neighbour().await;
    let body = recorded();
    let mut without = body.clone();
    without["headers"]
        .as_object_mut()
        .unwrap()
        .remove("authorization");
    let header = |value: &str| request_with("/headers/authorization", value);
    let right = recorded()["headers"]["authorization"]
        .as_str()
        .unwrap()
        .to_owned();
    let saved = World::saved().await;
    let mut answers = vec![("unproven", saved.http(&recorded()).await)];
    for (case, request) in [
        ("none", without),
        ("garbled", header("Basic !!")),
        ("another scheme", header(&right.replace("Basic", "Bearer"))),
        ("double", header(&format!("{right},{right}"))),
        ("no colon", header("Basic eHk=")),
        (
            "unknown user",
            with_credentials(body.clone(), "mallory", events::PASSWORD),
        ),
        (
            "wrong password",
            with_credentials(body.clone(), events::USERNAME, "wrong"),
        ),
        (
            "a prefix",
            with_credentials(body.clone(), events::USERNAME, &events::PASSWORD[..20]),
        ),
        (
            "recorded wrong one",
            events::load("http_api_push_wrong_credentials"),
        ),
        (
            "another tenant's on ours",
            with_credentials(body.clone(), events::USERNAME, &neighbour.password),
        ),
        ("ours on another tenant's", to(body.clone(), &neighbour.id)),
        (
            "unknown integration",
            to(body.clone(), &IntegrationId::generate(&OsRandomness)),
        ),
        ("the operator's", to(body.clone(), &IntegrationId::operator())),
        (
            "and a body that is none",
            with_credentials(request_with_body("{"), "mallory", "wrong"),
        ),
    ] {
        answers.push((case, world.http(&request).await));
    }
    for (case, answer) in &answers {
        assert_eq!(answer.row(), NOT_ACCEPTED, "{case}");
        assert_eq!(answer.whole.to_string(), answers[0].1.whole.to_string(), "{case}");
    }
    assert_eq!(world.outside.queues.take_scans(), []);
    // Each tenant's own credentials do open its own endpoint.
    let mut own = push("own");
    own["account"] = json!("444455556666");
    let own = with_credentials(
        to(request(&own), &neighbour.id),
        events::USERNAME,
        &neighbour.password,
    );
    assert_eq!(world.http(&own).await.status, 202);
    let scans = world.outside.queues.take_scans();
    assert_eq!(scans.len(), 1);
    assert_eq!(scans[0].integration, neighbour.id);
}

#[tokio::test]
async fn passwords_with_colons_and_other_scripts_open() {
    let world = World::connected().await;
    let password = "a:colon, and ünïcödé: 合言葉";
    let region = NewRegion::Classic {
        region: REGION.parse().unwrap(),
        username: Username::parse("events").unwrap(),
        password: Password::parse(&password.to_owned().into()).unwrap(),
    };
    let connection = world
        .integrations()
        .create(
            &world.scope,
            "Another",
            &[region],
            world.clock_now(),
            &OsRandomness,
        )
        .await
        .unwrap();
    let request = with_credentials(to(recorded(), &connection.integration.id), "events", password);
    // Right, and not proven.
    assert_eq!(world.http(&request).await.row(), NOT_ACCEPTED);
    world.remove().await;
    let removed = world.integrations();
    let id = &connection.integration.id;
    assert!(removed.remove(&world.scope, id, world.clock_now()).await.unwrap());
    world.clock.advance(Duration::from_secs(6));
    // Only the right password is told that the integration is gone.
    assert_eq!(
        world.http(&request).await.row(),
        (410, Some("integration_removed"), None)
    );
    let wrong = with_credentials(to(recorded(), id), "events", "a:colon");
    assert_eq!(world.http(&wrong).await.row(), NOT_ACCEPTED);
}

#[tokio::test]
async fn credentials_of_an_unproven_region_open_nothing_though_the_account_is_proven() {
    let world = World::connected().await;
    let new = |name: &str, username: &str| NewRegion::Classic {
        region: name.parse().unwrap(),
        username: Username::parse(username).unwrap(),
        password: Password::parse(&events::PASSWORD.to_owned().into()).unwrap(),
    };
    let regions = [new(REGION, "proven"), new("us-east-1", "unproven")];
    let connection = world
        .integrations()
        .create(
            &world.scope,
            "Two regions",
            &regions,
            world.clock_now(),
            &OsRandomness,
        )
        .await
        .unwrap();
    let id = &connection.integration.id;
    prove(&world.outside, &world.scope, id, REGION, "444455556666").await;
    let send = async |username: &str, region: &str| {
        let mut event = push(&format!("{username}-{region}"));
        event["account"] = json!("444455556666");
        event["region"] = json!(region);
        world
            .http(&with_credentials(
                to(request(&event), id),
                username,
                events::PASSWORD,
            ))
            .await
    };
    assert_eq!(send("unproven", "us-east-1").await.row(), NOT_ACCEPTED);
    assert_eq!(send("unproven", REGION).await.row(), NOT_ACCEPTED);
    assert_eq!(world.outside.queues.take_scans(), []);
    assert_eq!(send("proven", REGION).await.row(), (202, None, None));
    assert_eq!(send("proven", "us-east-1").await.row(), (202, None, None));
    assert_eq!(world.outside.queues.take_scans().len(), 2);
}

#[tokio::test]
async fn a_removed_integration_is_gone_for_its_last_credentials_only() {
    let mut world = World::connected().await;
    assert_eq!(world.post(&push("before")).await.status, 202);
    world.remove().await;
    world.clock.advance(Duration::from_secs(61));
    let gone = (410, Some("integration_removed"), None);
    assert_eq!(world.post(&push("after")).await.row(), gone);
    let wrong = events::load("http_api_push_wrong_credentials");
    assert_eq!(world.http(&wrong).await.row(), NOT_ACCEPTED);
    world.restart();
    assert_eq!(world.post(&push("after")).await.row(), gone);
    assert_eq!(world.outside.queues.take_scans().len(), 1);
    // The operator sees whose stack was forgotten, and of strangers no more than that there are some.
    let unknown = IntegrationId::generate(&OsRandomness);
    for body in [push("unknown"), events::load("heartbeat")] {
        assert_eq!(
            world.http(&to(request(&body), &unknown)).await.row(),
            NOT_ACCEPTED
        );
    }
    let operator = portwarden_core::scope::OperatorScope::of_this_process();
    let directory = portwarden_core::integration::Directory::new(world.outside.clone());
    let orphans = directory.orphan_stacks(operator).await.unwrap();
    let orphans: Vec<_> = orphans
        .iter()
        .map(|orphan| (&orphan.integration, orphan.known, orphan.minutes))
        .collect();
    assert_eq!(orphans, [(world.id(), true, 1), (&unknown, false, 1)]);
}

#[tokio::test]
async fn a_table_or_a_queue_that_fails_or_hangs_is_answered_in_time() {
    let unavailable = (503, Some("unavailable"), Some("10"));
    for fault in [Fault::Before, Fault::After, Fault::Hangs, Fault::HangsAfter] {
        // Cold: the directory, the integration, the event, the queue.
        for nth in 1..=4 {
            let world = World::connected().await;
            let began = world.clock_now();
            world.outside.fail_at(nth, fault);
            assert_eq!(world.post(&push("e")).await.row(), unavailable, "{fault:?} {nth}");
            let took = world.clock_now().duration_since(began).as_millis();
            let hung = matches!(fault, Fault::Hangs | Fault::HangsAfter);
            assert_eq!(took, if hung { 3500 } else { 0 }, "{fault:?} {nth}");
        }
    }
}

#[tokio::test]
async fn a_flood_of_one_tenant_leaves_another_unhurt() {
    let world = World::connected().await;
    let neighbour = world.neighbour().await;
    let mut refused = None;
    for index in 0..1000 {
        let answer = world.post(&push(&format!("e-{index}"))).await;
        if answer.status != 202 {
            refused = Some((index, answer));
            break;
        }
    }
    let (accepted, answer) = refused.expect("a budget ends");
    assert_eq!(answer.row(), (429, Some("over_budget"), Some("1")));
    // What was refused is not kept, so it counts when it comes again.
    assert_eq!(world.outside.queues.take_scans().len(), accepted);
    let mut own = push("own");
    own["account"] = json!("444455556666");
    let own = with_credentials(
        to(request(&own), &neighbour.id),
        events::USERNAME,
        &neighbour.password,
    );
    assert_eq!(world.http(&own).await.status, 202);
    // A flood with wrong credentials costs the tenant nothing.
    world.clock.advance(Duration::from_secs(1));
    for _ in 0..100 {
        let wrong = events::load("http_api_push_wrong_credentials");
        assert_eq!(world.http(&wrong).await.row(), NOT_ACCEPTED);
    }
    assert_eq!(world.post(&push("again")).await.status, 202);
}
