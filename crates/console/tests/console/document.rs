use std::{fs, path::Path};

use crate::world::World;

#[tokio::test]
async fn the_document_in_the_repository_is_the_one_that_is_served() {
    let world = World::new().await;
    let served = world.get("", "/v1/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.json()["openapi"], "3.1.0");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if kept != served.body {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi.json");
        fs::write(&new, &served.body).unwrap();
        panic!(
            "the API has changed: if that is meant, copy {} to docs/openapi.json",
            new.display()
        );
    }
}

#[tokio::test]
async fn what_is_nowhere_and_what_is_not_done_there_are_told_apart() {
    let world = World::new().await;
    let nowhere = world.get("", "/v1/nothing").await;
    assert_eq!(
        (nowhere.status.as_u16(), nowhere.code()),
        (404, "not_found".to_owned())
    );
    assert_eq!(nowhere.header("content-type"), "application/problem+json");
    let page = world
        .call_with(
            "",
            http::Method::GET,
            "/nothing",
            None,
            &[("accept", "text/html,*/*;q=0.8")],
        )
        .await;
    assert_eq!(page.status.as_u16(), 404);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let method = world.call("", http::Method::PUT, "/v1/tenants", None).await;
    assert_eq!(
        (method.status.as_u16(), method.code()),
        (405, "method_not_allowed".to_owned())
    );
}
