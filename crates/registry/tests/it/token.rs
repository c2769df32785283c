//! The token protocol, and services that abuse it.

use portwarden_oci::Version;
use portwarden_registry::{AllowedHosts, Credentials, ImageSource as _, Refusal, Registry, RegistryError};

use crate::server::{Answer, BASIC, Server, basic, manifest, network, repository, repository_in};

fn tag() -> Version {
    Version::Tag("1.0".parse().unwrap())
}

/// Wants `token` for everything but the token itself, which `/token` gives.
async fn registry_with_tokens(token_of: impl Fn(usize) -> String + Send + Sync + 'static) -> Server {
    let issued = std::sync::Mutex::new(0);
    Server::start(move |seen| {
        let mut issued = issued.lock().unwrap();
        if seen.path.starts_with("/token") {
            *issued += 1;
            return Answer::new(
                200,
                format!(r#"{{"token":"{}","expires_in":60}}"#, token_of(*issued)),
            );
        }
        let current = format!("Bearer {}", token_of(*issued));
        if *issued > 0 && seen.header("authorization") == Some(&current) {
            return Answer::new(200, manifest("a"));
        }
        let realm = format!("http://{}/token", seen.header("host").unwrap());
        let challenge =
            format!(r#"Bearer realm="{realm}",service="the registry",scope="repository:shop/web:pull,push""#);
        Answer::new(401, "").with("www-authenticate", challenge)
    })
    .await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let server = registry_with_tokens(|number| format!("t{number}")).await;
    let network = network(&[&server]).build().unwrap();
    let repository = repository_in(&network, &server, basic());
    for _ in 0..2 {
        assert_eq!(repository.manifest(&tag()).await.unwrap().bytes, manifest("a"));
    }
    let seen: Vec<_> = server
        .seen()
        .into_iter()
        .map(|seen| (seen.path.clone(), seen.header("authorization").map(str::to_owned)))
        .collect();
    let manifest = "/v2/shop/web/manifests/1.0".to_owned();
    let token = "/token?service=the+registry&scope=repository%3Ashop%2Fweb%3Apull".to_owned();
    let with = |value: &str| Some(value.to_owned());
    assert_eq!(
        seen,
        [
            (manifest.clone(), with(BASIC)),
            (token, with(BASIC)),
            (manifest.clone(), with("Bearer t1")),
            (manifest, with("Bearer t1")),
        ]
    );
}

#[tokio::test]
async fn tokens_of_anonymous_pulls_work() {
    let server = registry_with_tokens(|_| "anonymous".to_owned()).await;
    assert_eq!(
        repository(&server).manifest(&tag()).await.unwrap().bytes,
        manifest("a")
    );
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.header("authorization") != Some(BASIC))
    );
}

