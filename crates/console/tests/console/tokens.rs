//! Tokens that must not be taken.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;
use portwarden_testkit::issuer::{IssuerServer, SigningKey};
use serde_json::{Value, json};

use crate::world::World;

async fn status(world: &World, token: &str) -> StatusCode {
    world.get(token, "/v1/me").await.status
}

fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

#[tokio::test]
async fn each_claim_is_looked_at_alone() {
    let world = World::new().await;
    let key = SigningKey::generate("two");
    let (now, right) = (world.seconds(), world.issuer.claims("ada", world.seconds()));
    let cases = [
        ("as it is", right.clone(), true),
        (
            "among audiences",
            changed(&right, "aud", json!(["a", "portwarden"])),
            true,
        ),
        ("clocks differ", changed(&right, "exp", json!(now - 30)), true),
        ("expired", changed(&right, "exp", json!(now - 61)), false),
        ("no expiry", changed(&right, "exp", Value::Null), false),
        ("not yet", changed(&right, "nbf", json!(now + 120)), false),
        (
            "another issuer",
            changed(&right, "iss", json!("https://evil.example")),
            false,
        ),
        (
            "nearly the issuer",
            changed(&right, "iss", json!(format!("{}/", world.issuer.issuer()))),
            false,
        ),
        ("another audience", changed(&right, "aud", json!("other")), false),
        (
            "other audiences",
            changed(&right, "aud", json!(["a", "b"])),
            false,
        ),
        ("no audience", changed(&right, "aud", Value::Null), false),
        ("nobody", changed(&right, "sub", json!("")), false),
    ];
    let signed = cases.map(|(name, claims, taken)| (name, key.sign(&claims), taken));
    world.issuer.add_key(key);
    for (name, token, taken) in signed {
        let expected = if taken {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        };
        assert_eq!(status(&world, &token).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_signature_is_one_of_the_issuers_by_its_own_algorithm() {
    let world = World::new().await;
    let claims = world.issuer.claims("ada", world.seconds());
    let token = world.token("ada");
    assert_eq!(status(&world, &token).await, StatusCode::OK);

    // The same name, another key.
    let forged = SigningKey::generate("one").sign(&claims);
    // Another issuer's token, whatever it says of itself.
    let other = IssuerServer::start("portwarden", &[("ada", "Ada")])
        .await
        .unwrap();
    // Unsigned, and signed with what everybody knows.
    let (head, _) = token.rsplit_once('.').unwrap();
    let none = |alg: &str| {
        let header = json!({"alg": alg, "kid": "one", "typ": "JWT"});
        format!("{}.", unsigned(&header, &claims))
    };
    let public = world.issuer.public_keys();
    let confused = public.iter().map(|key| {
        let secret = jsonwebtoken::EncodingKey::from_secret(key.to_string().as_bytes()).unwrap();
        let header = jsonwebtoken::Header {
            kid: Some("one".to_owned()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
        };
        jsonwebtoken::encode(&header, &claims, &secret).unwrap()
    });
    let mut tokens = vec![
        forged,
        other.token("ada", world.seconds()),
        none("none"),
        none("None"),
        none("ES256"),
        none("RS256"),
        none("HS256"),
        none("ES384"),
        format!("{head}."),
        format!("{head}.AAAA"),
        format!("{token}x"),
        format!("{token}.x"),
        token.replacen('.', "..", 1),
        "x".repeat(9000),
        "a.b.c".to_owned(),
        "pwk_".to_owned(),
    ];
    tokens.extend(confused);
    for token in tokens {
        assert_eq!(status(&world, &token).await, StatusCode::UNAUTHORIZED, "{token}");
    }
}

#[tokio::test]
async fn a_signature_over_other_claims_is_refused() {
    let world = World::new().await;
    let token = world.token("sam");
    let parts: Vec<&str> = token.split('.').collect();
    let claims = world.issuer.claims("ada", world.seconds()).to_string();
    let swapped = format!(
        "{}.{}.{}",
        parts[0],
        BASE64_URL_SAFE_NO_PAD.encode(claims),
        parts[2]
    );
    assert_eq!(status(&world, &token).await, StatusCode::OK);
    assert_eq!(status(&world, &swapped).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn keys_are_read_again_for_a_new_one_but_not_for_every_stranger() {
    let world = World::new().await;
    let old = world.token("ada");
    assert_eq!(status(&world, &old).await, StatusCode::OK);
    world.issuer.add_key(SigningKey::generate("two"));
    let new = world.token("ada");
    // Within a minute nobody makes us ask again.
    assert_eq!(status(&world, &new).await, StatusCode::UNAUTHORIZED);
    let before = world.issuer.key_requests();
    for _ in 0..20 {
        let stranger = SigningKey::generate("three").sign(&world.issuer.claims("ada", world.seconds()));
        assert_eq!(status(&world, &stranger).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.issuer.key_requests(), before);
    world.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(status(&world, &new).await, StatusCode::OK);
    assert_eq!(status(&world, &old).await, StatusCode::OK);
    // A key that is withdrawn ends within the hour.
    world.issuer.forget_old_keys();
    world.clock.advance(std::time::Duration::from_secs(3601 - 120));
    assert_eq!(status(&world, &old).await, StatusCode::OK);
    world.clock.advance(std::time::Duration::from_mins(2));
    assert_eq!(status(&world, &world.token("ada")).await, StatusCode::OK);
    assert_eq!(status(&world, &old).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_our_fault_and_no_proof() {
    let World { router, issuer, .. } = World::new().await;
    let token = issuer.token("ada", 0);
    drop(issuer);
    tokio::task::yield_now().await;
    let request = http::Request::builder()
        .uri("/v1/me")
        .header("authorization", format!("Bearer {token}"))
        .body(axum::body::Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}
