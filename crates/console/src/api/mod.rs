//! The REST API, one file for each resource.
//!
//! A handler says with its arguments who may call it ([`crate::auth`]), and with its `utoipa::path` what it takes and
//! answers; the document at `/v1/openapi.json` is made of these and kept as `docs/openapi.json`.

mod api_keys;
mod connections;
pub mod document;
mod etag;
mod findings;
mod health;
mod idempotency;
mod images;
mod input;
mod integrations;
mod me;
mod members;
mod operations;
mod paging;
mod reports;
mod search;
mod tenants;
mod watch;
mod webhooks;

use axum::{Router, middleware};
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::context::Console;

/// Makes the API, and the document that describes it.
pub fn router(console: &Console) -> (Router<Console>, OpenApi) {
    let all = OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(health::show))
        .routes(routes!(me::show))
        .routes(routes!(me::redeem))
        .routes(routes!(operations::show))
        .routes(routes!(operations::tenants))
        .routes(routes!(operations::redrive))
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::show))
        .routes(routes!(tenants::invite_administrator))
        .routes(routes!(members::list))
        .routes(routes!(members::show, members::change, members::remove))
        .routes(routes!(members::invite))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(integrations::list, integrations::create))
        .routes(routes!(
            integrations::show,
            integrations::change,
            connections::remove
        ))
        .routes(routes!(connections::confirm))
        .routes(routes!(connections::verify))
        .routes(routes!(connections::rotate))
        .routes(routes!(connections::links))
        .routes(routes!(connections::add_region))
        .routes(routes!(watch::coverage))
        .routes(routes!(watch::receipts))
        .routes(routes!(images::list))
        .routes(routes!(images::show))
        .routes(routes!(images::repositories))
        .routes(routes!(images::in_repository))
        .routes(routes!(reports::show))
        .routes(routes!(findings::list))
        .routes(routes!(findings::changes))
        .routes(routes!(search::packages))
        .routes(routes!(search::with_flaw))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::show, webhooks::change, webhooks::remove))
        .routes(routes!(webhooks::renew_secret))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::redeliver));
    let (router, mut document) = all.split_for_parts();
    document::add_what_all_answer(&mut document);
    let once = middleware::from_fn_with_state(console.clone(), idempotency::once);
    (router.route_layer(once), document)
}
