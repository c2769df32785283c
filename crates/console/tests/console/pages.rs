//! Signing in with a browser, its session, and what protects both.

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::world::{Answer, World};

fn request(method: Method, path: &str, cookie: &str) -> http::request::Builder {
    let builder = Request::builder().method(method).uri(path);
    if cookie.is_empty() {
        builder
    } else {
        builder.header(header::COOKIE, cookie)
    }
}

async fn get(world: &World, path: &str, cookie: &str) -> Answer {
    world
        .send(request(Method::GET, path, cookie).body(Body::empty()).unwrap())
        .await
}

fn cookie(answer: &Answer, name: &str) -> String {
    let set = answer.headers.get_all(header::SET_COOKIE).iter();
    let mut found = set.filter_map(|value| {
        let value = value.to_str().unwrap();
        assert!(
            value.contains("; Secure; HttpOnly; SameSite=Lax") && value.contains("; Path=/;"),
            "{value}"
        );
        let (pair, _) = value.split_once(';').unwrap();
        pair.starts_with(&format!("{name}=")).then(|| pair.to_owned())
    });
    found.next().unwrap_or_default()
}

/// Begins a sign-in, and lets the issuer answer it for a person.
async fn until_the_issuer_answers(world: &World, subject: &str) -> (String, String) {
    let start = get(world, "/sign-in/start?return_to=/x", "").await;
    assert_eq!(start.status, StatusCode::SEE_OTHER);
    let token = cookie(&start, "__Host-portwarden-sign-in");
    let authorize = format!("{}&login_hint={subject}", start.header("location"));
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = client.get(authorize).send().await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let callback = location
        .strip_prefix("https://console.example")
        .unwrap()
        .to_owned();
    (token, callback)
}

