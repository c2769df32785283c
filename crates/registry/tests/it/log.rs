//! What our own and others' log lines say at the most talkative level.

use portwarden_oci::Version;
use portwarden_registry::ImageSource as _;
use portwarden_testkit::log::{Log, listen};

use crate::server::{Answer, BASIC, Server, basic, descriptor, manifest, network, repository_in};

#[tokio::test]
async fn no_level_of_logs_shows_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = listen(subscriber);
    let server = Server::start(|seen| {
        let host = seen.header("host").unwrap();
        if seen.path.starts_with("/token") {
            return Answer::new(200, r#"{"token":"canary-token"}"#);
        }
        if seen.path.starts_with("/signed") {
            return Answer::new(200, "x");
        }
        if seen.header("authorization") != Some("Bearer canary-token") {
            let challenge = format!("Bearer realm=\"http://{host}/token\"");
            return Answer::new(401, "").with("www-authenticate", challenge);
        }
        if seen.number == 2 {
            return Answer::new(503, "");
        }
        if seen.path.contains("/blobs/") {
            return Answer::redirect(307, format!("http://{host}/signed?signature=canary-signature"));
        }
        Answer::new(200, manifest("a"))
    })
    .await;
    let network = network(&[&server]).build().unwrap();
    let repository = repository_in(&network, &server, basic());
    repository
        .manifest(&Version::Tag("1.0".parse().unwrap()))
        .await
        .unwrap();
    let blob = repository.blob(&descriptor(b"x")).await.unwrap();
    assert_eq!(blob.read_to_end(1).await.unwrap(), "x");
    assert!(server.seen().iter().any(|seen| seen.path.contains("canary")));

    let log = log.text();
    assert!(
        log.contains("a request is tried again"),
        "nothing was captured: {log}"
    );
    for secret in ["canary", BASIC.strip_prefix("Basic ").unwrap()] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
