//! Layers: verified, continued, read by threads.

use std::io::{self, Read as _};

use bytes::Bytes;
use futures_util::StreamExt as _;
use portwarden_oci::{Digest, MediaType};
use portwarden_registry::{Blob, BlobError, ImageSource as _, RegistryError};

use crate::server::{Answer, Server, descriptor, descriptor_of, repository};

/// Content in which no two places look alike.
fn content(size: u32) -> Vec<u8> {
    (0..size).flat_map(u32::to_be_bytes).collect()
}

fn start_of(range: &str) -> usize {
    range
        .strip_prefix("bytes=")
        .unwrap()
        .strip_suffix('-')
        .unwrap()
        .parse()
        .unwrap()
}

fn rest(content: &[u8], start: usize) -> Answer {
    let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
    Answer::new(206, &content[start..]).with("content-range", range)
}

#[tokio::test]
async fn a_layer_comes_whole() {
    let body = content(100_000);
    let sent = body.clone();
    let server = Server::start(move |_| Answer::new(200, sent.clone())).await;
    let descriptor = descriptor(&body);
    let blob = repository(&server).blob(&descriptor).await.unwrap();
    assert_eq!(blob.read_to_end(descriptor.size).await.unwrap(), body);
    assert_eq!(
        server.seen()[0].path,
        format!("/v2/shop/web/blobs/{}", descriptor.digest)
    );
}

#[tokio::test]
async fn a_broken_download_is_continued_where_it_broke() {
    let body = content(100_000);
    let sent = body.clone();
    let server = Server::start(move |seen| match seen.header("range") {
        None => Answer::new(200, sent.clone()).cut_after(100_000),
        Some(range) if seen.number == 1 => rest(&sent, start_of(range)).cut_after(50_000),
        Some(range) => rest(&sent, start_of(range)),
    })
    .await;
    let blob = repository(&server).blob(&descriptor(&body)).await.unwrap();
    assert_eq!(blob.read_to_end(1 << 20).await.unwrap(), body);
    let ranges: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.header("range").map(str::to_owned))
        .collect();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=100000-".to_owned()),
            Some("bytes=150000-".to_owned())
        ]
    );
}

#[tokio::test]
async fn a_download_that_starts_over_is_not_handed_on_twice() {
    let body = content(100_000);
    let sent = body.clone();
    let server = Server::start(move |seen| {
        let sent = Answer::new(200, sent.clone());
        if seen.number < 2 {
            sent.cut_after(100_001 * (seen.number + 1))
        } else {
            sent
        }
    })
    .await;
    let blob = repository(&server).blob(&descriptor(&body)).await.unwrap();
    assert_eq!(blob.read_to_end(1 << 20).await.unwrap(), body);
    assert_eq!(server.seen()[2].header("range"), Some("bytes=200002-"));
}

#[tokio::test]
async fn another_part_than_asked_for_is_refused() {
    let body = content(1000);
    for range in [
        "bytes 0-3999/4000",
        "bytes 2001-3999/4000",
        "bytes 2000-3000/4000",
        "bytes */4000",
        "",
    ] {
        let sent = body.clone();
        let server = Server::start(move |seen| match seen.number {
            0 => Answer::new(200, sent.clone()).cut_after(2000),
            _ => Answer::new(206, &sent[2000..]).with("content-range", range),
        })
        .await;
        let blob = repository(&server).blob(&descriptor(&body)).await.unwrap();
        match blob.read_to_end(1 << 20).await {
            Err(BlobError::BrokeOff {
                received: 2000,
                source,
                ..
            }) => {
                assert!(matches!(*source, RegistryError::Protocol { .. }), "{source:?}");
            }
            other => panic!("{range:?}: {other:?}"),
        }
    }
    let server = Server::start(|_| Answer::new(206, "x").with("content-range", "bytes 0-0/1")).await;
    let unasked = repository(&server).blob(&descriptor(b"x")).await;
    assert!(
        matches!(unasked, Err(RegistryError::Protocol { .. })),
        "{unasked:?}"
    );
}

