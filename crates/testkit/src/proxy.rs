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
}

type Body = BoxBody<Bytes, io::Error>;

impl FaultyProxy {
    /// Starts a proxy on a free port in front of `upstream`, such as `http://127.0.0.1:4566`; it fails nothing yet.
    pub async fn start(upstream: &str, plan: Plan) -> io::Result<Self> {
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
        let service = service_of(&head.headers, head.uri.path());
        let operation = operation_of(&head, &body);
        *lock(&self.calls).entry((service.clone(), operation)).or_default() += 1;
        let is_closed = lock(&self.closed)
            .as_ref()
            .is_some_and(|part| head.uri.path().contains(part.as_str()));
        if is_closed {
            let mut answer = Response::new(full(Bytes::new()));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            return Ok(answer);
        }
        let fault = self.next_fault(&service);
        match fault {
            Some(Fault::Lost) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Throttled) => return Ok(throttled(&service)),
            Some(Fault::Delay(time)) => sleep(time).await,
            Some(Fault::Unanswered | Fault::Cut) | None => {}
        }
        let answer = self.forward(head, body).await?;
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
    async fn forward(&self, head: http::request::Parts, body: Bytes) -> io::Result<Response<Bytes>> {
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
            .body(body);
        let answer = request.send().await.map_err(io::Error::other)?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        let content = answer.bytes().await.map_err(io::Error::other)?;
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
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    // Credential=KEY/DATE/REGION/SERVICE/aws4_request
    let credential = authorization.and_then(|text| text.split_once("Credential=")?.1.split(',').next());
    let service = credential.and_then(|scope| scope.split('/').nth(3));
    service.unwrap_or("other").to_owned()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::registry::{RegistryServer, Settings};

    const NEVER: Plan = Plan {
        seed: 1,
        per_mille: 0,
    };

    /// A plan whose first request meets a fault.
    fn first(is_wanted: impl Fn(Fault) -> bool) -> Plan {
        let plans = (0..).map(|seed| Plan {
            seed,
            per_mille: 1000,
        });
        plans
            .into_iter()
            .find(|plan| plan.fault(0).is_some_and(&is_wanted))
            .unwrap()
    }

    /// A proxy in front of a registry, and what it makes of one request for a blob that is there.
    async fn ask(plan: Plan) -> (RegistryServer, reqwest::Result<(StatusCode, Bytes)>) {
        let registry = RegistryServer::start(Settings::default()).await.unwrap();
        let repository = "shop/web".parse().unwrap();
        registry.publish_blob(&repository, portwarden_oci::Digest::of(b"content"), "content");
        let proxy = FaultyProxy::start(&registry.url(), plan).await.unwrap();
        proxy.set_failing(true);
        let url = format!(
            "{}/v2/shop/web/blobs/{}",
            proxy.url(),
            portwarden_oci::Digest::of(b"content")
        );
        let answer = async {
            let answer = reqwest::get(url).await?;
            let status = answer.status();
            Ok((status, answer.bytes().await?))
        };
        let answer = answer.await;
        let met: usize = proxy.met().values().sum();
        assert_eq!(met, usize::from(plan.per_mille > 0));
        (registry, answer)
    }

    #[tokio::test]
    async fn calls_are_counted_by_service_and_operation() {
        let registry = RegistryServer::start(Settings::default()).await.unwrap();
        let proxy = FaultyProxy::start(&registry.url(), NEVER).await.unwrap();
        let client = reqwest::Client::new();
        let signed = |service| {
            format!("AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/{service}/aws4_request, Signature=0")
        };
        let post = |service| client.post(proxy.url()).header("authorization", signed(service));
        for request in [
            post("dynamodb").header("x-amz-target", "DynamoDB_20120810.GetItem"),
            post("dynamodb").header("x-amz-target", "DynamoDB_20120810.GetItem"),
            post("sts").body("Version=2011-06-15&Action=AssumeRole"),
            client
                .put(format!("{}/bucket/key", proxy.url()))
                .header("authorization", signed("s3")),
            client.get(format!("{}/v2/shop/web/manifests/1.4", proxy.url())),
        ] {
            request.send().await.unwrap();
        }
        let call = |service: &str, operation: &str| (service.to_owned(), operation.to_owned());
        let expected = Calls::from([
            (call("dynamodb", "GetItem"), 2),
            (call("sts", "AssumeRole"), 1),
            (call("s3", "PUT"), 1),
            (call("registry", "GET manifests"), 1),
        ]);
        assert_eq!(proxy.take_calls(), expected);
        assert_eq!(proxy.take_calls(), Calls::new());
    }

    #[tokio::test]
    async fn an_answer_comes_through_as_it_is() {
        let (registry, answer) = ask(NEVER).await;
        assert_eq!(answer.unwrap(), (StatusCode::OK, Bytes::from_static(b"content")));
        assert!(!registry.requests()[0].headers.contains_key("x-forwarded-for"));
    }

    #[tokio::test]
    async fn requests_are_lost_before_or_after_their_effect() {
        for (fault, seen) in [(Fault::Lost, 0), (Fault::Unanswered, 1), (Fault::Cut, 1)] {
            let (registry, answer) = ask(first(|met| met == fault)).await;
            let error = answer.unwrap_err();
            assert!(!error.is_status(), "{fault:?}: {error}");
            assert_eq!(registry.requests().len(), seen, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_throttled_request_never_arrives() {
        let (registry, answer) = ask(first(|met| met == Fault::Throttled)).await;
        let (status, body) = answer.unwrap();
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert!(body.starts_with(b"{\"errors\""));
        assert_eq!(registry.requests().len(), 0);
    }

    #[tokio::test]
    async fn a_closed_path_is_closed_until_it_is_opened() {
        let registry = RegistryServer::start(Settings::default()).await.unwrap();
        let proxy = FaultyProxy::start(&registry.url(), NEVER).await.unwrap();
        let ask = async |path: &str| {
            reqwest::get(format!("{}{path}", proxy.url()))
                .await
                .unwrap()
                .status()
        };
        proxy.close(Some("/v2/"));
        assert_eq!(ask("/v2/").await, StatusCode::NOT_FOUND);
        proxy.close(None);
        assert_eq!(ask("/v2/").await, StatusCode::OK);
    }

    #[test]
    fn a_seed_decides_everything_and_meets_about_as_many_as_planned() {
        let plan = Plan {
            seed: 7,
            per_mille: 50,
        };
        let faults: Vec<_> = (0..10_000).filter_map(|number| plan.fault(number)).collect();
        assert_eq!(
            faults,
            (0..10_000)
                .filter_map(|number| plan.fault(number))
                .collect::<Vec<_>>()
        );
        assert!((400..600).contains(&faults.len()), "{}", faults.len());
        let kinds: BTreeSet<_> = faults.iter().map(|fault| fault.name()).collect();
        assert_eq!(kinds.len(), 5);
        let other = Plan { seed: 8, ..plan };
        assert_ne!(
            faults,
            (0..10_000)
                .filter_map(|number| other.fault(number))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_signature_names_the_service() {
        let mut headers = HeaderMap::new();
        let value =
            "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host";
        assert_eq!(service_of(&headers, "/"), "other");
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        assert_eq!(service_of(&headers, "/"), "dynamodb");
        assert_eq!(service_of(&headers, "/v2/shop/web/tags/list"), "registry");
    }
}
