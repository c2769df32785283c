use http::{Method, StatusCode};
use portwarden_core::access::Role;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn an_account_is_connected_the_classic_way() {
    let world = World::new().await;
    let ada = world.token("ada");
    let list = world.path(0, "/integrations");
    let body = json!({
        "name": "production", "regions": ["us-east-1", "eu-central-1", "us-east-1"],
        "classic": {"username": "events"},
    });
    let made = world.call(&ada, Method::POST, &list, Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let created = made.json();
    assert_eq!(created["tenant_name"], "Shop");
    assert_eq!(created["links"].as_array().unwrap().len(), 2);
    assert!(created["password"].as_str().unwrap().len() >= 24);
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        created["events_url"],
        format!("https://console.example/v1/events/{id}")
    );

    let one = format!("{list}/{id}");
    let shown = world.get(&ada, &one).await;
    assert!(
        !shown.body.contains("password") && !shown.body.contains("salt"),
        "{}",
        shown.body
    );
    assert_eq!(
        shown.json()["regions"]["us-east-1"]["usernames"],
        json!(["events"])
    );

    let verify = format!("{one}/regions/us-east-1/verification");
    let unnamed = world.call(&ada, Method::POST, &verify, Some(json!({}))).await;
    assert_eq!(unnamed.code(), "role_unnamed");
    let role = json!({"role_arn": "arn:aws:iam::111122223333:role/r"});
    let queued = world.call(&ada, Method::POST, &verify, Some(role)).await;
    assert_eq!(queued.status, StatusCode::ACCEPTED);
    let requests = world.queues.take_verifications();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].request.as_str(), queued.json()["request"]);
    assert_eq!(requests[0].tenant, world.tenants[0]);

    let confirm = format!("{one}/confirmation");
    let nothing = world.call(&ada, Method::POST, &confirm, Some(json!({}))).await;
    assert_eq!(nothing.code(), "nothing_proposed");
    let ours = world.call(
        &ada,
        Method::POST,
        &confirm,
        Some(json!({"account": "999988887777"})),
    );
    assert_eq!(ours.await.code(), "account_ours");
    let named = world.call(
        &ada,
        Method::POST,
        &confirm,
        Some(json!({"account": "111122223333"})),
    );
    assert_eq!(named.await.json()["account"], "111122223333");

    let rotate = format!("{one}/regions/us-east-1/rotation");
    assert_eq!(
        world.call(&ada, Method::POST, &rotate, None).await.code(),
        "credentials_chosen"
    );
    let links = world.get(&ada, &format!("{one}/launch-links")).await.json();
    assert_eq!(links["links"].as_array().unwrap().len(), 10);

    assert_eq!(
        world.call(&ada, Method::DELETE, &one, None).await.status,
        StatusCode::NO_CONTENT
    );
    let late = world.call(&ada, Method::POST, &verify, Some(json!({}))).await;
    assert_eq!(late.code(), "integration_removed");
    assert_eq!(
        world.call(&ada, Method::DELETE, &one, None).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn nobody_chooses_what_is_ours_to_make() {
    let world = World::new().await;
    let ada = world.token("ada");
    let list = world.path(0, "/integrations");
    for field in [
        "external_id",
        "externalId",
        "ExternalId",
        "id",
        "tenant",
        "EXTERNAL_ID",
    ] {
        let mut body = json!({"name": "n", "regions": ["eu-central-1"]});
        body[field] = json!("pw-00000000000000000000000000");
        let refused = world.call(&ada, Method::POST, &list, Some(body)).await;
        assert_eq!(refused.code(), "body_invalid", "{field}");
    }
    for body in [
        json!({"name": "n", "regions": []}),
        json!({"name": "n", "regions": ["Mars"]}),
        json!({"name": "n\nn", "regions": ["eu-central-1"]}),
        json!({"name": "n", "regions": ["eu-central-1"], "account": "1"}),
        json!({"name": "n", "regions": ["eu-central-1"], "classic": {"username": "a:b"}}),
        json!({"name": "n", "regions": ["eu-central-1"], "classic": {"username": "a", "password": "short"}}),
        json!([]),
    ] {
        let refused = world.call(&ada, Method::POST, &list, Some(body.clone())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
    }
    let ours = json!({"name": "n", "regions": ["eu-central-1"], "account": "999988887777"});
    assert_eq!(
        world.call(&ada, Method::POST, &list, Some(ours)).await.code(),
        "account_ours"
    );
    assert_eq!(world.get(&ada, &list).await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_foreign_integration_is_as_a_missing_one() {
    let world = World::new().await;
    let (ada, zoe) = (world.token("ada"), world.token("zoe"));
    let body = json!({"name": "n", "regions": ["eu-central-1"]});
    let made = world
        .call(&zoe, Method::POST, &world.path(1, "/integrations"), Some(body))
        .await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let missing = "i-00000000000000000000000000";
    for (method, rest, body) in [
        (Method::GET, "", None),
        (Method::PATCH, "", Some(json!({"name": "x"}))),
        (Method::DELETE, "", None),
        (
            Method::POST,
            "/confirmation",
            Some(json!({"account": "111122223333"})),
        ),
        (
            Method::POST,
            "/regions/eu-central-1/verification",
            Some(json!({})),
        ),
        (Method::POST, "/regions/eu-central-1/rotation", None),
        (Method::GET, "/launch-links", None),
    ] {
        let call = async |id: &str| {
            let path = world.path(0, &format!("/integrations/{id}{rest}"));
            let answer = world.call(&ada, method.clone(), &path, body.clone()).await;
            (answer.status, answer.body)
        };
        let foreign = call(&id).await;
        assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{method} {rest}");
        assert_eq!(foreign, call(missing).await, "{method} {rest}");
        assert_eq!(foreign, call("no-id").await, "{method} {rest}");
    }
    assert_eq!(world.get(&zoe, made.header("location")).await.json()["name"], "n");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    let ada = world.token("ada");
    let list = world.path(0, "/integrations");
    for name in ["a", "b", "c", "d", "e"] {
        let body = json!({"name": name, "regions": ["eu-central-1"]});
        world.call(&ada, Method::POST, &list, Some(body)).await;
        world.api_key(0, Role::Reader).await;
    }
    for list in [list.clone(), world.path(0, "/api-keys")] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = world.get(&ada, &format!("{list}?limit=2{cursor}")).await.json();
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()));
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        let mut all = seen.clone();
        all.sort();
        all.dedup();
        assert_eq!((seen.len(), &seen), (5, &all), "{list}");
    }
    for bad in [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "cursor=",
        "unknown=1",
    ] {
        let refused = world.get(&ada, &format!("{list}?{bad}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn an_account_that_is_named_beforehand_needs_no_confirmation_and_gets_further_regions() {
    let world = World::new().await;
    let ada = world.token("ada");
    let list = world.path(0, "/integrations");
    let body = json!({"name": "n", "regions": ["eu-central-1"], "account": "111122223333"});
    let writes = world.store.dump().len();
    let made = world.call(&ada, Method::POST, &list, Some(body)).await.json();
    assert_eq!(made["account"], "111122223333");
    // The integration, its two ids, its region and the region's turn: it was written once, with its account.
    assert_eq!(world.store.dump().len(), writes + 5);
    let one = format!("{list}/{}", made["id"].as_str().unwrap());
    let shown = world.get(&ada, &one).await;
    assert_eq!(shown.header("etag"), "\"1\"");

    let region = format!("{one}/regions/eu-west-1");
    for _ in 0..2 {
        let added = world.call(&ada, Method::PUT, &region, None).await;
        assert_eq!(added.status, StatusCode::NO_CONTENT);
    }
    let regions = world.get(&ada, &one).await.json()["regions"].clone();
    assert_eq!(regions.as_object().unwrap().len(), 2);
    let wrong = world
        .call(&ada, Method::PUT, &format!("{one}/regions/Mars"), None)
        .await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND);
}
