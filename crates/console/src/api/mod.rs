//! The REST API, one file for each resource.
//!
//! A handler says with its arguments who may call it ([`crate::auth`]), and with its `utoipa::path` what it takes and
//! answers; the document at `/v1/openapi.json` is made of these and kept as `docs/openapi.json`.

pub mod document;
mod input;
mod integrations;
mod paging;

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::context::Console;

/// Makes the API, and the document that describes it.
pub fn router() -> (Router<Console>, OpenApi) {
    let routes = OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(integrations::list, integrations::create))
        .routes(routes!(integrations::show));
    let (router, mut document) = routes.split_for_parts();
    document::add_what_all_answer(&mut document);
    (router, document)
}
