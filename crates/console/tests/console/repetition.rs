//! Writes that are sent again, and changes of two people at once.

use std::sync::{
    Arc,
    atomic::{AtomicIsize, Ordering},
};

use async_trait::async_trait;
use http::{Method, StatusCode};
use portwarden_core::store::{
    Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError,
};
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// A table that loses the answer to one write, which it has made or not.
struct Lossy {
    table: Arc<MemoryStore>,
    /// How many writes are answered before that one.
    answered: Arc<AtomicIsize>,
    is_made: bool,
}

#[async_trait]
impl Store for Lossy {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.table.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.table.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let is_lost = self.answered.fetch_sub(1, Ordering::SeqCst) == 0;
        if !is_lost || self.is_made {
            self.table.write(writes).await?;
        }
        let lost = || WriteError::Store(StoreError::Unavailable("the answer is lost".into()));
        if is_lost { Err(lost()) } else { Ok(()) }
    }
}

/// A world whose table loses an answer once it is told how many are given before.
async fn lossy(is_made: bool) -> (World, Arc<AtomicIsize>) {
    let answered = Arc::new(AtomicIsize::new(-1));
    let told = answered.clone();
    let world = World::over(move |table| {
        Arc::new(Lossy {
            table,
            answered,
            is_made,
        })
    });
    (world.await, told)
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_has_one_effect_or_none() {
    let things = [
        ("/integrations", json!({"name": "n", "regions": ["eu-central-1"]})),
        (
            "/webhooks",
            json!({"name": "n", "url": "https://hooks.example.com/"}),
        ),
        ("/api-keys", json!({"name": "n", "role": "reader", "days": 1})),
    ];
    for is_made in [true, false] {
        let (world, answered) = lossy(is_made).await;
        let ada = world.token("ada");
        for (rest, body) in &things {
            let list = world.path(0, rest);
            let send = async |key: &str| {
                let key = format!("{rest}{key}");
                let headers = [("idempotency-key", &*key)];
                world
                    .call_with(&ada, Method::POST, &list, Some(body.clone()), &headers)
                    .await
            };
            let count = async || {
                let listed: Value = world.get(&ada, &list).await.json();
                listed["items"].as_array().unwrap().len()
            };
            // That it is begun is written first.
            answered.store(1, Ordering::SeqCst);
            assert_eq!(send("one").await.code(), "unavailable", "{rest}");
            assert_eq!(count().await, usize::from(is_made), "{rest}");
            for _ in 0..2 {
                assert_eq!(send("one").await.code(), "write_interrupted", "{rest}");
            }
            assert_eq!(count().await, usize::from(is_made), "{rest}");
            assert_eq!(send("two").await.status, StatusCode::CREATED, "{rest}");
            assert_eq!(count().await, usize::from(is_made) + 1, "{rest}");
        }
    }
}

#[tokio::test]
async fn a_write_that_has_one_effect_however_often_it_is_done_is_done_again() {
    let (world, answered) = lossy(true).await;
    let ada = world.token("ada");
    let made = create(&world, &ada, "one", "production").await;
    let path = format!("{}/regions/us-east-1", made.header("location"));
    let put = async || {
        let headers = [("idempotency-key", "two")];
        world.call_with(&ada, Method::PUT, &path, None, &headers).await
    };
    answered.store(1, Ordering::SeqCst);
    assert_eq!(put().await.code(), "unavailable");
    assert_eq!(put().await.status, StatusCode::NO_CONTENT);
    let regions = world.get(&ada, made.header("location")).await.json()["regions"].clone();
    assert_eq!(regions.as_object().unwrap().len(), 2);
}

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

#[tokio::test]
async fn somebody_who_is_nowhere_yet_redeems_an_invitation_once_and_is_answered_alike() {
    let world = World::new().await;
    let (ada, sam, zoe) = (world.token("ada"), world.token("sam"), world.token("zoe"));
    let role = json!({"role": "reader"});
    let invited = world
        .call(&ada, Method::POST, &world.path(0, "/invitations"), Some(role))
        .await;
    let body = json!({"token": invited.json()["token"]});
    let redeem = async |bearer: &str, key: &str| {
        let headers = [("idempotency-key", key)];
        world
            .call_with(
                bearer,
                Method::POST,
                "/v1/me/invitations",
                Some(body.clone()),
                &headers,
            )
            .await
    };
    let first = redeem(&sam, "mine").await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let again = redeem(&sam, "mine").await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    // Under another key it is another write, and so it is for another person.
    assert_eq!(redeem(&sam, "other").await.code(), "invitation_invalid");
    assert_eq!(redeem(&zoe, "mine").await.code(), "invitation_invalid");
}
