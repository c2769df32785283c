//! Whether the console is there.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// That the console answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// The version of the program.
    version: &'static str,
}

/// Says that the console answers; anybody may ask.
#[utoipa::path(
    get,
    path = "/v1/health",
    tag = "health",
    operation_id = "showHealth",
    security(()),
    responses((status = 200, description = "It answers", body = Health))
)]
pub(crate) async fn show() -> Json<Health> {
    Json(Health {
        version: env!("CARGO_PKG_VERSION"),
    })
}
