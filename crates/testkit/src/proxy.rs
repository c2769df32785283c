//! A proxy on loopback in front of an AWS emulator that counts what is called, and fails as AWS and networks do, by
//! chance from a seed.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING},
};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

mod tap;
#[cfg(test)]
mod tests;

pub use tap::{Call, Tap};

/// Forwards requests to an emulator, and makes some of them fail; everything ends when this is dropped.
#[derive(Debug)]
pub struct FaultyProxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

/// Which requests fail, and how: the same numbers always do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// How many of a thousand requests meet a fault.
    pub per_mille: u64,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It takes its time, but for that it goes well.
    Delay(Duration),
    /// The connection breaks before the service has seen the request.
    Lost,
    /// The connection breaks after the request has had its effect.
    Unanswered,
    /// The connection breaks in the middle of the answer, after the request has had its effect.
    Cut,
    /// The service says that it is asked too much.
    Throttled,
}

/// How often each fault has met each service, by the names of both.
pub type Met = BTreeMap<(String, &'static str), usize>;

/// How often each operation of each service was called, by the names of both.
pub type Calls = BTreeMap<(String, String), usize>;

#[derive(Debug)]
struct State {
    upstream: String,
    client: reqwest::Client,
    plan: Plan,
    is_failing: AtomicBool,
    requests: AtomicU64,
    met: Mutex<Met>,
    calls: Mutex<Calls>,
    closed: Mutex<Option<String>>,
    tap: Arc<dyn Tap>,
}

type Body = BoxBody<Bytes, io::Error>;

impl FaultyProxy {
    /// Starts a proxy on a free port in front of `upstream`, such as `http://127.0.0.1:4566`; it fails nothing yet.
    pub async fn start(upstream: &str, plan: Plan) -> io::Result<Self> {
        Self::start_tapped(upstream, plan, Arc::new(tap::Nobody)).await
    }

    /// Starts a proxy whose calls somebody sees.
    pub async fn start_tapped(upstream: &str, plan: Plan, tap: Arc<dyn Tap>) -> io::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            client: client.build().map_err(io::Error::other)?,
            plan,
            is_failing: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            met: Mutex::default(),
            calls: Mutex::default(),
            closed: Mutex::default(),
            tap,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// Returns the proxy's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets requests meet faults from now on, or no longer.
    pub fn set_failing(&self, is_failing: bool) {
        self.state.is_failing.store(is_failing, Ordering::SeqCst);
    }

    /// Answers 404 to everything below paths that contain `path_part`, or to nothing any longer.
    pub fn close(&self, path_part: Option<&str>) {
        *lock(&self.state.closed) = path_part.map(str::to_owned);
    }

    /// Returns which faults there were so far.
    pub fn met(&self) -> Met {
        lock(&self.state.met).clone()
    }

    /// Returns what was called since the last time, repetitions included.
    pub fn take_calls(&self) -> Calls {
        std::mem::take(&mut lock(&self.state.calls))
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        // The connections belong to the task and end with it.
        self.accepting.abort();
    }
}

impl Plan {
    /// Decides what the request with this number meets.
    pub fn fault(self, number: u64) -> Option<Fault> {
        let random = mix(self.seed ^ mix(number));
        if random % 1000 >= self.per_mille {
            return None;
        }
        let random = mix(random);
        Some(match random % 5 {
            0 => Fault::Delay(Duration::from_millis(50 + (random >> 8) % 1000)),
            1 => Fault::Lost,
            2 => Fault::Unanswered,
            3 => Fault::Cut,
            _ => Fault::Throttled,
        })
    }
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Delay(_) => "delayed",
            Self::Lost => "lost",
            Self::Unanswered => "unanswered",
            Self::Cut => "cut",
            Self::Throttled => "throttled",
        }
    }
}

