//! What requests bring: JSON bodies and queries, parsed once.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{HeaderMap, header, request::Parts};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{context::Console, error::Refusal};

/// A JSON body.
pub(crate) struct Input<T>(pub(crate) T);

/// The parameters of a query.
pub(crate) struct Query<T>(pub(crate) T);

/// The ids in a path; what is no id leads nowhere.
pub(crate) struct Path<T>(pub(crate) T);

/// A text that is wrapped as it comes in.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Secret(SecretString);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Secret {
    /// Returns the text.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Hands on the wrapped text.
    pub(crate) fn wrapped(&self) -> &SecretString {
        &self.0
    }
}

/// The greatest body in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

impl<T: DeserializeOwned> FromRequest<Console> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Refusal> {
        if !is_json(request.headers()) {
            return Err(Refusal::ContentType);
        }
        let bytes = Bytes::from_request(request, console)
            .await
            .map_err(|_| Refusal::TooLarge)?;
        if bytes.len() > MAX_BODY {
            return Err(Refusal::TooLarge);
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let message = format!("The body is not what it must be: {error}.");
            Refusal::invalid("body_invalid", message, "Look the body up in /v1/openapi.json.")
        })
    }
}

/// A JSON body is declared as one, so that no form of another site can send it.
fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = declared.and_then(|declared| declared.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

impl<T: DeserializeOwned> FromRequestParts<Console> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refusal> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, console).await;
        let axum::extract::Query(query) = read.map_err(|error| {
            let message = format!("The query is not what it must be: {}.", error.body_text());
            Refusal::invalid(
                "query_invalid",
                message,
                "Look its parameters up in /v1/openapi.json.",
            )
        })?;
        Ok(Self(query))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Console> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refusal> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, console).await;
        read.map(|axum::extract::Path(path)| Self(path))
            .map_err(|_| Refusal::NotFound)
    }
}
