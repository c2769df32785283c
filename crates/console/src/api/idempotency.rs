//! Writes that are sent again: what every route that changes something goes through.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts as _, RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use portwarden_core::{
    id::TenantId,
    idempotency::{Begun, Desk, KeptAnswer, Ticket},
};
use sha2::{Digest as _, Sha256};

use super::input::MAX_BODY;
use crate::{auth::Caller, context::Console, error::Refusal};

/// The key that a caller gives a write.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The fields of an answer that are shown once: they are not kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownOnce(pub(crate) &'static [&'static str]);

/// Does a write once for each key.
pub(crate) async fn once(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let key = request.headers().get(KEY).filter(|_| !request.method().is_safe());
    let Some(key) = key else {
        return Ok(next.run(request).await);
    };
    let key = read_key(key)?;
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &console).await?;
    let desk = desk(&console, &caller, &mut parts).await?;
    let Some(desk) = desk else {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|_| Refusal::TooLarge)?.to_bytes();
    let fingerprint = fingerprint(&parts, &body);
    let now = console.clock.now();
    let who = caller.id();
    let begun = console
        .writes
        .begin(&desk, (&who, &key), &fingerprint, now)
        .await?;
    match begun {
        Begun::First(ticket) => {
            let is_repeatable = parts.method.is_idempotent();
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            keep(&console, ticket, is_repeatable, response).await
        }
        Begun::Done(answer) => Ok(again(answer)),
        Begun::UnderWay => Err(Refusal::conflict(
            "write_under_way",
            "The same write is under way.",
            "Send it again in a few seconds, with the same Idempotency-Key.",
        )),
        Begun::Interrupted => Err(Refusal::conflict(
            "write_interrupted",
            "The same write was begun, and nobody knows how it ended.",
            "Look whether it has had its effect; if not, send it again with a new Idempotency-Key.",
        )),
        Begun::OtherWrite => Err(Refusal::conflict(
            "idempotency_key_used",
            "The Idempotency-Key belongs to another write.",
            "Give each write a new Idempotency-Key, such as a random UUID.",
        )),
    }
}

fn read_key(value: &HeaderValue) -> Result<String, Refusal> {
    let is_valid = (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    let text = value.to_str().ok().filter(|_| is_valid).map(str::to_owned);
    text.ok_or_else(|| {
        let fix = "Send a random UUID, for example.";
        let message = "An Idempotency-Key has 1 to 128 visible ASCII characters.";
        Refusal::invalid("idempotency_key_invalid", message, fix)
    })
}

/// Finds where the write's answer belongs; whoever has no rights there gets the handler's own refusal.
async fn desk(console: &Console, caller: &Caller, parts: &mut Parts) -> Result<Option<Desk>, Refusal> {
    let params = RawPathParams::from_request_parts(parts, console)
        .await
        .map_err(|_| Refusal::NotFound)?;
    let tenant = params.iter().find(|(name, _)| *name == "tenant");
    if let Some((_, text)) = tenant
        && let Ok(tenant) = text.parse::<TenantId>()
    {
        match caller.grant(console, &tenant).await {
            Ok(grant) => return Ok(Some(Desk::Tenant(grant.scope().clone()))),
            Err(Refusal::NotFound) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    // What is no tenant's is an operator's, and so is what an operator does for a tenant.
    let Some(person) = caller.person() else {
        return Ok(None);
    };
    if let Some(operators) = console.access.of_operator(person).await? {
        return Ok(Some(Desk::Operators(operators)));
    }
    let is_own = parts.uri.path().starts_with("/v1/me/");
    Ok(is_own.then(|| Desk::Person(person.id().clone())))
}

/// Whatever makes it the same write: nothing of who sends it, which is part of the key.
fn fingerprint(parts: &Parts, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let condition = parts.headers.get(header::IF_MATCH);
    let condition = condition.map_or(&b""[..], HeaderValue::as_bytes);
    for part in [parts.method.as_str().as_bytes(), path.as_bytes(), condition, body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    BASE64_URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Headers of an answer that are part of it.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];

/// Keeps what became of a write: the answer of one that was done, or that one failed and may be done all the same.
///
/// One that was refused has changed nothing, and one that has the same effect however often it is done does no harm: both
/// can be sent again.
async fn keep(
    console: &Console,
    ticket: Ticket,
    is_repeatable: bool,
    response: Response,
) -> Result<Response, Refusal> {
    let status = response.status();
    if status.is_server_error() && !is_repeatable {
        // Left as it is, it counts as interrupted in half a minute.
        if let Err(error) = console.writes.leave(ticket).await {
            tracing::warn!(
                outcome.error = portwarden_core::problem::chain(&error),
                "a write that failed is not marked"
            );
        }
        return Ok(response);
    }
    if !status.is_success() {
        console.writes.forget(ticket).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes);
    let bytes = bytes.unwrap_or_default();
    let secrets = parts.extensions.get::<ShownOnce>().map_or(&[][..], |once| once.0);
    let headers = KEPT_HEADERS.iter().filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    let answer = KeptAnswer {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body: without(&bytes, secrets),
    };
    // It is done, whether or not that could be kept.
    if let Err(error) = console.writes.finish(ticket, answer).await {
        tracing::warn!(
            outcome.error = portwarden_core::problem::chain(&error),
            "the answer of a write is not kept"
        );
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn without(body: &Bytes, secrets: &[&str]) -> String {
    let text = || String::from_utf8_lossy(body).into_owned();
    if secrets.is_empty() {
        return text();
    }
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return String::new();
    };
    for secret in secrets {
        if let Some(field) = value.get_mut(*secret) {
            *field = serde_json::Value::Null;
        }
    }
    value.to_string()
}

fn again(answer: KeptAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
