//! What gets into the log, at the most talkative level.

use portwarden_receiver::handler::handle;
use portwarden_testkit::{
    events,
    log::{Log, listen},
};
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;

use crate::world::{Answer, Fault, World, push, request, request_with_body, with_credentials};

/// Collects every line that this thread logs, of every crate and level.
fn capture() -> (Log, DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    (log, listen(subscriber))
}

#[tokio::test]
async fn each_invocation_leaves_one_line_with_what_is_known_of_it() {
    let world = World::connected().await;
    let (log, _guard) = capture();
    world.post(&push("e-1")).await;
    let [line] = &log.take_lines()[..] else {
        panic!("one line")
    };
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["tenant.id"], world.scope.tenant().as_str());
    assert_eq!(line["integration.id"], events::INTEGRATION);
    assert_eq!(
        (&line["event.id"], &line["event.kind"]),
        (&json!("e-1"), &json!("image_pushed"))
    );
    assert_eq!(
        (&line["outcome.name"], &line["duration_ms"]),
        (&json!("new"), &json!(0))
    );
    world.post(&push("e-1")).await;
    assert_eq!(log.take_lines()[0]["outcome.name"], "repeated");
    world.http(&events::load("http_api_push_wrong_credentials")).await;
    let [line] = &log.take_lines()[..] else {
        panic!("one line")
    };
    assert_eq!(
        (&line["outcome.code"], &line["outcome.reason"]),
        (&json!("not_accepted"), &json!("credentials"))
    );
    assert_eq!((&line["level"], line.get("tenant.id")), (&json!("WARN"), None));
    world.outside.fail_at(1, Fault::Before);
    world.post(&push("e-2")).await;
    let [line] = &log.take_lines()[..] else {
        panic!("one line")
    };
    assert_eq!(
        (&line["level"], &line["outcome.code"]),
        (&json!("ERROR"), &json!("unavailable"))
    );
    assert_eq!(
        line["outcome.error"],
        "the table is unavailable: the connection broke"
    );
    world.outside.fail_at(1, Fault::Hangs);
    world.post(&push("e-3")).await;
    assert_eq!(log.take_lines()[0]["duration_ms"], 3500);
}

#[tokio::test]
async fn a_delivery_goes_under_the_trace_of_its_events_first() {
    let world = World::connected().await;
    let (log, _guard) = capture();
    let deliver = async |id: &str, header: Option<&str>| {
        let answer = handle(&world.context, &request(&push(id)), header).await.unwrap();
        assert_eq!(Answer::of(&answer).status, 202);
        let traces: Vec<_> = log
            .take_lines()
            .iter()
            .map(|line| line["trace.id"].clone())
            .collect();
        let queued = world.outside.queues.take_scans();
        let queued: Vec<_> = queued.iter().map(|scan| json!(scan.trace)).collect();
        assert_eq!(traces, queued);
        traces[0].as_str().unwrap().to_owned()
    };
    let first = "1-5759e988-bd862e3fe1be46a994272793";
    let header = format!("Root={first};Parent=53995c3f42cd8ad8;Sampled=0");
    assert_eq!(deliver("e-1", Some(&header)).await, first);
    let later = "Root=1-5759e999-000000000000000000000001";
    assert_eq!(deliver("e-1", Some(later)).await, first);
    assert_eq!(deliver("e-1", None).await, first);
    // Without a header that can be read a trace begins here.
    let [bare, garbled] = [deliver("e-2", None).await, deliver("e-3", Some("Root=x")).await];
    let now = format!("1-{:08x}-", world.clock_now().as_second());
    assert!(bare != garbled && bare.starts_with(&now), "{bare} {garbled}");
}

#[tokio::test]
async fn no_secret_and_no_text_of_a_sender_is_logged() {
    let world = World::connected().await;
    let (log, _guard) = capture();
    let canary = "canary-4f1d";
    let encoded = {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        BASE64_STANDARD.encode(format!("{canary}:{canary}"))
    };
    let mut requests = vec![
        with_credentials(request_with_body("{}"), canary, canary),
        request_with_body(canary),
        request_with_body(&format!("{{\"id\": \"{canary}\"}}")),
    ];
    for (field, value) in [
        ("/rawPath", json!(format!("/{canary}"))),
        ("/requestContext/http/method", json!(canary)),
        ("/headers/authorization", json!(canary)),
        ("/headers/content-type", json!(canary)),
        ("/headers/content-encoding", json!(canary)),
        ("/headers", json!([canary])),
    ] {
        let mut request = events::load("http_api_push_right_credentials");
        *request.pointer_mut(field).unwrap_or(&mut Value::Null) = value.clone();
        if field.ends_with("encoding") {
            request["headers"]["content-encoding"] = value;
        }
        requests.push(request);
    }
    for (field, value) in [
        (
            "detail",
            json!({"repository-name": canary.to_uppercase(), "image-digest": canary}),
        ),
        ("source", json!(canary)),
        ("account", json!(canary)),
        ("id", json!(format!("{canary}\r\n{{\"level\":\"INFO\"}}"))),
        ("time", json!(canary)),
    ] {
        let mut event = push("e");
        event[field] = value;
        requests.push(request_with_body(&event.to_string()));
    }
    let count = requests.len();
    for request in &requests {
        assert!(world.http(request).await.status >= 400, "{request}");
    }
    // The right credentials leave as little, whether they open or not.
    assert_eq!(world.post(&push("e")).await.status, 202);
    let text = log.text();
    assert_eq!(log.take_lines().len(), count + 1);
    let header = events::load("http_api_push_right_credentials")["headers"]["authorization"].to_string();
    for secret in [
        canary,
        &canary.to_uppercase(),
        &encoded,
        events::PASSWORD,
        header.trim_matches('"'),
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
