//! Cookies: only over TLS, only for this host, and out of reach of scripts.

use http::{HeaderMap, HeaderValue, header};
use portwarden_core::access::Token;

/// Holds the session's token.
pub(super) const SESSION: &str = "__Host-portwarden";

/// Holds the token of a sign-in that is under way.
pub(super) const SIGN_IN: &str = "__Host-portwarden-sign-in";

/// Finds a cookie; if there are several of the name, none of them counts.
pub(super) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let first = found.next();
    first.filter(|_| found.next().is_none())
}

/// Sets a cookie for `seconds`.
///
/// `Lax`, since the issuer sends the browser back from another site; what changes something needs more than a cookie.
pub(super) fn set(name: &str, token: &Token, seconds: i64) -> HeaderValue {
    attributes(name, token.expose(), seconds)
}

/// Lets a browser forget a cookie.
pub(super) fn clear(name: &str) -> HeaderValue {
    attributes(name, "", 0)
}

fn attributes(name: &str, value: &str, seconds: i64) -> HeaderValue {
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::from_str(&text).expect("names and tokens are letters, digits, hyphens and underscores")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_not_if_there_are_two() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=1; __Host-portwarden=x; b=2"),
        );
        assert_eq!(read(&headers, SESSION), Some("x"));
        assert_eq!(read(&headers, SIGN_IN), None);
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-portwarden=y"));
        assert_eq!(read(&headers, SESSION), None);
    }
}