#[tokio::test]
async fn an_expired_token_is_fetched_anew() {
    let server =
        Server::start(
            |seen| match (seen.path.starts_with("/token"), seen.header("authorization")) {
                (true, _) => Answer::new(200, format!(r#"{{"access_token":"t{}"}}"#, seen.number)),
                // Each token is good for one request.
                (false, Some(token)) if token == format!("Bearer t{}", seen.number - 1) => {
                    Answer::new(200, manifest("a"))
                }
                _ => {
                    let realm = format!("http://{}/token", seen.header("host").unwrap());
                    Answer::new(401, "").with("www-authenticate", format!("Bearer realm=\"{realm}\""))
                }
            },
        )
        .await;
    let repository = repository(&server);
    for _ in 0..3 {
        assert_eq!(repository.manifest(&tag()).await.unwrap().bytes, manifest("a"));
    }
    assert_eq!(server.seen().len(), 9);
}

#[tokio::test]
async fn requests_at_once_share_one_token() {
    let server = registry_with_tokens(|_| "shared".to_owned()).await;
    let repository = repository(&server);
    let version = tag();
    let fetched = futures_util::future::join_all((0..6).map(|_| repository.manifest(&version))).await;
    assert!(
        fetched
            .into_iter()
            .all(|fetched| fetched.unwrap().bytes == manifest("a"))
    );
    let tokens = server
        .seen()
        .iter()
        .filter(|seen| seen.path.starts_with("/token"))
        .count();
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn wrong_credentials_are_unauthorized_and_not_offered_again() {
    for challenge in [
        None,
        Some("Basic realm=\"x\""),
        Some("Bearer service=x"),
        Some("Bearer realm=\"::\""),
    ] {
        let server = Server::start(move |_| {
            let refusal = Answer::new(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
            match challenge {
                Some(challenge) => refusal.with("www-authenticate", challenge),
                None => refusal,
            }
        })
        .await;
        let network = network(&[&server]).build().unwrap();
        match repository_in(&network, &server, basic()).manifest(&tag()).await {
            Err(RegistryError::Unauthorized { host, code }) => {
                assert_eq!(
                    (host, code.unwrap().to_string()),
                    (server.authority.clone(), "UNAUTHORIZED".to_owned())
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_token_that_is_rejected_is_not_fetched_for_ever() {
    let server = Server::start(|seen| {
        if seen.path.starts_with("/token") {
            return Answer::new(200, r#"{"token":"useless","access_token":"useless"}"#);
        }
        let realm = format!("http://{}/token", seen.header("host").unwrap());
        Answer::new(401, "").with("www-authenticate", format!("Bearer realm=\"{realm}\""))
    })
    .await;
    let error = repository(&server).manifest(&tag()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_realm_at_a_forbidden_place_gets_no_credentials() {
    let victim = Server::start(|_| Answer::new(200, r#"{"token":"x"}"#)).await;
    for (realm, why) in [
        (format!("http://{}/token", victim.authority), Refusal::NotHttps),
        (
            "https://169.254.169.254/token".to_owned(),
            Refusal::InternalAddress,
        ),
        ("https://localhost/token".to_owned(), Refusal::InternalAddress),
        ("file:///etc/passwd".to_owned(), Refusal::NotHttps),
        ("https://a:b@auth.example/".to_owned(), Refusal::CredentialsInUrl),
        ("https://auth.example/token".to_owned(), Refusal::HostNotAllowed),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let server =
            Server::start(move |_| Answer::new(401, "").with("www-authenticate", challenge.clone())).await;
        let network = network(&[&server]).build().unwrap();
        let repository = Registry::new(&network, &server.authority, basic(), AllowedHosts::amazon())
            .unwrap()
            .repository("shop/web".parse().unwrap());
        match repository.manifest(&tag()).await {
            Err(RegistryError::Refused { why: refusal, .. }) => assert_eq!(refusal, why, "{realm}"),
            other => panic!("{realm}: {other:?}"),
        }
    }
    assert_eq!(victim.seen(), []);
}

#[tokio::test]
async fn a_token_service_cannot_pass_credentials_on() {
    let victim = Server::start(|_| Answer::new(200, r#"{"token":"x"}"#)).await;
    let target = format!("http://{}/", victim.authority);
    let server = Server::start(move |seen| {
        if seen.path.starts_with("/token") {
            return Answer::redirect(307, target.clone());
        }
        let realm = format!("http://{}/token", seen.header("host").unwrap());
        Answer::new(401, "").with("www-authenticate", format!("Bearer realm=\"{realm}\""))
    })
    .await;
    let network = network(&[&server, &victim]).build().unwrap();
    let error = repository_in(&network, &server, basic())
        .manifest(&tag())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error:?}");
    assert_eq!(victim.seen(), []);
}

#[tokio::test]
async fn answers_without_a_usable_token_are_a_breach_of_protocol() {
    let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(300_000));
    for answer in ["", "{}", r#"{"token":7}"#, r#"{"token":"a\r\nb"}"#, &long] {
        let answer = answer.to_owned();
        let server = Server::start(move |seen| {
            if seen.path.starts_with("/token") {
                return Answer::new(200, answer.clone());
            }
            let realm = format!("http://{}/token", seen.header("host").unwrap());
            Answer::new(401, "").with("www-authenticate", format!("Bearer realm=\"{realm}\""))
        })
        .await;
        let error = repository(&server).manifest(&tag()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} does not follow the distribution protocol: its answer holds no token",
                server.authority
            )
        );
    }
}

#[tokio::test]
async fn credentials_are_in_no_debug_output() {
    assert_eq!(format!("{:?}", basic()), "Basic");
    assert_eq!(format!("{:?}", Credentials::Anonymous), "Anonymous");
    let server = registry_with_tokens(|_| "canary-token".to_owned()).await;
    let network = network(&[&server]).build().unwrap();
    let repository = repository_in(&network, &server, basic());
    repository.manifest(&tag()).await.unwrap();
    assert_eq!(
        format!("{repository:?}"),
        format!("Repository({}/shop/web)", server.authority)
    );
}
