//! What invoked the function, and the outside of an HTTP request.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use portwarden_core::{endpoint::BasicCredentials, id::IntegrationId};
use serde::Deserialize;
use serde_json::Value;

use crate::error::Refusal;

/// The greatest body in bytes: EventBridge asks for answers to 1 MiB and sends no more itself.
pub const MAX_BODY: usize = 1024 * 1024;

/// What invoked the function.
///
/// The envelope alone tells: an HTTP API puts `requestContext` beside the body, EventBridge has no such field, and what
/// either carries inside is not looked at.
pub(crate) enum Invocation {
    /// A request of the HTTP API.
    Http(Result<HttpRequest, Refusal>),
    /// An event of the rule for the operator's own registries.
    Event(Vec<u8>),
}

impl Invocation {
    pub(crate) fn of(payload: &Value) -> Self {
        if payload.get("requestContext").is_some() {
            let request = Envelope::deserialize(payload).map_err(|_| Refusal::Unreadable);
            Self::Http(request.and_then(HttpRequest::try_from))
        } else {
            // The same event gives the same bytes: fields are written in the order of their names.
            Self::Event(payload.to_string().into_bytes())
        }
    }
}

/// A request as an HTTP API hands it to a function.
///
/// Source: API Gateway developer guide, "Lambda function input for format 2.0". Header names are in lower case, and
/// values of repeated headers are joined by commas.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    raw_path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    request_context: RequestContext,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

/// A request whose credentials and body are not looked at yet.
///
/// It has no `Debug`: its headers hold a password.
pub(crate) struct HttpRequest {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl TryFrom<Envelope> for HttpRequest {
    type Error = Refusal;

    fn try_from(envelope: Envelope) -> Result<Self, Refusal> {
        let body = envelope.body.unwrap_or_default();
        let body = if envelope.is_base64_encoded {
            BASE64_STANDARD.decode(body).map_err(|_| Refusal::Unreadable)?
        } else {
            body.into_bytes()
        };
        Ok(Self {
            method: envelope.request_context.http.method,
            path: envelope.raw_path,
            headers: envelope.headers,
            body,
        })
    }
}

impl HttpRequest {
    /// Returns whose endpoint the request is for, once path and method are right.
    ///
    /// The path is taken as the API hands it on: whatever would have to be decoded, folded or cut still is another path.
    pub(crate) fn integration(&self) -> Result<IntegrationId, Refusal> {
        let id = self.path.strip_prefix("/v1/events/").ok_or(Refusal::NoSuchPath)?;
        let id = id.parse().map_err(|_| Refusal::NoSuchPath)?;
        if self.method == "POST" {
            Ok(id)
        } else {
            Err(Refusal::Method)
        }
    }

    /// Checks size, encoding and type of the body, none of which depends on who sends it.
    pub(crate) fn check_content(&self) -> Result<(), Refusal> {
        if self.body.len() > MAX_BODY {
            return Err(Refusal::TooLarge);
        }
        if self.header("content-encoding").is_some() {
            return Err(Refusal::Encoded);
        }
        self.header("content-type")
            .is_some_and(is_json)
            .then_some(())
            .ok_or(Refusal::ContentType)
    }

    /// Returns what the sender presents, if it can be read.
    pub(crate) fn credentials(&self) -> Option<BasicCredentials> {
        BasicCredentials::parse(self.header("authorization")?.as_bytes())
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.as_str())
    }
}

/// Tells whether a content type is JSON in UTF-8, the only encoding that JSON has (RFC 8259, section 8.1).
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}
