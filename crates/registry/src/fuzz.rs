//! The parsers of what registries send, opened to `tests/fuzz` and to nobody else.

use std::{collections::BTreeMap, time::Duration};

use http::HeaderValue;

use crate::{
    ErrorCode,
    access::Token,
    header::{self, Challenge, ContentRange},
};

/// Parses a `WWW-Authenticate` header into schemes with their parameters.
pub fn challenges(value: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let challenges = Challenge::parse_list(value).into_iter();
    challenges
        .map(|challenge| (challenge.scheme, challenge.parameters))
        .collect()
}

/// Parses a `Content-Range` header into first byte, last byte and total.
pub fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let range = ContentRange::parse(value)?;
    Some((range.first, range.last, range.total))
}

/// Parses a `Retry-After` header beside a `Date`.
pub fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    header::retry_after(value, date)
}

/// Finds the code in the body of an error.
pub fn error_code(body: &[u8]) -> Option<ErrorCode> {
    ErrorCode::find(body)
}

/// Takes the token out of a token service's answer, as the value of an `Authorization` header.
pub fn token(answer: &[u8]) -> Option<HeaderValue> {
    Token::parse(answer).map(|Token(value)| value)
}
