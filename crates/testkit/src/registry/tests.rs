use reqwest::{Client, Response, redirect};

use super::*;
use crate::image::{
    Compression, Image, ImageBuilder, Index, IndexBuilder, LayerBuilder, PushError, PushTarget, push,
};

fn image() -> Image {
    let base = LayerBuilder::new().file("a", [1; 3000]).finish(Compression::Gzip);
    let top = LayerBuilder::new().file("b", "2").finish(Compression::Zstd);
    ImageBuilder::new()
        .layer("ADD a", base)
        .layer("ADD b", top)
        .build()
}

fn index() -> Index {
    IndexBuilder::new().attested_image(image()).build()
}

fn repository() -> RepositoryName {
    "shop/web".parse().unwrap()
}

fn tag() -> Tag {
    "1.4".parse().unwrap()
}

fn client() -> Client {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

async fn start(settings: Settings) -> RegistryServer {
    let server = RegistryServer::start(settings).await.unwrap();
    server.publish(&repository(), Some(&tag()), &image());
    server
}

async fn get(server: &RegistryServer, path: &str) -> Response {
    client()
        .get(format!("{}{path}", server.url()))
        .send()
        .await
        .unwrap()
}

/// What an error says at the end of its chain.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn blob_path(image: &Image) -> String {
    format!("/v2/shop/web/blobs/{}", image.layers[0].digest())
}

fn blob_content(image: &Image) -> Bytes {
    image.layers[0].blob.bytes.clone()
}

#[tokio::test]
async fn what_is_pushed_is_there_and_not_pushed_again() {
    let server = RegistryServer::start(Settings::default()).await.unwrap();
    let target = PushTarget::new(&server.url()).unwrap();
    push(&target, &repository(), Some(&tag()), &index())
        .await
        .unwrap();

    let index = index();
    assert_eq!(
        server.manifest(&repository(), "1.4"),
        Some(index.manifest.bytes.clone())
    );
    for child in index.children() {
        let reference = child.digest().to_string();
        assert_eq!(
            server.manifest(&repository(), &reference),
            Some(child.bytes.clone())
        );
    }
    for blob in index.blobs() {
        assert_eq!(
            server.blob(&repository(), blob.digest()),
            Some(blob.bytes.clone())
        );
    }

    server.forget_requests();
    push(&target, &repository(), None, &index).await.unwrap();
    let methods: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| request.method)
        .collect();
    // Five blobs are found; two children and the index are put.
    let (heads, puts) = methods.split_at(index.blobs().len());
    assert!(heads.iter().all(|method| method == Method::HEAD), "{methods:?}");
    assert_eq!(puts, [Method::PUT, Method::PUT, Method::PUT]);
}

#[tokio::test]
async fn a_push_goes_to_the_address_under_the_name() {
    let server = RegistryServer::start(Settings {
        access: Access::Basic {
            username: "AWS".to_owned(),
            password: "secret".to_owned(),
        },
        ..Settings::default()
    })
    .await
    .unwrap();
    let name = "111122223333.dkr.ecr.eu-west-1.localhost:4566";
    let target = PushTarget::new(&server.url())
        .unwrap()
        .with_host(name)
        .unwrap()
        .with_namespace("111122223333.dkr.ecr.eu-west-1.amazonaws.com")
        .with_authorization("Basic QVdTOnNlY3JldA==")
        .unwrap();
    push(&target, &repository(), Some(&tag()), &image())
        .await
        .unwrap();
    for request in server.requests() {
        assert_eq!(request.headers["host"], name);
        let query = request.query.unwrap();
        assert_eq!(
            query
                .matches("ns=111122223333.dkr.ecr.eu-west-1.amazonaws.com")
                .count(),
            1
        );
        assert_eq!(request.headers["authorization"], "Basic QVdTOnNlY3JldA==");
    }
    assert!(!format!("{target:?} {:?}", server.requests()).contains("QVdT"));
}

#[tokio::test]
async fn a_refused_push_says_what_was_answered() {
    let server = start(Settings::default()).await;
    let target = PushTarget::new(&server.url()).unwrap();
    let fault = Fault::Status {
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after: Some(3),
    };
    server.fail("/manifests/", Times::Next(1), fault);
    let error = push(&target, &repository(), Some(&tag()), &image())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, PushError::Refused { status, path, .. }
            if *status == StatusCode::TOO_MANY_REQUESTS && path == "/v2/shop/web/manifests/1.4"),
        "{error:?}"
    );
    // The fault is used up.
    push(&target, &repository(), Some(&tag()), &image())
        .await
        .unwrap();
}

