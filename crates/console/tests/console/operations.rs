use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::world::{Answer, World};

async fn page(world: &World, subject: &str, path: &str) -> Answer {
    let session = world.session(subject).await;
    let cookie = format!("__Host-portwarden={}", session.expose());
    let request = Request::get(path).header(header::COOKIE, cookie);
    world.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn operators_see_tenants_in_numbers_and_nothing_that_is_theirs() {
    let world = World::new().await;
    let (olga, ada) = (world.token("olga"), world.token("ada"));
    let body = json!({"name": "secret-name", "regions": ["eu-central-1"], "account": "111122223333"});
    let made = world
        .call(&ada, Method::POST, &world.path(0, "/integrations"), Some(body))
        .await;
    assert_eq!(made.status, StatusCode::CREATED);

    let first = world.get(&olga, "/v1/operations/tenants?limit=1").await.json();
    let next = first["next_cursor"].as_str().unwrap();
    let second = world
        .get(&olga, &format!("/v1/operations/tenants?limit=1&cursor={next}"))
        .await
        .json();
    assert!(second["next_cursor"].is_null());
    let all = [&first["items"][0], &second["items"][0]];
    let shop = all.iter().find(|tenant| tenant["name"] == "Shop").unwrap();
    assert_eq!(shop["regions"], json!({"pending": 1}));
    assert!(shop["median_seconds_to_report"].is_null());

    let seen = page(&world, "olga", "/operations").await;
    assert_eq!(seen.status, StatusCode::OK);
    assert!(seen.body.contains("Shop") && seen.body.contains("Bank"));
    for told in [&seen.body, &json!([first, second]).to_string()] {
        assert!(
            !told.contains("secret-name") && !told.contains("111122223333"),
            "{told}"
        );
    }
    // Whoever is no operator finds nothing.
    assert_eq!(
        page(&world, "ada", "/operations").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        page(&world, "olga", "/operations?after=x").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_was_given_up_is_put_back() {
    let world = World::new().await;
    let olga = world.token("olga");
    world.queues.bury(130);
    let dead = async || {
        let shown = world.get(&olga, "/v1/operations").await.json();
        assert!(shown["advisories"].is_null());
        shown["queues"][0]["dead"].as_u64().unwrap()
    };
    assert_eq!(dead().await, 130);
    let redrive = async |queue: &str| {
        let path = format!("/v1/operations/queues/{queue}/redrive");
        world.call(&olga, Method::POST, &path, None).await
    };
    assert_eq!(redrive("scan").await.json()["moved"], 100);
    assert_eq!(dead().await, 30);
    assert_eq!(redrive("other").await.status, StatusCode::NOT_FOUND);

    let session = world.session("olga").await;
    let cookie = format!("__Host-portwarden={}", session.expose());
    let put_back = async |csrf: &str| {
        let request = Request::post("/operations/redrive")
            .header(header::COOKIE, &cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("queue=scan&csrf={csrf}")));
        world.send(request.unwrap()).await
    };
    assert_eq!(put_back("x").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(dead().await, 30);
    let shown = page(&world, "olga", "/operations").await.body;
    assert!(shown.contains("Put back"), "{shown}");
    let csrf = session.derive("csrf");
    let done = put_back(&csrf).await;
    assert_eq!(
        (done.status, done.header("location")),
        (StatusCode::SEE_OTHER, "/operations?moved=30")
    );
    assert_eq!(dead().await, 0);
}
