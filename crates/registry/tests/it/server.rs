//! A registry on loopback that answers byte for byte what a test wants, lies and broken connections included.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use portwarden_oci::{Descriptor, Digest, MediaType};
use portwarden_registry::{AllowedHosts, Credentials, Network, NetworkBuilder, Pacing, Registry, Repository};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The path with its query.
    pub(crate) path: String,
    /// The headers with names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// How many requests came before.
    pub(crate) number: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What is sent back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    sent: usize,
    stalls: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: vec![("content-length".to_owned(), body.len().to_string())],
            sent: body.len(),
            body,
            stalls: false,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::new(status, "").with("location", location)
    }

    /// Closes the connection when this many bytes of the body are sent.
    pub(crate) fn cut_after(mut self, sent: usize) -> Self {
        self.sent = sent;
        self
    }

    /// Keeps the connection open and silent where `cut_after` would close it.
    pub(crate) fn stall_after(mut self, sent: usize) -> Self {
        self.stalls = true;
        self.cut_after(sent)
    }
}

/// A running server; it ends with the test's runtime.
pub(crate) struct Server {
    /// `127.0.0.1:port`.
    pub(crate) authority: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(script);
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { authority, seen }
    }

    /// Returns the requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    connection: TcpStream,
    script: Arc<impl Fn(&Seen) -> Answer>,
    log: Arc<Mutex<Vec<Seen>>>,
) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let [first, headers @ ..] = &lines[..] else {
        return Ok(());
    };
    let header = |line: &String| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_lowercase(), value.to_owned()))
    };
    let answer = {
        let mut log = log.lock().unwrap();
        let seen = Seen {
            path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
            headers: headers.iter().filter_map(header).collect(),
            number: log.len(),
        };
        log.push(seen.clone());
        script(&seen)
    };
    let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(&answer.body[..answer.sent]).await?;
    connection.flush().await?;
    if answer.stalls {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Waits for nothing, and remembers for how long it should have waited; jitter is always the longest.
#[derive(Default)]
pub(crate) struct NoWait(Mutex<Vec<Duration>>);

impl NoWait {
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Pacing for NoWait {
    async fn pause(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }

    fn jitter(&self, most: Duration) -> Duration {
        most
    }
}

/// A network that waits for nothing and reaches `servers`.
pub(crate) fn network(servers: &[&Server]) -> NetworkBuilder {
    servers.iter().fold(
        Network::builder().pacing(Arc::new(NoWait::default())),
        |network, server| network.plain_http(&server.authority),
    )
}

/// The repository `shop/web` of a server that nobody needs credentials for.
pub(crate) fn repository(server: &Server) -> Repository {
    repository_in(
        &network(&[server]).build().unwrap(),
        server,
        Credentials::Anonymous,
    )
}

pub(crate) fn repository_in(network: &Network, server: &Server, credentials: Credentials) -> Repository {
    Registry::new(network, &server.authority, credentials, AllowedHosts::AnyPublic)
        .unwrap()
        .repository("shop/web".parse().unwrap())
}

pub(crate) fn basic() -> Credentials {
    Credentials::Basic {
        user: "AWS".to_owned(),
        password: "canary-secret".into(),
    }
}

/// What `Authorization` holds for [`basic`].
pub(crate) const BASIC: &str = "Basic QVdTOmNhbmFyeS1zZWNyZXQ=";

pub(crate) fn descriptor(content: &[u8]) -> Descriptor {
    descriptor_of(&MediaType::LayerGzip, Digest::of(content), content.len() as u64)
}

pub(crate) fn descriptor_of(media_type: &MediaType, digest: Digest, size: u64) -> Descriptor {
    serde_json::from_value(json!({"mediaType": media_type, "digest": digest, "size": size})).unwrap()
}

/// An image without layers; `note` makes different ones.
pub(crate) fn manifest(note: &str) -> Vec<u8> {
    let image: Value = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OciManifest,
        "config": descriptor_of(&MediaType::OciConfig, Digest::of(b"{}"), 2),
        "layers": [],
        "annotations": {"note": note},
    });
    image.to_string().into_bytes()
}
