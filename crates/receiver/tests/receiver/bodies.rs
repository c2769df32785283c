//! What the body of a right sender is answered with.

use portwarden_testkit::events;
use serde_json::json;

use crate::world::{World, event_with, request_with, request_with_body};

const MALFORMED: (u64, Option<&str>, Option<&str>) = (400, Some("event_malformed"), None);

#[tokio::test]
async fn what_is_no_event_is_malformed() {
    let world = World::connected().await;
    let text = events::load("ecr_push_tagged").to_string();
    let deep = format!("{{\"detail\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for (case, body) in [
        ("empty", ""),
        ("not JSON", "<event/>"),
        ("null", "null"),
        ("a list", &format!("[{text}]")),
        ("cut", &text[..text.len() - 1]),
        ("two", &format!("{text}{text}")),
        ("deep", &deep),
        ("a BOM", &format!("\u{feff}{text}")),
        ("a duplicate key", &text.replacen('{', "{\"id\":\"x\",", 1)),
        ("NaN", &text.replace("[]", "NaN")),
    ] {
        let answer = world.http(&request_with_body(body)).await;
        assert_eq!(answer.row(), MALFORMED, "{case}");
    }
}

#[tokio::test]
async fn what_an_event_says_is_held_to_its_grammar() {
    let world = World::connected().await;
    let refused = |code| (422, Some(code), None);
    let accepted = (202, None, None);
    for (field, value, answer) in [
        ("/id", json!(7), MALFORMED),
        ("/id", json!("a\nb"), MALFORMED),
        ("/id", json!("a".repeat(2048)), MALFORMED),
        ("/region", json!("EU-WEST-1"), MALFORMED),
        ("/time", json!("yesterday"), MALFORMED),
        ("/detail", json!("a text"), MALFORMED),
        ("/detail/repository-name", json!("a\u{1b}[2J"), MALFORMED),
        ("/detail/repository-name", json!("a\u{202e}b"), MALFORMED),
        // The first letter is Cyrillic.
        ("/detail/repository-name", json!("\u{455}hop/web"), MALFORMED),
        ("/detail/repository-name", json!("a".repeat(257)), MALFORMED),
        ("/detail/repository-name", json!("a".repeat(256)), accepted),
        ("/detail/image-digest", json!("sha256:0"), MALFORMED),
        ("/detail/image-tag", json!("<b>"), MALFORMED),
        ("/detail/image-tag", json!("1\r\nx: y"), MALFORMED),
        ("/account", json!("444455556666"), refused("other_account")),
        ("/account", json!("111122223333 "), MALFORMED),
        ("/source", json!("aws.s3"), refused("other_source")),
        ("/source", json!("AWS.ECR"), refused("other_source")),
        ("/source", json!(""), refused("other_source")),
        ("/detail-type", json!("ECR Novelty"), accepted),
        ("/replay-name", json!("an extra field"), accepted),
        ("/resources", json!({"of": "any kind"}), accepted),
    ] {
        let answered = world.http(&event_with(field, value.clone())).await;
        assert_eq!(answered.row(), answer, "{field}: {value}");
    }
}

#[tokio::test]
async fn base64_bodies_are_decoded_and_must_be_text() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let world = World::connected().await;
    let encoded = |bytes: &[u8]| {
        let mut request = request_with("/isBase64Encoded", true);
        request["body"] = json!(BASE64_STANDARD.encode(bytes));
        request
    };
    let text = events::load("ecr_push_tagged").to_string();
    assert_eq!(world.http(&encoded(text.as_bytes())).await.status, 202);
    let invalid = [text.as_bytes(), b"\xff"].concat();
    assert_eq!(
        world.http(&encoded(&invalid)).await.row(),
        (400, Some("event_malformed"), None)
    );
}

#[tokio::test]
async fn an_answer_says_nothing_of_what_the_sender_wrote() {
    let world = World::connected().await;
    for request in [
        event_with("/detail/image-tag", "<script>canary"),
        event_with("/source", "canary"),
        event_with("/id", "canary canary"),
        request_with_body("canary"),
        request_with("/rawPath", "/canary"),
    ] {
        let answer = world.http(&request).await;
        assert!(answer.status >= 400);
        assert!(!answer.whole.to_string().contains("canary"), "{answer:?}");
    }
}
