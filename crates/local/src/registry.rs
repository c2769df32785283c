//! An address on loopback for each account's registry, so that any tool can push to it.
//!
//! The emulator tells registries apart by their host names, which resolve nowhere; this forwards requests with the name
//! that they lack.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{CONNECTION, HOST, HeaderName, TRANSFER_ENCODING},
};
use http_body_util::{BodyDataStream, BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Body as _, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{account::Account, error::LocalError};

/// One account's registry at an address of its own, until it is dropped.
#[derive(Debug)]
pub struct RegistryAddress {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Upstream {
    client: reqwest::Client,
    endpoint: String,
    /// What the emulator knows the registry by.
    host: String,
}

impl RegistryAddress {
    /// Opens the registry of `account` on a free port.
    pub async fn open(account: &Account) -> Result<Self, LocalError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|source| LocalError::call("prepare HTTP", source))?;
        let upstream = Upstream {
            client,
            endpoint: account.endpoint().to_owned(),
            host: account.registry(),
        };
        let fail = |source: io::Error| LocalError::call("open a port for a registry", source);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let accepting = tokio::spawn(async move {
            // The connections end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, upstream.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, accepting })
    }

    /// Returns the registry's name for references, such as `127.0.0.1:40123`.
    pub fn name(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for RegistryAddress {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Body = BoxBody<Bytes, reqwest::Error>;

async fn serve(stream: TcpStream, upstream: Upstream) {
    let answer = service_fn(move |request| {
        let upstream = upstream.clone();
        async move { forward(&upstream, request).await }
    });
    // A client that breaks off has its own reasons.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn forward(upstream: &Upstream, request: Request<Incoming>) -> Result<Response<Body>, http::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // The registry only: the rest of the emulator has its own address.
    if path != "/v2" && !path.starts_with("/v2/") {
        return Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(text("this address serves /v2/ only"));
    }
    let mut forwarded = upstream
        .client
        .request(head.method, format!("{}{path}", upstream.endpoint))
        .headers(end_to_end(&head.headers))
        .header(HOST, &upstream.host);
    if !body.is_end_stream() {
        forwarded = forwarded.body(reqwest::Body::wrap_stream(BodyDataStream::new(body)));
    }
    match forwarded.send().await {
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                *headers = end_to_end(answer.headers());
            }
            let body = StreamBody::new(answer.bytes_stream().map_ok(Frame::data));
            response.body(BodyExt::boxed(body))
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the emulator's registry did not answer"
            );
            Response::builder()
                .status(StatusCode::BAD_GATEWAY)
                .body(text("the emulator does not answer"))
        }
    }
}

/// Leaves out what concerns one connection only, and the name that is replaced.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let hop: [HeaderName; 4] = [
        HOST,
        CONNECTION,
        TRANSFER_ENCODING,
        HeaderName::from_static("keep-alive"),
    ];
    headers
        .iter()
        .filter(|(name, _)| !hop.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn text(message: &'static str) -> Body {
    Full::new(Bytes::from_static(message.as_bytes()))
        .map_err(|never| match never {})
        .boxed()
}