#[tokio::test]
async fn uploads_must_match_their_digest() {
    let server = RegistryServer::start(Settings::default()).await.unwrap();
    let uploads = format!("{}/v2/shop/web/blobs/uploads/", server.url());
    let opened = client().post(uploads).send().await.unwrap();
    let location = format!(
        "{}{}",
        server.url(),
        opened.headers()["location"].to_str().unwrap()
    );
    let patched = client().patch(&location).body("ab").send().await.unwrap();
    assert_eq!(patched.headers()["range"], "0-1");
    let digest = Digest::of(b"abc");
    let put = |body: &'static str| {
        client()
            .put(format!("{location}?digest=sha256%3A{}", digest.hex()))
            .body(body)
            .send()
    };
    assert_eq!(put("c").await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(
        server.blob(&repository(), digest),
        Some(Bytes::from_static(b"abc"))
    );
    // The upload is closed.
    assert_eq!(put("c").await.unwrap().status(), StatusCode::NOT_FOUND);
    let opened = client()
        .post(format!("{}/v2/shop/web/blobs/uploads/", server.url()))
        .send()
        .await
        .unwrap();
    let location = opened.headers()["location"].to_str().unwrap();
    let lie = client()
        .put(format!("{}{location}?digest={digest}", server.url()))
        .body("x");
    assert_eq!(lie.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn manifests_come_with_type_and_digest() {
    let server = start(Settings::default()).await;
    let image = image();
    for reference in ["1.4".to_owned(), image.digest().to_string()] {
        let response = get(&server, &format!("/v2/shop/web/manifests/{reference}")).await;
        assert_eq!(
            response.headers()["content-type"],
            MediaType::OciManifest.as_str()
        );
        assert_eq!(
            response.headers()["docker-content-digest"],
            image.digest().to_string()
        );
        assert_eq!(response.bytes().await.unwrap(), image.manifest.bytes);
    }
    for path in [
        "/v2/shop/web/manifests/2",
        "/v2/shop/api/manifests/1.4",
        "/elsewhere",
    ] {
        assert_eq!(get(&server, path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn ranges_are_served_where_they_are_offered() {
    let image = image();
    let content = blob_content(&image);
    for (ranges, status, expected) in [
        (true, StatusCode::PARTIAL_CONTENT, content.slice(5..)),
        (false, StatusCode::OK, content.clone()),
    ] {
        let server = start(Settings {
            ranges,
            ..Settings::default()
        })
        .await;
        let url = format!("{}{}", server.url(), blob_path(&image));
        let response = client()
            .get(&url)
            .header("range", "bytes=5-")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.bytes().await.unwrap(), expected);
        assert_eq!(server.fetched_blobs(), [image.layers[0].digest()]);
    }
    for (range, expected) in [
        ("bytes=0-0", Some((0, 0))),
        ("bytes=3-99", Some((3, 9))),
        ("bytes=10-", None),
        ("bytes=5-4", None),
        ("bytes=-5", None),
        ("lines=0-1", None),
    ] {
        assert_eq!(answer::parse_range(range, 10), expected, "{range}");
    }
}

#[tokio::test]
async fn a_token_is_needed_until_it_expires() {
    let server = start(Settings {
        access: Access::Bearer {
            account: Some(("u".to_owned(), "p".to_owned())),
        },
        ..Settings::default()
    })
    .await;
    let path = "/v2/shop/web/manifests/1.4";
    let refused = get(&server, path).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!(
        challenge,
        format!(
            "Bearer realm=\"{}/token\",service=\"testkit\",scope=\"repository:shop/web:pull\"",
            server.url()
        )
    );
    let token_url = format!("{}/token", server.url());
    let ask = |password: &'static str| client().get(&token_url).basic_auth("u", Some(password)).send();
    assert_eq!(ask("wrong").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let body = ask("p").await.unwrap().bytes().await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let token = body["token"].as_str().unwrap();
    let url = format!("{}{path}", server.url());
    let read = || client().get(&url).bearer_auth(token).send();
    assert_eq!(read().await.unwrap().status(), StatusCode::OK);
    server.expire_tokens();
    assert_eq!(read().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn storage_serves_blobs_to_who_brings_no_credentials() {
    let server = start(Settings {
        redirect_blobs: true,
        ..Settings::default()
    })
    .await;
    let image = image();
    let redirect = get(&server, &blob_path(&image)).await;
    assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
    let location = redirect.headers()["location"].to_str().unwrap().to_owned();
    let stored = client().get(&location).send().await.unwrap();
    assert_eq!(stored.bytes().await.unwrap(), blob_content(&image));
    let refused = client().get(&location).bearer_auth("x").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn content_faults_change_what_is_read() {
    let server = start(Settings::default()).await;
    let image = image();
    let (path, content) = (blob_path(&image), blob_content(&image));
    let mut corrupt = content.to_vec();
    corrupt[7] = !corrupt[7];
    for (fault, expected) in [
        (Fault::Replace(Bytes::from_static(b"other")), b"other".to_vec()),
        (Fault::Corrupt { at: 7 }, corrupt),
        (Fault::Truncate { to: 9 }, content[..9].to_vec()),
        (
            Fault::Slow {
                piece: 10,
                pause: std::time::Duration::ZERO,
            },
            content.to_vec(),
        ),
    ] {
        server.fail(&path, Times::Next(1), fault.clone());
        // A HEAD has no content to change and leaves the fault for the GET.
        client()
            .head(format!("{}{path}", server.url()))
            .send()
            .await
            .unwrap();
        assert_eq!(
            get(&server, &path).await.bytes().await.unwrap(),
            expected,
            "{fault:?}"
        );
        assert_eq!(get(&server, &path).await.bytes().await.unwrap(), content);
    }
}

#[tokio::test]
async fn a_dropped_connection_is_an_error_after_some_bytes() {
    let server = start(Settings::default()).await;
    let image = image();
    server.fail(&blob_path(&image), Times::Always, Fault::Drop { after: 10 });
    for _ in 0..2 {
        let mut response = get(&server, &blob_path(&image)).await;
        assert_eq!(
            response.content_length(),
            Some(image.layers[0].blob.descriptor.size)
        );
        assert_eq!(
            response.chunk().await.unwrap().unwrap(),
            blob_content(&image)[..10]
        );
        let error = response.chunk().await.unwrap_err();
        assert_eq!(innermost(&error), "end of file before message length reached");
    }
}

#[tokio::test]
async fn an_endless_answer_goes_on() {
    let server = start(Settings::default()).await;
    let image = image();
    server.fail(&blob_path(&image), Times::Next(1), Fault::Endless);
    let mut response = get(&server, &blob_path(&image)).await;
    assert_eq!(response.content_length(), None);
    let mut read = 0;
    while read < 1 << 20 {
        read += response.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_stalled_answer_does_not_end() {
    let server = start(Settings::default()).await;
    let image = image();
    server.fail(&blob_path(&image), Times::Next(1), Fault::Stall { after: 10 });
    let mut response = get(&server, &blob_path(&image)).await;
    assert_eq!(
        response.chunk().await.unwrap().unwrap(),
        blob_content(&image)[..10]
    );
    // Another request is answered meanwhile, and the first one still has nothing to read.
    assert_eq!(get(&server, "/v2/").await.status(), StatusCode::OK);
    let next = response.chunk();
    tokio::select! {
        biased;
        _ = next => panic!("a stalled answer went on"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn status_faults_come_in_order_and_before_access() {
    let server = start(Settings {
        access: Access::Bearer { account: None },
        ..Settings::default()
    })
    .await;
    let path = "/v2/shop/web/manifests/1.4";
    let status = |status, retry_after| Fault::Status { status, retry_after };
    server.fail(
        path,
        Times::Next(2),
        status(StatusCode::INTERNAL_SERVER_ERROR, None),
    );
    server.fail(
        path,
        Times::Next(1),
        status(StatusCode::TOO_MANY_REQUESTS, Some(7)),
    );
    server.fail(
        path,
        Times::Next(1),
        Fault::Redirect("http://169.254.169.254/".to_owned()),
    );
    let mut seen = Vec::new();
    for _ in 0..5 {
        let response = get(&server, path).await;
        let header = |name| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        seen.push((
            response.status().as_u16(),
            header("retry-after"),
            header("location"),
        ));
    }
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            (500, None, None),
            (500, None, None),
            (429, text("7"), None),
            (307, None, text("http://169.254.169.254/")),
            (401, None, None),
        ]
    );
    let logged: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.status.as_u16())
        .collect();
    assert_eq!(logged, [500, 500, 429, 307, 401]);
}

#[tokio::test]
async fn lies_are_served_as_they_are() {
    let server = start(Settings::default()).await;
    let digest = Digest::of(b"true");
    server.publish_blob(&repository(), digest, "false");
    server.publish_manifest(&repository(), "lie", MediaType::OciManifest, "not json");
    let blob = get(&server, &format!("/v2/shop/web/blobs/{digest}")).await;
    assert_eq!(blob.bytes().await.unwrap(), "false");
    let manifest = get(&server, "/v2/shop/web/manifests/lie").await;
    assert_eq!(manifest.bytes().await.unwrap(), "not json");
}

#[tokio::test]
async fn a_dropped_server_answers_no_more() {
    let server = start(Settings::default()).await;
    let url = format!("{}/v2/", server.url());
    drop(server);
    // The task ends at its next turn.
    tokio::task::yield_now().await;
    let error = client().get(url).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}
