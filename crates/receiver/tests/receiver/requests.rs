//! What the outside of a request is answered with, and how it is told from an event of the rule.

use portwarden_core::id::IntegrationId;
use portwarden_receiver::handler::handle;
use portwarden_testkit::events;
use serde_json::{Value, json};

use crate::world::{World, push, recorded, request_with, request_with_body};

#[tokio::test]
async fn only_the_path_of_an_endpoint_leads_anywhere() {
    let world = World::connected().await;
    let id = events::INTEGRATION;
    for path in [
        String::new(),
        "/".to_owned(),
        "/v1/events/".to_owned(),
        "/v1/events/mine".to_owned(),
        format!("/v1/events/{id}/"),
        format!("/v1/events/{id}?"),
        format!("/v1//events/{id}"),
        format!("//v1/events/{id}"),
        format!("/v1/events%2F{id}"),
        format!("/v1/events/%69{}", &id[1..]),
        format!("/v1/x/../events/{id}"),
        format!("/v1/events/{}", id.to_uppercase()),
        format!("/V1/EVENTS/{id}"),
        format!("/v1/events/{id}\0"),
        format!(" /v1/events/{id}"),
    ] {
        let answer = world.http(&request_with("/rawPath", path.as_str())).await;
        assert_eq!(answer.row(), (404, Some("no_such_path"), None), "{path:?}");
    }
}

#[tokio::test]
async fn only_post_is_answered() {
    let world = World::connected().await;
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "DELETE", "post", ""] {
        let answer = world
            .http(&request_with("/requestContext/http/method", method))
            .await;
        assert_eq!(
            answer.row(),
            (405, Some("method_not_allowed"), None),
            "{method:?}"
        );
        assert_eq!(answer.whole["headers"]["allow"], "POST");
    }
}

#[tokio::test]
async fn what_surrounds_a_body_is_answered_by_the_table() {
    let world = World::connected().await;
    let content_type = |value: &str| request_with("/headers/content-type", value);
    let mut without_type = recorded();
    without_type["headers"]
        .as_object_mut()
        .unwrap()
        .remove("content-type");
    let of_size = |size: usize| {
        let event = events::load("ecr_push_tagged").to_string();
        request_with_body(&format!("{event}{}", " ".repeat(size - event.len())))
    };
    let encoding = |value: &str| request_with("/headers/content-encoding", value);
    let accepted = (202, None, None);
    let content = (415, Some("content_type"), None);
    let encoded = (415, Some("body_encoded"), None);
    let unreadable = (400, Some("request_unreadable"), None);
    for (case, request, answer) in [
        ("as recorded", recorded(), accepted),
        ("a query", request_with("/rawQueryString", "a=b"), accepted),
        ("1 MiB", of_size(1024 * 1024), accepted),
        (
            "and a byte",
            of_size(1024 * 1024 + 1),
            (413, Some("body_too_large"), None),
        ),
        ("gzip", encoding("gzip"), encoded),
        ("identity", encoding("identity"), encoded),
        ("text", content_type("text/plain"), content),
        (
            "charset",
            content_type("application/json; charset=utf-16"),
            content,
        ),
        ("nearly JSON", content_type("application/json5"), content),
        ("no type", without_type, content),
        ("bare type", content_type("application/json"), accepted),
        (
            "loud type",
            content_type("APPLICATION/JSON;charset=\"UTF-8\""),
            accepted,
        ),
        (
            "no method",
            request_with("/requestContext/http", json!({})),
            unreadable,
        ),
        (
            "no context",
            request_with("/requestContext", json!(null)),
            unreadable,
        ),
        ("not base64", request_with("/isBase64Encoded", true), unreadable),
    ] {
        assert_eq!(world.http(&request).await.row(), answer, "{case}");
    }
}

#[tokio::test]
async fn the_envelope_alone_tells_http_from_eventbridge() {
    let world = World::connected().await;
    // An HTTP request whose body looks like an HTTP request, or like an event of the operator's.
    let mut operators = push("e");
    operators["account"] = json!("999988887777");
    assert_eq!(
        world.post(&operators).await.row(),
        (422, Some("other_account"), None)
    );
    assert_eq!(
        world.post(&recorded()).await.row(),
        (400, Some("event_malformed"), None)
    );
    // An event of the rule that carries an HTTP envelope inside is still the operator's.
    operators["detail"]["requestContext"] = recorded()["requestContext"].clone();
    operators["detail"]["headers"] = recorded()["headers"].clone();
    assert_eq!(
        handle(&world.context, &operators, None).await.unwrap(),
        Value::Null
    );
    let scans = world.outside.queues.take_scans();
    assert_eq!(scans.len(), 1);
    assert_eq!(scans[0].integration, IntegrationId::operator());
}
