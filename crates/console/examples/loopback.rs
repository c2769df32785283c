//! The console on loopback over a table in memory, with an issuer that signs anybody in: for looking at pages, and for
//! tests of pages that need no cloud.
//!
//! `cargo run --package portwarden-console --example loopback` prints, as one line of JSON, where it is, whom it knows and
//! which tenant is theirs, and serves until it is ended.

use std::{convert::Infallible, sync::Arc};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use portwarden_aws::SystemClock;
use portwarden_console::{
    auth::{HttpFetch, IssuerSettings},
    context::{Context, CountRequests, Outside, Place},
    handler,
};
use portwarden_core::{
    access::{Members, Person, Role},
    clock::Clock as _,
    notification::MemoryNotifies,
    object::MemoryObjects,
    random::OsRandomness,
    scope::OperatorScope,
    store::MemoryStore,
    tenant::Tenants,
    tenant_template::launch::LaunchPad,
    webhook::WebhookKey,
    work::MemoryQueues,
};
use portwarden_testkit::issuer::IssuerServer;
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

struct Uncounted;

impl CountRequests for Uncounted {
    fn failed(&self) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let people = [
        ("ada", "Ada Administrator"),
        ("rex", "Rex Reader"),
        ("olga", "Olga Operator"),
        ("sam", "Sam Stranger"),
    ];
    let issuer = IssuerServer::start("portwarden", &people).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    // A name, since browsers tie cookies to names rather than to addresses.
    let url = format!("http://localhost:{}", listener.local_addr()?.port());

    let store = Arc::new(MemoryStore::default());
    let (operator, now) = (OperatorScope::of_this_process(), SystemClock.now());
    let tenants = Tenants::new(store.clone());
    let tenant = tenants.create(operator, "Shop", now, &OsRandomness).await?;
    let scope = operator.tenant(tenant.id.clone());
    let members = Members::new(store.clone());
    let person = |subject| Person::proven(issuer.issuer(), subject, subject);
    for (subject, role) in [("ada", Role::Administrator), ("rex", Role::Reader)] {
        members.add(operator, &scope, &person(subject), role, now).await?;
    }
    members.add_operator(operator, &person("olga"), now).await?;

    let queues = Arc::new(MemoryQueues::default());
    let webhook_key = WebhookKey::parse("a-key-of-thirty-two-characters-00".to_owned().into())
        .ok_or("the key is too short")?;
    let outside = Outside {
        store,
        objects: Arc::new(MemoryObjects::default()),
        verifications: queues.clone(),
        notifications: Arc::new(MemoryNotifies::default()),
        webhook_key: Arc::new(webhook_key),
        queues,
        clock: Arc::new(SystemClock),
        randomness: Arc::new(OsRandomness),
        counts: Arc::new(Uncounted),
        fetch: Arc::new(HttpFetch::default()),
    };
    let place = Place {
        console_url: url.clone(),
        events_url: format!("{url}/v1/events"),
        connector: "arn:aws:iam::999988887777:role/portwarden-connector".parse()?,
        launch_pad: LaunchPad::new("https://templates.s3.eu-central-1.amazonaws.com/latest/t".to_owned()),
        is_emulated: false,
    };
    let settings = IssuerSettings {
        issuer: issuer.issuer().parse()?,
        client_id: "portwarden".to_owned(),
        audience: None,
    };
    let router = handler::router(Arc::new(Context::new(outside, place, settings)));
    let seconds = u64::try_from(now.as_second())?;
    let tokens: std::collections::BTreeMap<&str, String> = people
        .iter()
        .map(|(subject, _)| (*subject, issuer.token(subject, seconds)))
        .collect();
    println!(
        "{}",
        json!({ "tokens": tokens, "url": url, "issuer": issuer.issuer(), "tenant": tenant.id, "people": people })
    );
    loop {
        let (stream, _) = listener.accept().await?;
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<Incoming>| {
                let router = router.clone();
                async move {
                    let Ok(response) = router.oneshot(request).await;
                    Ok::<_, Infallible>(response)
                }
            });
            // An error here is a client that went away.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
