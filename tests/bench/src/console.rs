//! The console's pages for a tenant with many images: what its program does, without the network and AWS around it.
//!
//! The table is in memory, so that the time is the function's own; its reads are counted, since each is a request there.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use axum::{Router, body::Body};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use portwarden_aws::SystemClock;
use portwarden_console::{
    auth::{HttpFetch, IssuerSettings},
    context::{Context, CountRequests, Outside, Place},
    handler,
};
use portwarden_core::{
    access::{Members, Person, Role, Sessions},
    clock::Clock as _,
    id::IntegrationId,
    image::{Images, Location, Presence},
    notification::MemoryNotifies,
    object::MemoryObjects,
    random::OsRandomness,
    scope::{OperatorScope, TenantScope},
    store::MemoryStore,
    tenant::Tenants,
    tenant_template::launch::LaunchPad,
    webhook::WebhookKey,
    work::{KnownBy, MemoryQueues},
};
use portwarden_oci::Digest;
use tower::ServiceExt as _;

use crate::{
    Failure,
    sheet::{Sheet, Table, Unit, median, milliseconds},
};

const IMAGES: u64 = 100_000;
const ROUNDS: usize = 30;

/// Milliseconds to the first byte.
const FIRST_BYTE: f64 = 20.0;

/// Kilobytes of a page.
const PAGE: f64 = 50.0;

/// Queries for the first page of images.
const QUERIES: f64 = 2.0;

/// Nobody asks how many requests failed: each is looked at here.
struct Uncounted;

impl CountRequests for Uncounted {
    fn failed(&self) {}
}

pub(crate) async fn measure() -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new("console");
    let store = Arc::new(MemoryStore::default());
    let (operator, now) = (OperatorScope::of_this_process(), SystemClock.now());
    let tenants = Tenants::new(store.clone());
    let tenant = tenants.create(operator, "Shop", now, &OsRandomness).await?;
    let scope = operator.tenant(tenant.id.clone());
    let person = Person::proven("https://issuer.example", "ada", "Ada");
    let members = Members::new(store.clone());
    members
        .add(operator, &scope, &person, Role::Administrator, now)
        .await?;
    push_images(&store, &scope).await?;
    let session = Sessions::new(store.clone())
        .open(person, now, &OsRandomness)
        .await?;
    let cookie = format!("__Host-portwarden={}", session.expose());
    let router = router(store.clone())?;

    let mut table = Table::new(
        "pages, 100,000 images",
        &[
            ("first byte", Unit::Milliseconds),
            ("size", Unit::Kilobytes),
            ("queries", Unit::Count),
        ],
    );
    let id = &tenant.id;
    for (name, path) in [
        ("overview", format!("/tenants/{id}")),
        ("images", format!("/tenants/{id}/images")),
        ("integrations", format!("/tenants/{id}/integrations")),
        ("connect", format!("/tenants/{id}/integrations/new")),
        ("guide", "/guide".to_owned()),
    ] {
        let (mut times, mut size, mut queries) = (Vec::new(), 0, 0);
        for _ in 0..ROUNDS {
            let before = store.queries();
            let request = Request::get(&path)
                .header(header::COOKIE, &cookie)
                .body(Body::empty())?;
            let start = Instant::now();
            let answer = router.clone().oneshot(request).await?;
            times.push(milliseconds(start.elapsed()));
            if answer.status() != StatusCode::OK {
                return Err(format!("{path} answers {}", answer.status()).into());
            }
            queries = store.queries() - before;
            size = answer.into_body().collect().await?.to_bytes().len();
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers, for people")]
        let (size, queries) = (size as f64 / 1000.0, queries as f64);
        let time = median(times);
        table.row(name, [Some(time), Some(size), Some(queries)]);
        sheet.aim(
            format!("first byte of {name}"),
            time,
            FIRST_BYTE,
            Unit::Milliseconds,
        );
        sheet.aim(format!("size of {name}"), size, PAGE, Unit::Kilobytes);
        if name == "images" {
            sheet.aim("queries of images", queries, QUERIES, Unit::Count);
        }
    }
    sheet.add(table);
    Ok(sheet)
}

/// The console over a table, as its function makes it.
fn router(store: Arc<MemoryStore>) -> Result<Router, Failure> {
    let webhook_key = WebhookKey::parse("a-key-of-thirty-two-characters-00".to_owned().into())
        .ok_or("the key is too short")?;
    let outside = Outside {
        store,
        objects: Arc::new(MemoryObjects::default()),
        verifications: Arc::new(MemoryQueues::default()),
        notifications: Arc::new(MemoryNotifies::default()),
        webhook_key: Arc::new(webhook_key),
        queues: Arc::new(MemoryQueues::default()),
        clock: Arc::new(SystemClock),
        randomness: Arc::new(OsRandomness),
        counts: Arc::new(Uncounted),
        fetch: Arc::new(HttpFetch::default()),
    };
    let place = Place {
        console_url: "https://console.example".to_owned(),
        events_url: "https://console.example/v1/events".to_owned(),
        connector: "arn:aws:iam::999988887777:role/portwarden-connector".parse()?,
        launch_pad: LaunchPad::new("https://templates.example/t".to_owned()),
        is_emulated: false,
    };
    let issuer = IssuerSettings {
        issuer: "https://issuer.example".parse()?,
        client_id: "portwarden".to_owned(),
        audience: None,
    };
    Ok(handler::router(Arc::new(Context::new(outside, place, issuer))))
}

/// Notes pushes to a hundred repositories, one in each second.
async fn push_images(store: &Arc<MemoryStore>, scope: &TenantScope) -> Result<(), Failure> {
    let images = Images::new(store.clone());
    let integration = IntegrationId::generate(&OsRandomness);
    let first = SystemClock.now() - SignedDuration::from_hours(72);
    for (number, second) in (0..IMAGES).zip(0..) {
        let at = first + SignedDuration::from_secs(second);
        let location = Location {
            integration: integration.clone(),
            account: "111122223333".parse()?,
            region: "eu-central-1".parse()?,
            repository: format!("shop/service-{}", number % 100).parse()?,
            presence: Presence::Present {
                tags: BTreeSet::from([format!("1.{number}").parse()?]),
                pushed_at: Some(at),
                archived: false,
            },
            observed_at: at,
            known_by: KnownBy::Event,
            known_at: at,
        };
        let digest = Digest::of(&number.to_be_bytes());
        images.observe(scope, &digest, &location).await?;
    }
    Ok(())
}
