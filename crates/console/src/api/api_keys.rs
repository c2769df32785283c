//! API keys: how programs of a tenant come in.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    access::ApiKey,
    id::{ApiKeyId, TenantId},
    name::parse_name,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    idempotency::ShownOnce,
    input::{Input, Path, Query},
    members::RoleName,
    paging::{Page, PageQuery},
};
use crate::{
    auth::{Administrator, Reader},
    context::Console,
    error::Refusal,
};

/// An API key, without what opens anything.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyView {
    /// Its id.
    #[schema(value_type = String)]
    id: ApiKeyId,
    /// What people call it.
    name: String,
    /// What it may do.
    role: RoleName,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Until when it opens anything.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            role: key.role.into(),
            created_at: key.created_at,
            expires_at: key.expires_at,
        }
    }
}

/// Lists the tenant's API keys.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/api-keys",
    tag = "api keys",
    operation_id = "listApiKeys",
    params(("tenant" = String, Path, description = "The tenant"), PageQuery),
    responses((status = 200, description = "A page of keys", body = Page<ApiKeyView>))
)]
pub(crate) async fn list(
    State(console): State<Console>,
    reader: Reader,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ApiKeyView>>, Refusal> {
    let after = query.after::<ApiKeyId>()?;
    let listed = console
        .api_keys
        .list(reader.scope(), after.as_ref(), query.limit()?);
    let (keys, more) = listed.await?;
    let items = keys.into_iter().map(ApiKeyView::from).collect();
    Ok(Json(Page::new(items, more, |view: &ApiKeyView| view.id.clone())))
}

/// What a key is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApiKey {
    /// What people call it.
    #[schema(example = "build server", min_length = 1, max_length = 100)]
    name: String,
    /// What it may do.
    role: RoleName,
    /// For how many days it opens anything, from 1 to 366.
    #[schema(minimum = 1, maximum = 366)]
    days: u16,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedApiKey {
    #[serde(flatten)]
    key: ApiKeyView,
    /// What to send as `Authorization: Bearer`; shown only now.
    #[schema(example = "pwk_…")]
    token: Option<String>,
}

/// Makes an API key.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/api-keys",
    tag = "api keys",
    operation_id = "createApiKey",
    params(("tenant" = String, Path, description = "The tenant")),
    request_body = NewApiKey,
    responses((status = 201, description = "The key, whose token is shown only now", body = CreatedApiKey))
)]
pub(crate) async fn create(
    State(console): State<Console>,
    administrator: Administrator,
    Input(new): Input<NewApiKey>,
) -> Result<Response, Refusal> {
    let name = parse_name(&new.name).map_err(Refusal::name)?;
    if !(1..=366).contains(&new.days) {
        let fix = "Make a new key before the old one expires.";
        return Err(Refusal::invalid(
            "days_invalid",
            "A key lasts 1 to 366 days.",
            fix,
        ));
    }
    let now = console.clock.now();
    let until = now + SignedDuration::from_hours(24 * i64::from(new.days));
    let (scope, role) = (administrator.scope(), new.role.into());
    let made = console
        .api_keys
        .create(scope, &name, role, (now, until), &*console.randomness);
    let (key, token) = made.await?;
    let body = CreatedApiKey {
        key: key.into(),
        token: Some(token.expose().to_owned()),
    };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    response.extensions_mut().insert(ShownOnce(&["token"]));
    Ok(response)
}

/// Revokes an API key, at once and for good.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/api-keys/{key}",
    tag = "api keys",
    operation_id = "revokeApiKey",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("key" = String, Path, description = "The key"),
    ),
    responses((status = 204, description = "It opens nothing any more"))
)]
pub(crate) async fn revoke(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id)): Path<(TenantId, ApiKeyId)>,
) -> Result<StatusCode, Refusal> {
    if console.api_keys.revoke(administrator.scope(), &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::NotFound)
    }
}
