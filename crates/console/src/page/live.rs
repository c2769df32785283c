//! Pages that a browser reads again and again: an answer without a body says that nothing has changed.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use maud::Markup;
use portwarden_oci::Digest;

/// Answers with a page, or that it is the one that the browser has.
pub(super) fn answer(headers: &HeaderMap, page: Markup) -> Response {
    let body = page.into_string();
    let etag = format!("\"{}\"", &Digest::of(body.as_bytes()).hex()[..32]);
    let known = headers
        .get(header::IF_NONE_MATCH)
        .map(http::HeaderValue::as_bytes);
    if known == Some(etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    ([(header::ETAG, etag)], maud::PreEscaped(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_not_sent_again() {
        let page = |text: &str| maud::html! { p { (text) } };
        let first = answer(&HeaderMap::new(), page("a"));
        assert_eq!(first.status(), StatusCode::OK);
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(answer(&headers, page("a")).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(&headers, page("b")).status(), StatusCode::OK);
    }
}
