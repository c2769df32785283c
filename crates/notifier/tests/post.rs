//! Addresses and answers of strangers.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use portwarden_core::webhook::{Outcome, Signed, WebhookUrl};
use portwarden_notifier::{HttpsPost, Post as _};
use portwarden_registry::{Lookup, Network};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Finds the same addresses for every name.
struct Always(Vec<IpAddr>);

#[async_trait]
impl Lookup for Always {
    async fn addresses(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

fn signed() -> Signed {
    Signed {
        id: "n-1".to_owned(),
        timestamp: "1".to_owned(),
        signature: "v1,x".to_owned(),
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_dialled_whatever_it_is_called() {
    for inside in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
    ] {
        let network = Network::builder()
            .lookup(Arc::new(Always(vec![inside.parse().unwrap()])))
            .build()
            .unwrap();
        let post = HttpsPost::over(network, false);
        let url = WebhookUrl::parse("https://rebinding.example.com/").unwrap();
        let outcome = post.post(&url, &signed(), b"{}".to_vec()).await;
        assert_eq!(
            outcome,
            Outcome::Failed {
                code: "address_refused"
            },
            "{inside}"
        );
    }
    // What was stored by an earlier version, or beside an emulator, is judged anew.
    let post = HttpsPost::new(false).unwrap();
    for url in ["http://127.0.0.1:1/", "http://localhost:1/"] {
        let url = WebhookUrl::parse_beside_emulator(url).unwrap();
        let outcome = post.post(&url, &signed(), b"{}".to_vec()).await;
        assert_eq!(
            outcome,
            Outcome::Failed {
                code: "address_refused"
            },
            "{url}"
        );
    }
}

/// A server on this machine that writes an answer to every request, and returns its address.
async fn server(answer: &'static [u8], endless: &'static [u8]) -> WebhookUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(answer).await;
                while !endless.is_empty() && socket.write_all(endless).await.is_ok() {
                    tokio::task::yield_now().await;
                }
                // The connection stays open.
                tokio::time::sleep(Duration::from_mins(1)).await;
            });
        }
    });
    WebhookUrl::parse_beside_emulator(&url).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_endless_and_sly_answers_cost_little_time_and_lead_nowhere() {
    let post = HttpsPost::new(true).unwrap().timeout(Duration::from_millis(500));
    let send = async |answer, endless| {
        let url = server(answer, endless).await;
        post.post(&url, &signed(), b"{}".to_vec()).await
    };
    let refused = |status| Outcome::Refused {
        status,
        retry_after: None,
    };
    assert_eq!(
        send(b"HTTP/1.1 204 No Content\r\n\r\n", b"").await,
        Outcome::Taken { status: 204 }
    );
    // A body that never ends is not read.
    assert_eq!(
        send(
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            b"xxxxxxxxxxxxxxxx"
        )
        .await,
        Outcome::Taken { status: 200 }
    );
    assert_eq!(
        send(
            b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            b""
        )
        .await,
        refused(302)
    );
    assert_eq!(
        send(
            b"HTTP/1.1 503 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n",
            b""
        )
        .await,
        Outcome::Refused {
            status: 503,
            retry_after: Some(Duration::from_mins(2))
        }
    );
    // Only those who are asked too much may ask for patience.
    assert_eq!(
        send(
            b"HTTP/1.1 404 No\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n",
            b""
        )
        .await,
        refused(404)
    );
    assert_eq!(send(b"", b"").await, Outcome::Failed { code: "timed_out" });
    // Heads that never end are cut off by size or by time.
    let endless = send(
        b"HTTP/1.1 200 OK\r\n",
        b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
    )
    .await;
    assert!(matches!(endless, Outcome::Failed { .. }), "{endless:?}");
    assert_eq!(
        send(b"SSH-2.0-OpenSSH_9\r\n", b"").await,
        Outcome::Failed { code: "unreachable" }
    );
    let closed = WebhookUrl::parse_beside_emulator("http://127.0.0.1:9/").unwrap();
    let nobody = post.post(&closed, &signed(), b"{}".to_vec()).await;
    assert_eq!(nobody, Outcome::Failed { code: "unreachable" });
}