/// Makes numbers that look random out of numbers in order.
///
/// Source: the finalizer of `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { state.serve(request).await }
            });
            // An error here is a fault, or a client that went away.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl State {
    /// Answers a request; an error breaks the connection.
    async fn serve(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        // Read to its end whatever follows, so that a broken connection is not taken for a refused body.
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let call = Call {
            service: service_of(&head.headers, head.uri.path()),
            operation: operation_of(&head, &body),
            access_key_id: credential_of(&head.headers).next().unwrap_or_default().to_owned(),
            body: body.clone(),
        };
        let counted = (call.service.clone(), call.operation.clone());
        *lock(&self.calls).entry(counted).or_default() += 1;
        let is_closed = lock(&self.closed)
            .as_ref()
            .is_some_and(|part| head.uri.path().contains(part.as_str()));
        if is_closed {
            let mut answer = Response::new(full(Bytes::new()));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            return Ok(answer);
        }
        let chosen = self.tap.fault(&call);
        let fault = chosen.or_else(|| self.next_fault(&call.service));
        match fault {
            Some(Fault::Lost) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Throttled) => return Ok(throttled(&call.service)),
            Some(Fault::Delay(time)) => sleep(time).await,
            Some(Fault::Unanswered | Fault::Cut) | None => {}
        }
        let answer = self.forward(head, &call).await?;
        match fault {
            Some(Fault::Unanswered) => Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Cut) => Ok(cut(answer)),
            _ => Ok(answer.map(full)),
        }
    }

    fn next_fault(&self, service: &str) -> Option<Fault> {
        if !self.is_failing.load(Ordering::SeqCst) {
            return None;
        }
        let fault = self.plan.fault(self.requests.fetch_add(1, Ordering::SeqCst))?;
        *lock(&self.met)
            .entry((service.to_owned(), fault.name()))
            .or_default() += 1;
        Some(fault)
    }

    /// Asks the emulator exactly what was asked, `Host` included, which signatures and the registry's names depend on.
    async fn forward(&self, head: http::request::Parts, call: &Call) -> io::Result<Response<Bytes>> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let is_head = head.method == Method::HEAD;
        let mut headers = head.headers;
        for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
            headers.remove(name);
        }
        let request = self
            .client
            .request(head.method, format!("{}{path}", self.upstream))
            .headers(headers)
            .body(call.body.clone());
        let answer = request.send().await.map_err(io::Error::other)?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        let content = answer.bytes().await.map_err(io::Error::other)?;
        let content = self.tap.answer(call, content);
        headers.remove(CONNECTION);
        headers.remove(TRANSFER_ENCODING);
        if !is_head {
            headers.insert(CONTENT_LENGTH, content.len().into());
        }
        let mut answer = Response::new(content);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

/// Returns the service that a request is for: its signature names it, and registries have paths of their own.
fn service_of(headers: &HeaderMap, path: &str) -> String {
    if path.starts_with("/v2/") {
        return "registry".to_owned();
    }
    credential_of(headers).nth(3).unwrap_or("other").to_owned()
}

/// Returns the parts of what a signature says of itself: `Credential=KEY/DATE/REGION/SERVICE/aws4_request`.
fn credential_of(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = authorization.and_then(|text| text.split_once("Credential=")?.1.split(',').next());
    credential.unwrap_or_default().split('/')
}

/// Returns what a request asks for: each protocol says it in a place of its own, and those of S3 and of registries do
/// not say it but by method and path.
fn operation_of(head: &http::request::Parts, body: &[u8]) -> String {
    let target = head
        .headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok());
    if let Some((_, operation)) = target.and_then(|target| target.rsplit_once('.')) {
        return operation.to_owned();
    }
    let form = std::str::from_utf8(body).unwrap_or_default();
    let action = form.split('&').find_map(|pair| pair.strip_prefix("Action="));
    let of_path = || {
        // /v2/NAME/manifests/REFERENCE
        let kind = head
            .uri
            .path()
            .rsplit('/')
            .nth(1)
            .filter(|kind| ["manifests", "blobs"].contains(kind));
        format!("{} {}", head.method, kind.unwrap_or_default())
            .trim_end()
            .to_owned()
    };
    action.map_or_else(of_path, str::to_owned)
}

/// What each service says when it is asked too much.
///
/// Source: the services' API references, "Common errors"; for S3 "Error responses" (`SlowDown`), for SQS
/// `RequestThrottled`; for registries the OCI distribution specification, "Error codes".
fn throttled(service: &str) -> Response<Body> {
    let (status, content_type, body) = match service {
        "registry" => (
            StatusCode::TOO_MANY_REQUESTS,
            "application/json",
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}"#,
        ),
        "s3" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "application/xml",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code>\
             <Message>Please reduce your request rate.</Message><RequestId>0</RequestId></Error>",
        ),
        "sts" => (
            StatusCode::BAD_REQUEST,
            "text/xml",
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>Throttling</Code><Message>Rate exceeded</Message></Error><RequestId>0</RequestId></ErrorResponse>",
        ),
        "dynamodb" => (
            StatusCode::BAD_REQUEST,
            "application/x-amz-json-1.0",
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Rate exceeded"}"#,
        ),
        "sqs" => (
            StatusCode::FORBIDDEN,
            "application/x-amz-json-1.0",
            r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"Request is throttled."}"#,
        ),
        _ => (
            StatusCode::BAD_REQUEST,
            "application/x-amz-json-1.1",
            r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
        ),
    };
    let mut answer = Response::new(full(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    if service == "registry" {
        answer.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    answer
}

/// Breaks the connection after half of the answer's body.
fn cut(answer: Response<Bytes>) -> Response<Body> {
    answer.map(|content| {
        let half = content.slice(..content.len() / 2);
        let broken = Err(io::ErrorKind::ConnectionReset.into());
        StreamBody::new(stream::iter([Ok(Frame::data(half)), broken])).boxed()
    })
}

fn full(content: Bytes) -> Body {
    Full::new(content).map_err(|never| match never {}).boxed()
}
