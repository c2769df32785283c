//! Reading a feed over HTTP, from a server on this machine that misbehaves on request.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use portwarden_advisor::HttpsFeed;
use portwarden_core::{
    advisory::{FeedAnswer, FeedError, FeedFile, ReadFeed as _},
    clock::{Clock as _, ManualClock},
    problem::chain,
};
use portwarden_registry::Network;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

struct Server {
    feed: HttpsFeed,
    clock: ManualClock,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Gives these answers one after the other, each as it stands.
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let mut answers: VecDeque<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap() == 0 {
                        break;
                    }
                }
                kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                let answer = answers.pop_front().unwrap_or_default();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let network = Network::builder()
            .plain_http(format!("127.0.0.1:{port}"))
            .build()
            .unwrap();
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let base = format!("http://127.0.0.1:{port}/osv/").parse().unwrap();
        Self {
            feed: HttpsFeed::new(network, base, Arc::new(clock.clone())),
            clock,
            requests,
        }
    }

    async fn read(&self, known: Option<&str>) -> Result<FeedAnswer, FeedError> {
        self.feed.read_feed(&list("Rocky Linux"), known, 10).await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn list(folder: &str) -> FeedFile {
    FeedFile::List {
        folder: folder.to_owned(),
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn a_file_is_asked_for_by_an_escaped_path_and_the_state_that_is_known() {
    let whole = answer("200 OK", "Content-Length: 2\r\nETag: \"b\"\r\n", "ok");
    let server = Server::start(&[&whole, &answer("304 Not Modified", "", "")]).await;
    let file = FeedAnswer::File {
        content: b"ok".to_vec(),
        tag: Some("\"b\"".to_owned()),
    };
    assert_eq!(server.read(Some("\"a\"")).await.unwrap(), file);
    assert_eq!(server.read(Some("\"b\"")).await.unwrap(), FeedAnswer::Unchanged);
    let requests = server.requests();
    assert!(
        requests[0].starts_with("GET /osv/Rocky%20Linux/modified_id.csv HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(requests[0].contains("if-none-match: \"a\"\r\n"), "{requests:?}");
    let record = FeedFile::Record {
        folder: "Debian".to_owned(),
        id: "A?b#c%2f".to_owned(),
    };
    let _ = server.feed.read_feed(&record, None, 10).await;
    assert!(
        server.requests()[2].starts_with("GET /osv/Debian/A%3Fb%23c%252f.json "),
        "{:?}",
        server.requests()
    );
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let whole = answer("200 OK", "Content-Length: 2\r\n", "ok");
    let cut_off = answer("200 OK", "Content-Length: 9\r\n", "ok");
    let server = Server::start(&[&answer("503 Busy", "", ""), &cut_off, &whole]).await;
    server.read(None).await.unwrap();
    assert_eq!(server.requests().len(), 3);
    assert_eq!(server.clock.now().as_second(), 6);

    let server = Server::start(&[&cut_off, &cut_off, &cut_off, &whole]).await;
    let error = server.read(None).await.unwrap_err();
    assert!(matches!(error, FeedError::Unreachable(..)), "{error:?}");
    assert_eq!(server.requests().len(), 3);

    let server = Server::start(&[&answer("404 Not Found", "", ""), &whole]).await;
    let error = server.read(None).await.unwrap_err();
    assert!(matches!(error, FeedError::Missing(_)), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn what_is_too_large_is_not_read_to_its_end() {
    let said = answer("200 OK", "Content-Length: 11\r\n", "hello world");
    let unsaid = answer("200 OK", "", &"x".repeat(100_000));
    for too_large in [said, unsaid] {
        let server = Server::start(&[&too_large]).await;
        let error = server.read(None).await.unwrap_err();
        assert!(matches!(error, FeedError::TooLarge(_, 10)), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let moved = answer(
        "302 Found",
        "Location: http://169.254.169.254/latest/meta-data\r\n",
        "",
    );
    let server = Server::start(&[&moved, &moved, &moved]).await;
    let error = server.read(None).await.unwrap_err();
    assert!(chain(&error).contains("302"), "{}", chain(&error));
    for (base, why) in [
        ("https://169.254.169.254/", "internal"),
        ("https://localhost/", "internal"),
        ("http://osv.example/", "HTTPS"),
    ] {
        let network = Network::builder().build().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
        let feed = HttpsFeed::new(network, base.parse().unwrap(), clock);
        let error = feed.read_feed(&list("npm"), None, 10).await.unwrap_err();
        assert!(chain(&error).contains(why), "{base}: {}", chain(&error));
    }
}