#[tokio::test]
async fn somebody_signs_in_and_out() {
    let world = World::new().await;
    let away = get(&world, "/?a=b", "").await;
    assert_eq!(
        (away.status, away.header("location")),
        (StatusCode::SEE_OTHER, "/sign-in?return_to=%2F%3Fa%3Db")
    );
    let (token, callback) = until_the_issuer_answers(&world, "ada").await;
    let done = get(&world, &callback, &token).await;
    assert_eq!(
        (done.status, done.header("location")),
        (StatusCode::SEE_OTHER, "/x"),
        "{done:?}"
    );
    let session = cookie(&done, "__Host-portwarden");
    let me = get(&world, "/v1/me", &session).await;
    assert_eq!(me.json()["name"], "Ada");
    let stored = format!("{:?}", world.store.dump());
    assert!(!stored.contains(session.split('=').nth(1).unwrap()));

    // Once is all: neither the code nor the cookie begins another session.
    assert_eq!(
        get(&world, &callback, &token).await.status,
        StatusCode::BAD_REQUEST
    );

    let out = async |body: &str| {
        let request = request(Method::POST, "/sign-out", &session)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body.to_owned()));
        world.send(request.unwrap()).await
    };
    assert_eq!(out("csrf=x").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get(&world, "/v1/me", &session).await.status, StatusCode::OK);
    let home = get(&world, "/join", &session).await;
    let (_, rest) = home.body.split_once("name=\"csrf\" value=\"").unwrap();
    let (csrf, _) = rest.split_once('"').unwrap();
    let left = out(&format!("csrf={csrf}")).await;
    assert_eq!(
        (left.status, left.header("location")),
        (StatusCode::SEE_OTHER, "/sign-in")
    );
    assert_eq!(
        get(&world, "/v1/me", &session).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_sign_in_belongs_to_the_browser_that_began_it() {
    let world = World::new().await;
    // Somebody else's answer in this browser, and this answer in no browser.
    let (own, _) = until_the_issuer_answers(&world, "ada").await;
    let (_, foreign) = until_the_issuer_answers(&world, "sam").await;
    assert_eq!(get(&world, &foreign, &own).await.status, StatusCode::BAD_REQUEST);
    let (_, callback) = until_the_issuer_answers(&world, "ada").await;
    assert_eq!(get(&world, &callback, "").await.status, StatusCode::BAD_REQUEST);
    for changed in [
        "/sign-in/callback",
        "/sign-in/callback?code=x",
        "/sign-in/callback?error=access_denied&state=x",
    ] {
        let (own, _) = until_the_issuer_answers(&world, "ada").await;
        let failed = get(&world, changed, &own).await;
        assert_eq!(failed.status, StatusCode::BAD_REQUEST, "{changed}");
        assert!(failed.header("content-type").starts_with("text/html"));
    }
    // Too late.
    let (own, callback) = until_the_issuer_answers(&world, "ada").await;
    world.clock.advance(std::time::Duration::from_secs(601));
    assert_eq!(get(&world, &callback, &own).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.failures.count(), 0);
}

#[tokio::test]
async fn an_invitation_is_redeemed_on_a_page() {
    let world = World::new().await;
    let (olga, sam) = (world.token("olga"), world.session("sam").await);
    let administrators = world.path(0, "/administrators");
    let invited = world
        .call(&olga, Method::POST, &administrators, None)
        .await
        .json();
    let (page, token) = invited["url"].as_str().unwrap().split_once('#').unwrap();
    assert_eq!(
        (page, token),
        ("https://console.example/join", invited["token"].as_str().unwrap())
    );
    let session = format!("__Host-portwarden={}", sam.expose());
    assert_eq!(get(&world, "/join", "").await.status, StatusCode::SEE_OTHER);
    assert!(
        get(&world, "/join", &session)
            .await
            .body
            .contains("data-fragment")
    );
    let join = async |csrf: &str| {
        let request = request(Method::POST, "/join", &session)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("csrf={csrf}&token={token}")));
        world.send(request.unwrap()).await
    };
    assert_eq!(join("x").await.status, StatusCode::BAD_REQUEST);
    let joined = join(&sam.derive("csrf")).await;
    let start = format!("/tenants/{}", world.tenants[0]);
    assert_eq!(
        (joined.status, joined.header("location")),
        (StatusCode::SEE_OTHER, &*start)
    );
    assert_eq!(join(&sam.derive("csrf")).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let world = World::new().await;
    let token = world.session("ada").await;
    let session = format!("__Host-portwarden={}", token.expose());
    let path = world.path(0, "/integrations");
    let create = async |csrf: Option<&str>, kind: &str| {
        let mut request = request(Method::POST, &path, &session).header(header::CONTENT_TYPE, kind);
        if let Some(csrf) = csrf {
            request = request.header("x-csrf-token", csrf);
        }
        let body = json!({"name": "n", "regions": ["eu-central-1"]}).to_string();
        world.send(request.body(Body::from(body)).unwrap()).await
    };
    let own = token.derive("csrf");
    let others = world.session("ada").await.derive("csrf");
    for csrf in [None, Some(""), Some("x"), Some(&*others)] {
        assert_eq!(
            create(csrf, "application/json").await.code(),
            "csrf_token_missing",
            "{csrf:?}"
        );
    }
    assert_eq!(create(Some(&own), "text/plain").await.code(), "not_json");
    assert_eq!(
        create(Some(&own), "application/json").await.status,
        StatusCode::CREATED
    );
    // A bad token is not helped by a good cookie.
    let both = request(Method::GET, "/v1/me", &session)
        .header(header::AUTHORIZATION, "Bearer x")
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(both).await.status, StatusCode::UNAUTHORIZED);
    // Twelve hours later it is over.
    world.clock.advance(std::time::Duration::from_hours(12));
    assert_eq!(
        get(&world, "/v1/me", &session).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn every_answer_carries_what_protects_it_and_no_other_origin_is_let_in() {
    let world = World::new().await;
    for path in ["/sign-in", "/v1/me", "/nothing", "/v1/openapi.json", "/assets/x"] {
        let asked = request(Method::GET, path, "").header(header::ORIGIN, "https://evil.example");
        let answer = world.send(asked.body(Body::empty()).unwrap()).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-request-id").len(), 26, "{path}");
        let cors = answer
            .headers
            .keys()
            .find(|name| name.as_str().starts_with("access-control"));
        assert_eq!(cors, None, "{path}");
    }
    let page = get(&world, "/sign-in", "").await.body;
    for part in page.split("href=\"").chain(page.split("src=\"")).skip(1) {
        let (path, _) = part.split_once('"').unwrap();
        assert!(
            path.starts_with('/') || path.starts_with('#') || path.contains("<!DOCTYPE"),
            "{path}"
        );
        if path.starts_with("/assets/") {
            let asset = get(&world, path, "").await;
            assert_eq!(asset.status, StatusCode::OK);
            assert!(asset.header("cache-control").contains("immutable"));
        }
    }
}
