//! What a process remembers of endpoints, and for how long.

use std::time::Duration;

use portwarden_core::{endpoint::Password, id::IntegrationId, random::OsRandomness};
use portwarden_testkit::events;

use crate::world::{World, push, request, to, with_credentials};

#[tokio::test]
async fn an_endpoint_accepts_for_a_minute() {
    let world = World::connected().await;
    assert_eq!(world.post(&push("1")).await.status, 202);
    world.outside.count_anew();
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(world.post(&push("2")).await.status, 202);
    assert_eq!(world.outside.calls(), ["write", "queue_scan"]);
    world.clock.advance(Duration::from_secs(1));
    world.outside.count_anew();
    assert_eq!(world.post(&push("3")).await.status, 202);
    assert_eq!(world.outside.calls(), ["get", "query", "write", "queue_scan"]);
}

#[tokio::test]
async fn endpoints_are_remembered_side_by_side() {
    let world = World::connected().await;
    let neighbour = world.neighbour().await;
    let own = |id: &str| {
        let mut event = push(id);
        event["account"] = "444455556666".into();
        let request = to(request(&event), &neighbour.id);
        with_credentials(request, events::USERNAME, &neighbour.password)
    };
    for id in ["1", "2"] {
        assert_eq!(world.post(&push(id)).await.status, 202);
        assert_eq!(world.http(&own(id)).await.status, 202);
        let calls = world.outside.calls();
        world.outside.count_anew();
        assert_eq!(calls.contains(&"get"), id == "1", "{calls:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_missing_is_looked_for_anew_after_five_seconds() {
    let world = World::connected().await;
    let request = to(request(&push("e")), &IntegrationId::generate(&OsRandomness));
    for (advance, calls) in [(0, &["get"][..]), (4999, &[]), (1, &["get"])] {
        world.clock.advance(Duration::from_millis(advance));
        world.outside.count_anew();
        assert_eq!(world.http(&request).await.status, 429);
        assert_eq!(world.outside.calls(), calls, "{advance} ms later");
    }
}

#[tokio::test]
async fn a_proof_works_within_seconds() {
    let world = World::saved().await;
    assert_eq!(world.post(&push("1")).await.status, 429);
    world.prove("eu-west-1").await;
    world.clock.advance(Duration::from_secs(4));
    assert_eq!(world.post(&push("1")).await.status, 429);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.post(&push("1")).await.status, 202);
}

#[tokio::test]
async fn wrong_credentials_are_refused_without_a_read_for_each() {
    let world = World::connected().await;
    assert_eq!(world.post(&push("1")).await.status, 202);
    world.clock.advance(Duration::from_secs(10));
    world.outside.count_anew();
    let wrong = events::load("http_api_push_wrong_credentials");
    for _ in 0..100 {
        assert_eq!(world.http(&wrong).await.status, 429);
    }
    // It is looked up anew once, since credentials may have been changed, and not again for five seconds.
    assert_eq!(world.outside.calls(), ["get", "query"]);
}

#[tokio::test]
async fn the_same_calls_are_made_whatever_is_wrong_with_the_credentials() {
    let calls = async |authorization: Option<&str>| {
        let world = World::connected().await;
        let mut request = request(&push("e"));
        match authorization {
            Some(value) => request["headers"]["authorization"] = value.into(),
            None => drop(
                request["headers"]
                    .as_object_mut()
                    .unwrap()
                    .remove("authorization"),
            ),
        }
        world.outside.count_anew();
        assert_eq!(world.http(&request).await.status, 429);
        world.outside.calls()
    };
    let generated = Password::generate(&OsRandomness);
    let password = secrecy::ExposeSecret::expose_secret(generated.secret());
    let basic = |text: &str| {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        format!("Basic {}", BASE64_STANDARD.encode(text))
    };
    assert_eq!(calls(None).await, ["get", "query"]);
    for header in [
        basic(&format!("{}:{password}", events::USERNAME)),
        basic(&format!("nobody:{}", events::PASSWORD)),
        basic(&format!("{}:{}", events::USERNAME, &events::PASSWORD[..32])),
        "garbled".to_owned(),
    ] {
        assert_eq!(calls(Some(&header)).await, ["get", "query"], "{header}");
    }
}

#[tokio::test]
async fn a_flood_of_invented_ids_displaces_nothing_and_reads_each_once() {
    let world = World::connected().await;
    assert_eq!(world.post(&push("before")).await.status, 202);
    world.outside.count_anew();
    let body = request(&push("e"));
    let invented = IntegrationId::generate(&OsRandomness);
    for _ in 0..100 {
        assert_eq!(world.http(&to(body.clone(), &invented)).await.status, 429);
    }
    assert_eq!(world.outside.calls(), ["get"]);
    for _ in 0..3000 {
        let invented = IntegrationId::generate(&OsRandomness);
        assert_eq!(world.http(&to(body.clone(), &invented)).await.status, 429);
    }
    assert_eq!(world.outside.calls().len(), 3001);
    world.outside.count_anew();
    assert_eq!(world.post(&push("after")).await.status, 202);
    assert_eq!(world.outside.calls(), ["write", "queue_scan"]);
}
