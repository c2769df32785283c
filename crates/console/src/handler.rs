//! From a request to its answer: the routes, and what every answer carries.

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use portwarden_aws::{Fault, Line, Service};
use portwarden_core::id::RequestId;

use crate::{
    api, auth,
    context::Console,
    error::{Refusal, Told},
    page,
};

/// Makes the whole console: the API, the sign-in and the pages.
pub fn router(console: Console) -> Router {
    Router::new()
        .merge(api::router(&console))
        .route(
            "/v1/openapi.json",
            get(async || ([(header::CONTENT_TYPE, "application/json")], api::document::KEPT)),
        )
        .merge(auth::sign_in::router())
        .merge(page::router())
        .fallback(async |headers: HeaderMap| nowhere(&headers, Refusal::NotFound))
        .method_not_allowed_fallback(async |headers: HeaderMap| nowhere(&headers, Refusal::Method))
        .layer(middleware::from_fn_with_state(console.clone(), attend))
        .with_state(console)
}

/// Answers where nothing is: people get a page, programs problem details.
fn nowhere(headers: &HeaderMap, refusal: Refusal) -> Response {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accepts.contains("text/html") {
        page::Shown(refusal).into_response()
    } else {
        refusal.into_response()
    }
}

/// Under which name a request is found in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every answer carries, unless its handler has said something else.
///
/// No script, style, picture or frame comes from anywhere else, nothing that is written into a page runs, and nobody
/// keeps an answer.
const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::STRICT_TRANSPORT_SECURITY,
        "max-age=63072000; includeSubDomains",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// Gives a request its id, its answer the headers that all have, and the log its line.
async fn attend(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let started = console.clock.now();
    let id = RequestId::generate(&*console.randomness);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let seen = auth::Seen::default();
    request.extensions_mut().insert(seen.clone());

    let mut response = next.run(request).await;

    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    let told = response.extensions_mut().remove::<Told>();
    let status = response.status();
    let tenant = seen.tenant();
    let line = Line {
        duration: Some(console.clock.now().duration_since(started)),
        tenant: tenant.as_ref(),
        request: Some(&id),
        method: Some(&method),
        route: route.as_ref().map(MatchedPath::as_str),
        status: Some(status.as_u16()),
        code: told.as_ref().map(|told| &*told.code),
        ..Line::of(
            Service::Console,
            match &told {
                None => "answered",
                Some(told) if told.ours.is_some() => "failed",
                Some(_) => "refused",
            },
        )
    };
    match told.as_ref().map(|told| &told.ours) {
        None => line.info("request answered"),
        Some(Some(chain)) => {
            console.counts.failed();
            Line {
                fault: Some(Fault::Ours),
                error: Some(chain.clone()),
                ..line
            }
            .error("request failed");
        }
        Some(None) => Line {
            fault: Some(Fault::Theirs),
            ..line
        }
        .warn("request refused"),
    }
    response
}
