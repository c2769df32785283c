//! Changes that two people may make at once: an `ETag` names what was read, and `If-Match` what is to be changed.
//!
//! It counts what people edit, so that what tests and events write meanwhile is in nobody's way.

use axum::extract::FromRequestParts;
use http::{HeaderValue, header, request::Parts};
use portwarden_core::store::Revision;

use crate::{context::Console, error::Refusal};

/// What the caller has read, if it says so; without it the change is made whatever is there.
pub(crate) struct IfMatch(pub(crate) Option<Revision>);

/// Writes a revision as an `ETag`.
pub(crate) fn etag(revision: Revision) -> HeaderValue {
    let text = format!("\"{}\"", revision.0);
    HeaderValue::from_str(&text).expect("digits in quotes are a header's value")
}

impl FromRequestParts<Console> for IfMatch {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Console) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        // Any other one names something that was never there.
        let revision = number.and_then(|number| number.parse().ok()).map(Revision);
        revision
            .map(|revision| Self(Some(revision)))
            .ok_or(Refusal::Changed)
    }
}
