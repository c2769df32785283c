//! Webhooks over REST and on their page.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use portwarden_core::{
    clock::Clock as _,
    id::NotificationId,
    notification::{MemoryNotifies, Notification, NotificationKind, NotifyRequest},
    webhook::Webhooks,
};
use serde_json::{Value, json};

use crate::world::{Answer, World};

const URL: &str = "https://hooks.example.com/services/T0/B0";

async fn create(world: &World, bearer: &str, index: usize) -> Answer {
    let body = json!({"name": "chat", "url": URL});
    let path = world.path(index, "/webhooks");
    world.call(bearer, Method::POST, &path, Some(body)).await
}

/// What the notifier was asked for.
fn queued(world: &World) -> Vec<(String, u32)> {
    let taken = world.notifies.take().into_iter();
    let attempts = taken.map(|(request, _)| match request {
        NotifyRequest::Deliver {
            tenant,
            webhook,
            attempt,
            ..
        } => {
            assert_eq!(tenant, world.tenants[0]);
            (webhook.to_string(), attempt)
        }
        NotifyRequest::Tell { .. } => panic!("the console tells nobody: {request:?}"),
    });
    attempts.collect()
}

#[tokio::test]
async fn a_webhook_is_made_changed_and_removed_and_its_secret_is_shown_once() {
    let world = World::new().await;
    let ada = world.token("ada");
    let made = create(&world, &ada, 0).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let one = made.header("location").to_owned();
    let shown = world.get(&ada, &one).await;
    assert_eq!(shown.json()["url"], URL);
    assert_eq!(shown.json()["enabled"], true);
    let listed = world.get(&ada, &world.path(0, "/webhooks")).await;
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1);
    for text in [&shown.body, &listed.body, &format!("{:?}", world.store.dump())] {
        assert!(!text.contains(&secret[6..]), "{text}");
    }

    let change = async |body: Value, etag: &str| {
        let headers = [("if-match", etag)];
        world
            .call_with(&ada, Method::PATCH, &one, Some(body), &headers)
            .await
    };
    let etag = shown.header("etag").to_owned();
    let off = change(json!({"enabled": false}), &etag).await;
    assert_eq!(off.json()["disabled"]["reason"], "asked", "{off:?}");
    let late = change(json!({"name": "other"}), &etag).await;
    assert_eq!(late.code(), "changed_in_between");
    let moved = json!({"name": "other", "url": "https://other.example.com:8443/"});
    let moved = change(moved, off.header("etag")).await.json();
    assert_eq!(
        (&moved["name"], &moved["url"], &moved["enabled"]),
        (
            &json!("other"),
            &json!("https://other.example.com:8443/"),
            &json!(false)
        )
    );

    let renewed = world
        .call(&ada, Method::POST, &format!("{one}/secret"), None)
        .await;
    assert_ne!(renewed.json()["secret"], secret, "{renewed:?}");
    assert!(world.get(&ada, &one).await.json()["secret_renewed_at"].is_string());

    let remove = async || world.call(&ada, Method::DELETE, &one, None).await.status;
    assert_eq!(remove().await, StatusCode::NO_CONTENT);
    assert_eq!(remove().await, StatusCode::NOT_FOUND);
    assert_eq!(world.get(&ada, &one).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_write_with_a_key_makes_one_webhook_and_shows_its_secret_once() {
    let world = World::new().await;
    let ada = world.token("ada");
    let send = async || {
        let body = json!({"name": "chat", "url": URL});
        let (path, headers) = (world.path(0, "/webhooks"), [("idempotency-key", "one")]);
        world
            .call_with(&ada, Method::POST, &path, Some(body), &headers)
            .await
    };
    let (first, again) = (send().await, send().await);
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert!(first.json()["secret"].is_string() && again.json()["secret"].is_null());
    let listed = world.get(&ada, &world.path(0, "/webhooks")).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_sent_comes_in_pages_and_is_sent_again() {
    let world = World::new().await;
    let ada = world.token("ada");
    let one = create(&world, &ada, 0).await.header("location").to_owned();
    let id = one.rsplit('/').next().unwrap().to_owned();
    let mut tests = Vec::new();
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(1));
        let test = world.call(&ada, Method::POST, &format!("{one}/test"), None).await;
        assert_eq!(test.status, StatusCode::ACCEPTED, "{test:?}");
        assert_eq!(test.json()["type"], "ping");
        tests.insert(0, test.json()["notification"].as_str().unwrap().to_owned());
    }
    assert_eq!(queued(&world), vec![(id.clone(), 1); 5]);

    let list = format!("{one}/deliveries");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&ada, &format!("{list}?limit=2{cursor}")).await.json();
        let items = page["items"].as_array().unwrap();
        assert!((1..=2).contains(&items.len()), "{page}");
        for item in items {
            assert_eq!(
                (&item["state"], &item["attempt_count"]),
                (&json!("waiting"), &json!(0))
            );
            seen.push(item["notification"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, tests, "the newest first, each once");
    for bad in ["limit=0", "cursor=x", "unknown=1"] {
        let refused = world.get(&ada, &format!("{list}?{bad}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
    }

    let again = async |notification: &str| {
        let path = format!("{list}/{notification}/redelivery");
        world.call(&ada, Method::POST, &path, None).await
    };
    assert_eq!(again(&tests[0]).await.status, StatusCode::ACCEPTED);
    assert_eq!(queued(&world), [(id.clone(), 1)]);
    let other = NotificationId::of(world.clock.now(), &["other"]);
    for nowhere in [other.as_str(), "n-1"] {
        assert_eq!(again(nowhere).await.status, StatusCode::NOT_FOUND, "{nowhere}");
    }
    // Of a webhook that is switched off, only tests are made again.
    let told = Notification {
        id: other,
        kind: NotificationKind::FindingsChanged,
        at: world.clock.now(),
        data: json!({}),
        announced: true,
    };
    Webhooks::new(world.store.clone())
        .deliver(&world.scope(0), &told, told.at, &MemoryNotifies::default())
        .await
        .unwrap();
    let off = json!({"enabled": false});
    world.call(&ada, Method::PATCH, &one, Some(off)).await;
    assert_eq!(again(told.id.as_str()).await.code(), "webhook_disabled");
    assert_eq!(again(&tests[1]).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn hostile_addresses_and_names_are_refused_with_their_fix_and_make_nothing() {
    let world = World::new().await;
    let ada = world.token("ada");
    let list = world.path(0, "/webhooks");
    for url in [
        "",
        "http://hooks.example.com/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://0x7f000001/",
        "https://localhost/",
        "https://user:password@hooks.example.com/",
        "https://hooks.example.com:22/",
        "https://metadata.google.internal/",
        "https://hooks.example.com/\r\nHost: other",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://hooks.example.com\\@localhost/",
        &format!("https://hooks.example.com/{}", "a".repeat(2048)),
    ] {
        let body = json!({"name": "chat", "url": url});
        let refused = world.call(&ada, Method::POST, &list, Some(body)).await;
        assert_eq!(refused.code(), "webhook_url_invalid", "{url}");
        assert!(
            refused.json()["fix"].as_str().unwrap().contains("https://"),
            "{refused:?}"
        );
        assert!(!refused.body.contains("password@"), "{refused:?}");
    }
    for (body, code) in [
        (json!({"name": "a\nb", "url": URL}), "name_invalid"),
        (json!({"name": "chat"}), "body_invalid"),
        (
            json!({"name": "chat", "url": URL, "secret": "whsec_mine"}),
            "body_invalid",
        ),
        (
            json!({"name": "chat", "url": URL, "id": "w-00000000000000000000000000"}),
            "body_invalid",
        ),
    ] {
        let refused = world.call(&ada, Method::POST, &list, Some(body)).await;
        assert_eq!(refused.code(), code);
    }
    assert_eq!(world.get(&ada, &list).await.json()["items"], json!([]));
    for _ in 0..10 {
        assert_eq!(create(&world, &ada, 0).await.status, StatusCode::CREATED);
    }
    assert_eq!(create(&world, &ada, 0).await.code(), "webhooks_full");
    let one = world.get(&ada, &list).await.json()["items"][0]["id"].clone();
    let one = format!("{list}/{}", one.as_str().unwrap());
    let inside = json!({"url": "https://10.0.0.1/"});
    let refused = world.call(&ada, Method::PATCH, &one, Some(inside)).await;
    assert_eq!(refused.code(), "webhook_url_invalid");
    assert_eq!(world.get(&ada, &one).await.json()["url"], URL);
}

#[tokio::test]
async fn a_foreign_webhook_is_as_a_missing_one() {
    let world = World::new().await;
    let (ada, zoe) = (world.token("ada"), world.token("zoe"));
    let made = create(&world, &zoe, 1).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    for (method, rest, body) in [
        (Method::GET, "", None),
        (Method::PATCH, "", Some(json!({"name": "x"}))),
        (Method::DELETE, "", None),
        (Method::POST, "/secret", None),
        (Method::POST, "/test", None),
        (Method::GET, "/deliveries", None),
    ] {
        let call = async |id: &str| {
            let path = world.path(0, &format!("/webhooks/{id}{rest}"));
            let answer = world.call(&ada, method.clone(), &path, body.clone()).await;
            (answer.status, answer.body)
        };
        let foreign = call(&id).await;
        assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{method} {rest}");
        assert_eq!(
            foreign,
            call("w-00000000000000000000000000").await,
            "{method} {rest}"
        );
        assert_eq!(foreign, call("no-id").await, "{method} {rest}");
    }
    assert_eq!(queued(&world), []);
    assert_eq!(
        world.get(&zoe, made.header("location")).await.json()["name"],
        "chat"
    );
}

/// A person with their session, on the pages.
struct Visitor<'a> {
    world: &'a World,
    cookie: String,
    csrf: String,
}

impl<'a> Visitor<'a> {
    async fn new(world: &'a World, subject: &str) -> Self {
        let token = world.session(subject).await;
        Self {
            world,
            cookie: format!("__Host-portwarden={}", token.expose()),
            csrf: token.derive("csrf"),
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/tenants/{}/notifications{rest}", self.world.tenants[0])
    }

    async fn get(&self, rest: &str) -> Answer {
        let request = Request::get(self.path(rest)).header(header::COOKIE, &self.cookie);
        self.world.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post_with(&self, csrf: &str, rest: &str, fields: &[(&str, &str)]) -> Answer {
        let fields = [&[("csrf", csrf)], fields].concat();
        let request = Request::post(self.path(rest))
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = Body::from(serde_urlencoded::to_string(fields).unwrap());
        self.world.send(request.body(body).unwrap()).await
    }

    async fn post(&self, rest: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(&self.csrf, rest, fields).await
    }
}

#[tokio::test]
async fn an_administrator_has_webhooks_on_their_page() {
    let world = World::new().await;
    let ada = Visitor::new(&world, "ada").await;
    assert!(ada.get("").await.body.contains("Nobody is told yet"));
    let hostile = "<script>alert(1)</script>";
    let refused = ada
        .post("", &[("name", hostile), ("url", "https://10.0.0.1/\"><script>")])
        .await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("webhook_url_invalid") && !refused.body.contains("<script>"));
    assert!(
        refused.body.contains("&lt;script&gt;alert(1)"),
        "what was typed is still there"
    );

    let made = ada.post("", &[("name", hostile), ("url", URL)]).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let (_, secret) = made.body.split_once("whsec_").unwrap();
    let (secret, _) = secret.split_once('<').unwrap();
    let (_, id) = made.body.split_once("data-address=\"").unwrap();
    let (address, _) = id.split_once('"').unwrap();
    let one = address.strip_prefix(&ada.path("")).unwrap();
    let shown = ada.get(one).await;
    assert!(shown.body.contains(URL) && !shown.body.contains(secret) && !shown.body.contains("<script>"));
    let list = ada.get("").await.body;
    assert!(
        list.contains("https://hooks.example.com<") && !list.contains("/services/T0"),
        "{list}"
    );

    let tested = ada.post(&format!("{one}/test"), &[]).await;
    assert_eq!(tested.status, StatusCode::SEE_OTHER);
    assert_eq!(queued(&world).len(), 1);
    assert!(ada.get(one).await.body.contains("on its way"));
    ada.post(&format!("{one}/switch"), &[("on", "false")]).await;
    assert!(ada.get(one).await.body.contains("Somebody has switched it off."));
    // The form of a page from before that changes nothing.
    let edit = [("name", "other"), ("url", URL), ("seen", "0")];
    let late = ada.post(one, &edit).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert!(late.body.contains("changed_in_between"));
    let edit = [("name", "other"), ("url", URL), ("seen", "1")];
    assert_eq!(ada.post(one, &edit).await.status, StatusCode::SEE_OTHER);
    let renewed = ada.post(&format!("{one}/secret"), &[]).await;
    assert!(renewed.body.contains("whsec_") && !renewed.body.contains(secret));
    assert!(ada.get(&format!("{one}/remove")).await.body.contains("Remove it"));
    assert_eq!(
        ada.post(&format!("{one}/remove"), &[]).await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(ada.get(one).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_reader_sees_webhooks_and_changes_none_and_neither_does_a_form_of_another_page() {
    let world = World::new().await;
    let made = create(&world, &world.token("ada"), 0).await.json();
    let one = format!("/{}", made["id"].as_str().unwrap());
    let rex = Visitor::new(&world, "rex").await;
    let (ada, zoe) = (
        Visitor::new(&world, "ada").await,
        Visitor::new(&world, "zoe").await,
    );
    for rest in ["", &*one] {
        let seen = rex.get(rest).await;
        assert_eq!(seen.status, StatusCode::OK);
        // Signing out is the only form.
        assert_eq!(seen.body.matches("<form").count(), 1, "{}", seen.body);
        assert_eq!(zoe.get(rest).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(
        rex.get(&format!("{one}/remove")).await.status,
        StatusCode::FORBIDDEN
    );
    let notification = NotificationId::of(world.clock.now(), &["x"]);
    let before = world.store.dump();
    for (path, fields) in [
        (String::new(), vec![("name", "x"), ("url", URL)]),
        (one.clone(), vec![("name", "x"), ("url", URL), ("seen", "0")]),
        (format!("{one}/switch"), vec![("on", "false")]),
        (format!("{one}/secret"), vec![]),
        (format!("{one}/test"), vec![]),
        (
            format!("{one}/redeliver"),
            vec![("notification", notification.as_str())],
        ),
        (format!("{one}/remove"), vec![]),
    ] {
        assert_eq!(
            rex.post(&path, &fields).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
        assert_eq!(
            zoe.post(&path, &fields).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
        let forged = ada.post_with("x", &path, &fields).await;
        assert_eq!(forged.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(format!("{before:?}"), format!("{:?}", world.store.dump()));
    assert_eq!(queued(&world), []);
}
