//! Writes that are sent again, and changes of two people at once.

use http::{Method, StatusCode};
use serde_json::json;

use crate::world::{Answer, World};

async fn create(world: &World, who: &str, key: &str, name: &str) -> Answer {
    let body = json!({"name": name, "regions": ["eu-central-1"], "classic": {"username": "events"}});
    let path = world.path(0, "/integrations");
    let headers = [("idempotency-key", key)];
    world
        .call_with(who, Method::POST, &path, Some(body), &headers)
        .await
}

async fn count(world: &World, who: &str) -> usize {
    let listed = world.get(who, &world.path(0, "/integrations")).await.json();
    listed["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_write_that_is_sent_again_is_done_once() {
    let world = World::new().await;
    let ada = world.token("ada");
    let first = create(&world, &ada, "one", "production").await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let password = first.json()["password"].as_str().unwrap().to_owned();
    let again = create(&world, &ada, "one", "production").await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.header("content-type"), "application/json");
    assert_eq!(again.json()["id"], first.json()["id"]);
    // What is shown once is shown once.
    assert!(again.json()["password"].is_null(), "{}", again.body);
    assert!(!format!("{:?}", world.store.dump()).contains(&password));
    assert_eq!(count(&world, &ada).await, 1);

    assert_eq!(
        create(&world, &ada, "one", "staging").await.code(),
        "idempotency_key_used"
    );
    // The next day it is another write; so is somebody else's, and the same without a key.
    world.clock.advance(std::time::Duration::from_hours(24));
    let ada = world.token("ada");
    create(&world, &ada, "one", "staging").await;
    assert_eq!(count(&world, &ada).await, 2);
    for bad in ["", "a b", "ü", &"x".repeat(129)] {
        let refused = create(&world, &ada, bad, "production").await;
        assert_eq!(refused.code(), "idempotency_key_invalid", "{bad:?}");
    }
}

#[tokio::test]
async fn a_write_that_is_refused_can_be_mended_under_the_same_key() {
    let world = World::new().await;
    let ada = world.token("ada");
    let refused = create(&world, &ada, "one", "").await;
    assert_eq!(refused.code(), "name_invalid");
    assert_eq!(
        create(&world, &ada, "one", "production").await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn keys_of_others_are_not_ours() {
    let world = World::new().await;
    let (ada, rex, zoe) = (world.token("ada"), world.token("rex"), world.token("zoe"));
    let made = create(&world, &ada, "one", "production").await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(
        create(&world, &rex, "one", "production").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        create(&world, &zoe, "one", "production").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn twenty_at_once_make_one() {
    let world = World::new().await;
    let ada = world.token("ada");
    let answers =
        futures_util::future::join_all((0..20).map(|_| create(&world, &ada, "k", "production"))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert!(
        statuses.iter().all(|status| [201, 409].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(count(&world, &ada).await, 1);
}

#[tokio::test]
async fn of_two_changes_of_what_both_have_read_one_is_made() {
    let world = World::new().await;
    let ada = world.token("ada");
    let made = create(&world, &ada, "one", "production").await;
    let path = made.header("location").to_owned();
    let read = world.get(&ada, &path).await;
    let etag = read.header("etag").to_owned();
    let rename = async |name: &str, etag: &str| {
        let headers = [("if-match", etag)];
        world
            .call_with(&ada, Method::PATCH, &path, Some(json!({"name": name})), &headers)
            .await
    };
    let first = rename("one", &etag).await;
    assert_eq!(
        (first.status, first.json()["name"].as_str()),
        (StatusCode::OK, Some("one"))
    );
    let second = rename("two", &etag).await;
    assert_eq!(second.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(second.code(), "changed_in_between");
    assert_eq!(
        rename("two", "W/\"1\"").await.status,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(rename("two", first.header("etag")).await.status, StatusCode::OK);
    assert_eq!(rename("three", "*").await.status, StatusCode::OK);
    assert_eq!(world.get(&ada, &path).await.json()["name"], "three");
}
