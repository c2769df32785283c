//! The REST API, one file for each resource.
//!
//! A handler says with its arguments who may call it ([`crate::auth`]), and with its `utoipa::path` what it takes and
//! answers. Requests are routed by these, and the document is made of them; `docs/openapi.json` keeps it, and is what
//! `/v1/openapi.json` serves.

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

use axum::{
    Router, middleware,
    routing::{MethodFilter, MethodRouter},
};
use utoipa::{OpenApi, Path, openapi::HttpMethod};

use crate::context::Console;

/// Makes the API.
pub fn router(console: &Console) -> Router<Console> {
    let once = middleware::from_fn_with_state(console.clone(), idempotency::once);
    routes().route_layer(once)
}

/// Takes every operation once, for what routes it and for what describes it.
///
/// They are apart because describing takes as long as all else that a start of the function does, and is not needed there.
macro_rules! operations {
    ($($resource:ident::$operation:ident,)*) => {
        fn routes() -> Router<Console> {
            let router = Router::new();
            // The name that `utoipa::path` gives to what it makes of a handler.
            pastey::paste! {
                $(let router = route::<$resource::[<__path_ $operation>]>(router, |methods| {
                    MethodRouter::new().on(methods, $resource::$operation)
                });)*
            }
            router
        }

        #[derive(OpenApi)]
        #[openapi(paths($($resource::$operation),*))]
        struct Described;
    };
}

operations! {
    health::show,
    me::show,
    me::redeem,
    operations::show,
    operations::tenants,
    operations::redrive,
    tenants::list,
    tenants::create,
    tenants::show,
    tenants::invite_administrator,
    members::list,
    members::show,
    members::change,
    members::remove,
    members::invite,
    api_keys::list,
    api_keys::create,
    api_keys::revoke,
    integrations::list,
    integrations::create,
    integrations::show,
    integrations::change,
    connections::remove,
    connections::confirm,
    connections::verify,
    connections::rotate,
    connections::links,
    connections::add_region,
    watch::coverage,
    watch::receipts,
    images::list,
    images::show,
    images::repositories,
    images::in_repository,
    reports::show,
    findings::list,
    findings::changes,
    search::packages,
    search::with_flaw,
    webhooks::list,
    webhooks::create,
    webhooks::show,
    webhooks::change,
    webhooks::remove,
    webhooks::renew_secret,
    webhooks::test,
    webhooks::deliveries,
    webhooks::redeliver,
}

fn route<Operation: Path>(
    router: Router<Console>,
    handler: impl FnOnce(MethodFilter) -> MethodRouter<Console>,
) -> Router<Console> {
    let methods = Operation::methods().iter().map(filter).reduce(MethodFilter::or);
    match methods {
        Some(methods) => router.route(&Operation::path(), handler(methods)),
        None => router,
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
    }
}
