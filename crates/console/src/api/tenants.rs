//! Tenants: made and listed by operators, shown to their members.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use jiff::Timestamp;
use portwarden_core::{access::Role, id::TenantId, name::parse_name, tenant::Tenant};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    idempotency::ShownOnce,
    input::{Input, Path, Query},
    members::InvitationView,
    paging::{Page, PageQuery},
};
use crate::{
    auth::{Operator, Reader},
    context::Console,
    error::Refusal,
};

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantView {
    /// Its id.
    #[schema(value_type = String)]
    id: TenantId,
    /// What people call it.
    name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Tenant> for TenantView {
    fn from(Tenant { id, name, created_at }: Tenant) -> Self {
        Self { id, name, created_at }
    }
}

/// Lists all tenants, for operators.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    tag = "tenants",
    operation_id = "listTenants",
    params(PageQuery),
    responses((status = 200, description = "A page of tenants", body = Page<TenantView>))
)]
pub(crate) async fn list(
    State(console): State<Console>,
    Operator(scope): Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TenantView>>, Refusal> {
    let after = query.after::<TenantId>()?;
    let (tenants, more) = console
        .tenants
        .page(scope, after.as_ref(), query.limit()?)
        .await?;
    let items = tenants.into_iter().map(TenantView::from).collect();
    Ok(Json(Page::new(items, more, |view: &TenantView| view.id.clone())))
}

/// What a tenant is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// What people call it.
    #[schema(example = "Shop", min_length = 1, max_length = 100)]
    name: String,
}

/// Makes a tenant, for operators.
#[utoipa::path(
    post,
    path = "/v1/tenants",
    tag = "tenants",
    operation_id = "createTenant",
    request_body = NewTenant,
    responses((status = 201, description = "It is made", body = TenantView))
)]
pub(crate) async fn create(
    State(console): State<Console>,
    Operator(scope): Operator,
    Input(new): Input<NewTenant>,
) -> Result<Response, Refusal> {
    let name = parse_name(&new.name).map_err(Refusal::name)?;
    let now = console.clock.now();
    let tenant = console
        .tenants
        .create(scope, &name, now, &*console.randomness)
        .await?;
    let location = format!("/v1/tenants/{}", tenant.id);
    let headers = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, Json(TenantView::from(tenant))).into_response())
}

/// Shows a tenant to its members.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}",
    tag = "tenants",
    operation_id = "showTenant",
    params(("tenant" = String, Path, description = "The tenant")),
    responses((status = 200, description = "The tenant", body = TenantView))
)]
pub(crate) async fn show(
    State(console): State<Console>,
    reader: Reader,
) -> Result<Json<TenantView>, Refusal> {
    let tenant = console.tenants.own(reader.scope()).await?;
    Ok(Json(tenant.ok_or(Refusal::NotFound)?.into()))
}

/// Invites an administrator into a tenant, for operators: how a tenant gets its first one.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/administrators",
    tag = "tenants",
    operation_id = "inviteAdministrator",
    params(("tenant" = String, Path, description = "The tenant")),
    responses((status = 201, description = "The invitation, whose token is shown only now", body = InvitationView))
)]
pub(crate) async fn invite_administrator(
    State(console): State<Console>,
    Operator(scope): Operator,
    Path(tenant): Path<TenantId>,
) -> Result<Response, Refusal> {
    if console.tenants.find(scope, &tenant).await?.is_none() {
        return Err(Refusal::NotFound);
    }
    let now = console.clock.now();
    let role = Role::Administrator;
    let invited = console
        .invitations
        .invite_into(scope, &tenant, role, now, &*console.randomness);
    let view = InvitationView::new(&console, invited.await?, role);
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    response.extensions_mut().insert(ShownOnce(&["token", "url"]));
    Ok(response)
}
