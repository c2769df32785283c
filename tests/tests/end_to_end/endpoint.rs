//! What the event endpoint answers, through the HTTP API.

use portwarden_aws::Service;
use portwarden_core::id::IntegrationId;
use portwarden_local::{
    destination::BasicAuth,
    push::{ImageChoice, Pushed},
    watch::Action,
};
use portwarden_oci::Digest;
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::world::{World, eventually};

/// Status, Retry-After and body.
type Answer = (u16, Option<String>, String);

async fn answer(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let retry_after = answer
        .headers()
        .get("retry-after")
        .map(|value| value.to_str().unwrap().to_owned());
    (
        answer.status().as_u16(),
        retry_after,
        answer.text().await.unwrap(),
    )
}

fn post(url: impl reqwest::IntoUrl, auth: Option<&BasicAuth>, body: String) -> RequestBuilder {
    let request = Client::new()
        .post(url)
        .header("content-type", "application/json; charset=utf-8")
        .body(body);
    match auth {
        Some(auth) => request.basic_auth(&auth.username, Some(auth.password.expose_secret())),
        None => request,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_their_own_endpoint_and_nothing_else() {
    let world = World::start("endpoint").await;
    let [a, b] = [world.tenant(0), world.tenant(1)];
    let image = Pushed {
        repository: "shop/web".parse().unwrap(),
        tag: "1".parse().unwrap(),
        digest: Digest::of(b"x"),
        images: Vec::new(),
    };
    let event = world.cloud.event(&a, Action::Push, &image);
    let of_b = world.cloud.event(&b, Action::Push, &image);

    // One refusal, byte for byte, that lets EventBridge keep the connection and try again.
    let refusal = answer(post(b.events_url.clone(), Some(&a.auth), of_b.to_string())).await;
    assert_eq!((refusal.0, refusal.1.as_deref()), (429, Some("60")));
    let wrong = BasicAuth {
        username: a.auth.username.clone(),
        password: "wrong".to_owned().into(),
    };
    let mut elsewhere = a.events_url.clone();
    let path = elsewhere.path().to_owned();
    let other_last = if path.ends_with('0') { '1' } else { '0' };
    elsewhere.set_path(&format!("{}{other_last}", &path[..path.len() - 1]));
    assert_ne!(elsewhere, a.events_url);
    for request in [
        post(a.events_url.clone(), Some(&wrong), event.to_string()),
        post(a.events_url.clone(), None, event.to_string()),
        post(a.events_url.clone(), Some(&b.auth), event.to_string()),
        post(elsewhere, Some(&a.auth), event.to_string()),
        post(a.events_url.clone(), Some(&wrong), "garbage".to_owned()),
    ] {
        assert_eq!(answer(request).await, refusal);
    }

    let with = |body: String| post(a.events_url.clone(), Some(&a.auth), body);
    let status = async |request| answer(request).await.0;
    assert_eq!(status(with(event.to_string())).await, 202);
    assert_eq!(
        status(with(of_b.to_string())).await,
        422,
        "another account's event"
    );
    let mut of_stranger = event.clone();
    of_stranger["source"] = json!("my.app");
    assert_eq!(status(with(of_stranger.to_string())).await, 422);
    assert_eq!(status(with("{".to_owned())).await, 400);
    assert_eq!(status(with("[]".to_owned())).await, 400);
    let mut large = event.clone();
    large["detail"]["padding"] = json!("x".repeat(1 << 20));
    assert_eq!(status(with(large.to_string())).await, 413);
    assert_eq!(
        status(with(event.to_string()).header("content-encoding", "gzip")).await,
        415
    );
    assert_eq!(status(Client::new().get(a.events_url.clone())).await, 404);
    counted_as_refused(&world, &a.integration, "other_account").await;
    // Nothing was kept of what was refused, and the connection goes on as before.
    world
        .tell(
            &b,
            Action::Push,
            &world.push(&b, &ImageChoice::Sample, "shop/web", "1").await,
        )
        .await;
    world.cloud.shutdown().await;
}

/// Waits until the refusal of an integration's event is in the log under its code, and is counted.
async fn counted_as_refused(world: &World, integration: &IntegrationId, code: &str) {
    eventually("the refusal is counted", async || {
        let lines = world.logs(Service::Receiver).await;
        let told = lines
            .iter()
            .any(|line| line["integration.id"] == json!(integration) && line["outcome.code"] == code);
        let counted = lines
            .iter()
            .any(|line| line["EventsRefused"] == 1 && line["outcome.code"] == code);
        (told && counted).then_some(())
    })
    .await;
}
