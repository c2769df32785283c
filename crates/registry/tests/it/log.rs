//! What our own and others' log lines say at the most talkative level.

use std::{
    io,
    sync::{Arc, Mutex},
};

use portwarden_oci::Version;
use portwarden_registry::ImageSource as _;
use tracing_subscriber::fmt::MakeWriter;

use crate::server::{Answer, BASIC, Server, basic, descriptor, manifest, network, repository_in};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_level_of_logs_shows_a_secret() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
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

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("a request is tried again"),
        "nothing was captured: {log}"
    );
    for secret in ["canary", BASIC.strip_prefix("Basic ").unwrap()] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
