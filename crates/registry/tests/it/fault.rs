//! Registries that fail, lie or send too much.

use std::{sync::Arc, time::Duration};

use portwarden_oci::{Digest, ManifestError, Version};
use portwarden_registry::{
    AllowedHosts, BlobError, Credentials, FetchedManifest, ImageSource as _, Network, Outage, Registry,
    RegistryError,
};
use serde_json::json;

use crate::server::{
    Answer, NoWait, Server, basic, descriptor, manifest, network, repository, repository_in,
};

fn tag() -> Version {
    Version::Tag("1.0".parse().unwrap())
}

#[tokio::test]
async fn a_manifest_comes_by_tag_and_by_digest() {
    let bytes = manifest("a");
    let digest = Digest::of(&bytes);
    let body = bytes.clone();
    let server = Server::start(move |_| {
        Answer::new(200, body.clone())
            .with("content-type", "application/vnd.oci.image.manifest.v1+json")
            .with("docker-content-digest", digest.to_string())
    })
    .await;
    let repository = repository(&server);
    for version in [tag(), Version::Digest(digest)] {
        let fetched = repository.manifest(&version).await.unwrap();
        assert_eq!((fetched.digest, &fetched.bytes[..]), (digest, &bytes[..]));
    }
    let seen = server.seen();
    assert_eq!(seen[0].path, "/v2/shop/web/manifests/1.0");
    assert_eq!(seen[1].path, format!("/v2/shop/web/manifests/{digest}"));
    let accepted = seen[0].header("accept").unwrap();
    assert!(
        accepted.contains("application/vnd.oci.image.index.v1+json, "),
        "{accepted}"
    );
    assert!(!accepted.contains("v1+prettyjws"), "{accepted}");
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let asked = Digest::of(&manifest("asked"));
    let sent = Digest::of(&manifest("sent"));
    // By digest, whatever the header says; by tag, what the header says.
    let server = Server::start(move |_| {
        Answer::new(200, manifest("sent")).with("docker-content-digest", asked.to_string())
    })
    .await;
    for version in [Version::Digest(asked), tag()] {
        match repository(&server).manifest(&version).await {
            Err(RegistryError::DigestMismatch { expected, actual }) => {
                assert_eq!((expected, actual), (asked, sent));
            }
            other => panic!("{version}: {other:?}"),
        }
    }
    assert_eq!(server.seen().len(), 2, "a lie is not asked for again");
}

#[tokio::test]
async fn manifests_that_cannot_be_used_are_named() {
    let huge = vec![b' '; FetchedManifest::MAX_SIZE + 1];
    let schema1 = json!({"schemaVersion": 1, "fsLayers": []}).to_string();
    let bodies = [huge, schema1.into_bytes(), b"<html>".to_vec()];
    let server = Server::start(move |seen| Answer::new(200, bodies[seen.number].clone())).await;
    let repository = repository(&server);
    let too_large = repository.manifest(&tag()).await.unwrap_err();
    assert_eq!(too_large.to_string(), "the manifest is larger than 4194304 bytes");
    assert!(matches!(
        repository.manifest(&tag()).await,
        Err(RegistryError::Malformed(ManifestError::Schema1))
    ));
    assert!(matches!(
        repository.manifest(&tag()).await,
        Err(RegistryError::Malformed(ManifestError::Malformed(_)))
    ));
}

#[tokio::test]
async fn what_is_not_there_is_not_asked_for_twice() {
    let server = Server::start(|_| {
        Answer::new(
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"gone"}]}"#,
        )
    })
    .await;
    let error = repository(&server).manifest(&tag()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the manifest 1.0 of {}/shop/web does not exist", server.authority)
    );
    assert!(matches!(error, RegistryError::NotFound { .. }));
    let error = repository(&server).blob(&descriptor(b"x")).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_denial_keeps_the_registrys_code_and_none_of_its_text() {
    let echo = r#"{"errors":[{"code":"DENIED","message":"AWS:canary-secret is not welcome"}]}"#;
    let server = Server::start(move |_| Answer::new(403, echo)).await;
    let network = network(&[&server]).build().unwrap();
    let error = repository_in(&network, &server, basic())
        .manifest(&tag())
        .await
        .unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    match error {
        RegistryError::Denied { code, .. } => assert_eq!(code.unwrap().to_string(), "DENIED"),
        other => panic!("{other:?}"),
    }
}