#[tokio::test]
async fn a_download_is_not_continued_for_ever() {
    let body = content(1000);
    let sent = body.clone();
    let server = Server::start(move |seen| match seen.header("range") {
        None => Answer::new(200, sent.clone()).cut_after(1),
        Some(range) => rest(&sent, start_of(range)).cut_after(1),
    })
    .await;
    let blob = repository(&server).blob(&descriptor(&body)).await.unwrap();
    match blob.read_to_end(1 << 20).await {
        Err(BlobError::BrokeOff { received, source, .. }) => {
            assert_eq!(received, 9);
            assert!(source.is_transient(), "{source:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.seen().len(), 9, "the first and eight more");
}

#[tokio::test]
async fn a_layer_that_is_not_what_it_should_be_is_refused() {
    let body = content(1000);
    let digest = Digest::of(&body);
    for (sent, error) in [
        (
            body[..3999].to_vec(),
            format!("the blob {digest} ends after 3999 of 4000 bytes"),
        ),
        (vec![], format!("the blob {digest} ends after 0 of 4000 bytes")),
        (
            [&body[..], b"x"].concat(),
            format!("the blob {digest} is longer than its 4000 bytes"),
        ),
        (
            vec![0; 4000],
            format!(
                "the blob has the digest {} instead of {digest}",
                Digest::of(&[0; 4000])
            ),
        ),
    ] {
        let server = Server::start(move |_| Answer::new(200, sent.clone())).await;
        let mut blob = repository(&server).blob(&descriptor(&body)).await.unwrap();
        let mut handed_on = 0;
        let failure = loop {
            match blob.next().await.expect("the stream ended without an error") {
                Ok(piece) => handed_on += piece.len(),
                Err(failure) => break failure,
            }
        };
        assert_eq!(failure.to_string(), error);
        assert!(handed_on <= 4000, "{handed_on}");
        assert!(blob.next().await.is_none(), "an error is the end");
        assert_eq!(server.seen().len(), 1, "a lie is not asked for again");
    }
}

#[tokio::test]
async fn foreign_layers_and_other_urls_are_never_dialled() {
    let elsewhere = Server::start(|_| Answer::new(200, "x")).await;
    let server = Server::start(|_| Answer::new(200, "x")).await;
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".to_owned();
    let mut layer = descriptor_of(&MediaType::from(foreign), Digest::of(b"x"), 1);
    layer.urls = vec![format!("http://{}/layer", elsewhere.authority)];
    let refused = repository(&server).blob(&layer).await;
    assert!(matches!(refused, Err(RegistryError::ForeignLayer(digest)) if digest == Digest::of(b"x")));
    assert_eq!(server.seen(), []);
    // A common layer comes from the registry, whatever else its descriptor names.
    layer.media_type = MediaType::Layer;
    let blob = repository(&server).blob(&layer).await.unwrap();
    assert_eq!(blob.read_to_end(1).await.unwrap(), "x");
    assert_eq!(elsewhere.seen(), []);
}

#[tokio::test]
async fn a_blob_over_the_limit_is_not_read() {
    let blob = Blob::from_bytes(&descriptor(b"four"), Bytes::from_static(b"four"));
    assert!(matches!(
        blob.read_to_end(3).await,
        Err(BlobError::OverLimit {
            size: 4,
            limit: 3,
            ..
        })
    ));
}

async fn read(blob: Blob) -> (Vec<u8>, io::Result<usize>, io::Result<usize>) {
    let mut reader = blob.into_reader();
    tokio::task::spawn_blocking(move || {
        let mut content = Vec::new();
        let first = reader.read_to_end(&mut content);
        let second = reader.read(&mut [0]);
        (content, first, second)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_thread_reads_a_layer() {
    let body = content(100_000);
    let sent = body.clone();
    let server = Server::start(move |_| Answer::new(200, sent.clone())).await;
    let blob = repository(&server).blob(&descriptor(&body)).await.unwrap();
    let (content, first, second) = read(blob).await;
    assert_eq!((content, first.unwrap(), second.unwrap()), (body, 400_000, 0));
}

#[tokio::test]
async fn a_thread_sees_what_is_wrong_and_goes_on_seeing_it() {
    for (sent, kind) in [
        ("shor", io::ErrorKind::UnexpectedEof),
        ("longer", io::ErrorKind::InvalidData),
        ("false", io::ErrorKind::InvalidData),
    ] {
        let (_, first, second) = read(Blob::from_bytes(&descriptor(b"right"), sent.into())).await;
        let first = first.unwrap_err();
        assert_eq!(first.kind(), kind, "{sent}");
        assert!(first.get_ref().unwrap().is::<BlobError>(), "{first:?}");
        assert_eq!(second.unwrap_err().kind(), kind, "{sent}");
    }
}
