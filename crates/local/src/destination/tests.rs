use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use portwarden_core::random::OsRandomness;
use tokio::net::TcpListener;

use super::*;

/// Retries at once, so that no test waits.
const AT_ONCE: RetryPolicy = RetryPolicy {
    first_delay: Duration::ZERO,
    max_delay: Duration::ZERO,
    max_retries: 3,
    ..RetryPolicy::EVENT_BRIDGE
};

/// Answers as its script says, in order, then with 202; remembers what it was sent.
#[derive(Clone)]
struct Endpoint {
    url: Url,
    seen: Arc<Mutex<Vec<(http::request::Parts, Bytes)>>>,
}

impl Endpoint {
    async fn start(script: &[(u16, Option<&str>)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = Url::parse(&format!("http://{address}/v1/events/i-1")).unwrap();
        let endpoint = Self {
            url,
            seen: Arc::default(),
        };
        let script: Vec<_> = script
            .iter()
            .map(|(status, after)| (*status, after.map(str::to_owned)))
            .collect();
        let state = endpoint.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, script) = (state.clone(), script.clone());
                let answer = service_fn(move |request| answer(state.clone(), script.clone(), request));
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await
                    .unwrap();
            }
        });
        endpoint
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn answer(
    endpoint: Endpoint,
    script: Vec<(u16, Option<String>)>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut seen = endpoint.seen.lock().unwrap();
    let (status, after) = script.get(seen.len()).cloned().unwrap_or((202, None));
    seen.push((head, body));
    let mut response = Response::builder().status(status);
    if let Some(after) = after {
        response = response.header("Retry-After", after);
    }
    Ok(response
        .header("Location", "/elsewhere")
        .body(Full::default())
        .unwrap())
}

fn auth(password: &str) -> BasicAuth {
    BasicAuth {
        username: "portwarden".to_owned(),
        password: password.into(),
    }
}

fn destination(endpoint: &Url, policy: RetryPolicy) -> ApiDestination {
    ApiDestination::new(endpoint.clone(), auth("open: sesame"), policy).unwrap()
}

#[tokio::test]
async fn sends_what_eventbridge_sends() {
    let endpoint = Endpoint::start(&[]).await;
    let delivery = destination(&endpoint.url, AT_ONCE)
        .deliver(br#"{"id":"1"}"#, &OsRandomness)
        .await;
    assert_eq!(
        delivery,
        Delivery::Delivered {
            status: StatusCode::ACCEPTED,
            attempts: 1
        }
    );

    let seen = endpoint.seen.lock().unwrap();
    let (head, body) = &seen[0];
    assert_eq!(
        (head.method.as_str(), head.uri.path(), &body[..]),
        ("POST", "/v1/events/i-1", &br#"{"id":"1"}"#[..])
    );
    for (name, value) in [
        ("authorization", "Basic cG9ydHdhcmRlbjpvcGVuOiBzZXNhbWU="),
        ("user-agent", "Amazon/EventBridge/ApiDestinations"),
        ("content-type", "application/json; charset=utf-8"),
        ("range", "bytes=0-1048575"),
        ("accept-encoding", "gzip,deflate"),
        ("connection", "close"),
        ("content-length", "10"),
    ] {
        assert_eq!(
            head.headers.get(name).map(http::HeaderValue::as_bytes),
            Some(value.as_bytes()),
            "{name}"
        );
    }
    assert!(!head.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn retries_until_the_event_is_taken() {
    let endpoint = Endpoint::start(&[(429, Some("0")), (503, None)]).await;
    let delivery = destination(&endpoint.url, AT_ONCE)
        .deliver(b"{}", &OsRandomness)
        .await;
    assert_eq!(
        delivery,
        Delivery::Delivered {
            status: StatusCode::ACCEPTED,
            attempts: 3
        }
    );
    assert_eq!(endpoint.requests(), 3);
}

#[tokio::test]
async fn a_refusal_or_a_redirect_is_a_dead_letter_at_once() {
    for status in [302, 400, 410, 422] {
        let endpoint = Endpoint::start(&[(status, None)]).await;
        let delivery = destination(&endpoint.url, AT_ONCE)
            .deliver(b"{}", &OsRandomness)
            .await;
        let cause = Cause::Refused(StatusCode::from_u16(status).unwrap());
        assert_eq!(delivery, Delivery::DeadLetter { cause, attempts: 1 });
        assert_eq!(endpoint.requests(), 1);
    }
}

#[tokio::test]
async fn a_negative_retry_after_is_a_dead_letter() {
    let endpoint = Endpoint::start(&[(429, Some("-1"))]).await;
    let delivery = destination(&endpoint.url, AT_ONCE)
        .deliver(b"{}", &OsRandomness)
        .await;
    let cause = Cause::RetryForbidden(StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(delivery, Delivery::DeadLetter { cause, attempts: 1 });
}

#[tokio::test]
async fn one_401_ends_every_delivery_until_the_connection_is_updated() {
    for status in [401, 407] {
        let endpoint = Endpoint::start(&[(status, None)]).await;
        let destination = destination(&endpoint.url, AT_ONCE);
        let delivery = destination.deliver(b"{}", &OsRandomness).await;
        let cause = Cause::Exhausted {
            limit: Exhausted::Retries,
            last: Attempt::Deauthorized,
        };
        assert_eq!(delivery, Delivery::DeadLetter { cause, attempts: 4 });
        assert_eq!((endpoint.requests(), destination.is_authorized()), (1, false));

        destination.authorize(auth("new"));
        let delivery = destination.deliver(b"{}", &OsRandomness).await;
        assert_eq!(
            delivery,
            Delivery::Delivered {
                status: StatusCode::ACCEPTED,
                attempts: 1
            }
        );
        assert_eq!((endpoint.requests(), destination.is_authorized()), (2, true));
    }
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves_is_tried_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let delivery = destination(&url, AT_ONCE).deliver(b"{}", &OsRandomness).await;
    let cause = Cause::Exhausted {
        limit: Exhausted::Retries,
        last: Attempt::Unreachable,
    };
    assert_eq!(delivery, Delivery::DeadLetter { cause, attempts: 4 });
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_answer_is_left_after_five_seconds() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let policy = RetryPolicy {
        max_retries: 0,
        ..AT_ONCE
    };
    let start = Instant::now();
    let delivery = destination(&url, policy).deliver(b"{}", &OsRandomness).await;
    let cause = Cause::Exhausted {
        limit: Exhausted::Retries,
        last: Attempt::TimedOut,
    };
    assert_eq!(delivery, Delivery::DeadLetter { cause, attempts: 1 });
    assert_eq!(start.elapsed().as_secs(), TIME_OUT.as_secs());
    drop(listener);
}

#[test]
fn retry_after_is_read_as_whole_seconds() {
    for (text, expected) in [
        ("5", RetryAfter::Wait(Duration::from_secs(5))),
        (" 5 ", RetryAfter::Wait(Duration::from_secs(5))),
        ("-3", RetryAfter::Never),
        ("soon", RetryAfter::NotGiven),
        ("Wed, 21 Oct 2026 07:28:00 GMT", RetryAfter::NotGiven),
        ("99999999999999999999", RetryAfter::NotGiven),
    ] {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
        assert_eq!(retry_after(&headers), expected, "{text}");
    }
    assert_eq!(retry_after(&HeaderMap::new()), RetryAfter::NotGiven);
}