fn patient(server: &Server) -> (Network, Arc<NoWait>) {
    let pacing = Arc::new(NoWait::default());
    let network = network(&[server])
        .pacing(Arc::clone(&pacing) as _)
        .build()
        .unwrap();
    (network, pacing)
}

#[tokio::test]
async fn a_failing_registry_is_tried_again_with_growing_waits() {
    let server = Server::start(|seen| match seen.number {
        0 => Answer::new(500, ""),
        1 => Answer::new(503, ""),
        // The connection breaks before the whole manifest is here.
        2 => Answer::new(200, manifest("a")).cut_after(10),
        _ => Answer::new(200, manifest("a")),
    })
    .await;
    let (network, pacing) = patient(&server);
    let fetched = repository_in(&network, &server, Credentials::Anonymous)
        .manifest(&tag())
        .await
        .unwrap();
    assert_eq!(fetched.bytes, manifest("a"));
    assert_eq!(pacing.waits(), [250, 500, 1000].map(Duration::from_millis));
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_a_limit() {
    let server = Server::start(|seen| match seen.number {
        0 => Answer::new(429, "").with("retry-after", "7"),
        1 => Answer::new(503, "")
            .with("date", "Mon, 23 Nov 2026 10:00:00 GMT")
            .with("retry-after", "Mon, 23 Nov 2026 10:00:09 GMT"),
        _ => Answer::new(429, "").with("retry-after", "3600"),
    })
    .await;
    let (network, pacing) = patient(&server);
    let error = repository_in(&network, &server, Credentials::Anonymous)
        .manifest(&tag())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Throttled { .. }));
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert_eq!(pacing.waits(), [7, 9].map(Duration::from_secs));
    assert_eq!(server.seen().len(), 3, "an hour is the caller's to wait");
}

#[tokio::test]
async fn patience_ends() {
    let server = Server::start(|_| Answer::new(500, "")).await;
    let error = repository(&server).manifest(&tag()).await.unwrap_err();
    match error {
        RegistryError::Unavailable {
            source: Outage::Status { status, .. },
            ..
        } => assert_eq!(status, 500),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_registry_in_trouble_gets_at_most_one_retry_for_a_request_in_the_long_run() {
    let server = Server::start(|_| Answer::new(429, "")).await;
    let repository = repository(&server);
    for _ in 0..100 {
        let error = repository.manifest(&tag()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Throttled { .. }), "{error:?}");
    }
    let requests = server.seen().len();
    assert!(requests <= 2 * 100 + 16, "{requests}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .to_string();
    let network = network(&[]).plain_http(&gone).build().unwrap();
    let error = Registry::new(&network, &gone, Credentials::Anonymous, AllowedHosts::None)
        .unwrap()
        .repository("shop/web".parse().unwrap())
        .manifest(&tag())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("{gone} is unavailable"));
    assert!(matches!(
        error,
        RegistryError::Unavailable {
            source: Outage::Connection(_),
            ..
        }
    ));
}

#[tokio::test]
async fn a_registry_that_falls_silent_is_given_up() {
    let content = vec![7; 1000];
    let body = content.clone();
    let server = Server::start(move |seen| {
        if seen.header("range").is_some() {
            return Answer::new(503, "");
        }
        Answer::new(200, body.clone()).stall_after(500)
    })
    .await;
    let network = network(&[&server])
        .read_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let blob = repository_in(&network, &server, Credentials::Anonymous)
        .blob(&descriptor(&content))
        .await
        .unwrap();
    match blob.read_to_end(1000).await {
        Err(BlobError::BrokeOff { received, source, .. }) => {
            assert_eq!(received, 500);
            assert!(matches!(*source, RegistryError::Unavailable { .. }), "{source:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn strange_statuses_are_a_breach_of_protocol() {
    let server = Server::start(|seen| Answer::new([204, 418][seen.number], "")).await;
    for status in [204, 418] {
        let error = repository(&server).manifest(&tag()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} does not follow the distribution protocol: unexpected status {status}",
                server.authority
            )
        );
    }
}
