use std::{fs, path::Path};

use crate::world::World;

#[tokio::test]
async fn the_document_in_the_repository_is_what_the_handlers_say_and_what_is_served() {
    let world = World::new().await;
    let served = world.get("", "/v1/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.json()["openapi"], "3.1.0");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(served.body, kept);
    let written = portwarden_console::api::document::write();
    if kept != written {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi.json");
        fs::write(&new, written).unwrap();
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

#[tokio::test]
async fn every_write_takes_a_key_every_list_pages_and_what_two_may_change_carries_its_revision() {
    let document = World::new().await.get("", "/v1/openapi.json").await.json();
    let parameters = |operation: &serde_json::Value| -> Vec<String> {
        let all = operation["parameters"].as_array().into_iter().flatten();
        all.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let has_etag =
        |operation: &serde_json::Value| operation["responses"]["200"]["headers"]["ETag"].is_object();
    let (mut lists, mut changes) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let parameters = parameters(operation);
            let takes = |name: &str| parameters.iter().any(|one| one == name);
            assert_eq!(takes("Idempotency-Key"), method != "get", "{id}");
            // The links of the few regions that can be launched come together.
            if (id.starts_with("list") || id.starts_with("search")) && id != "listLaunchLinks" {
                assert!(takes("cursor") && takes("limit"), "{id}");
                let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
                let answer = answer.as_str().unwrap();
                assert!(answer.starts_with("#/components/schemas/Page_"), "{id}: {answer}");
                lists += 1;
            }
            if method == "patch" {
                assert!(
                    takes("If-Match") && has_etag(operation) && has_etag(&item["get"]),
                    "{path}"
                );
                assert!(operation["responses"]["412"].is_object(), "{path}");
                changes += 1;
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let is_refusal = status.starts_with(['4', '5']) && id != "showHealth";
                let has_problem = answer["content"]["application/problem+json"].is_object();
                assert_eq!(has_problem, is_refusal, "{id}: {status}");
            }
        }
    }
    assert!(lists > 10 && changes >= 3, "{lists} lists, {changes} changes");
}
