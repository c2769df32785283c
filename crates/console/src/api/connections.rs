//! What is done with an integration that is there: confirming its account, testing, new credentials, links, goodbye.

use axum::{Json, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use portwarden_core::{
    arn::RoleArn,
    id::{AccountId, IntegrationId, Region, RequestId, TenantId},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    input::{Input, Path},
    integrations::LaunchLinkView,
};
use crate::{
    auth::{Administrator, Reader},
    connecting,
    context::Console,
    error::Refusal,
};

/// Which account is confirmed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation {
    /// The account; without it, the one account whose stacks claim the integration.
    #[schema(value_type = Option<String>, pattern = "^[0-9]{12}$")]
    #[serde(default)]
    account: Option<AccountId>,
}

/// An account that is confirmed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfirmedAccount {
    /// The account.
    #[schema(value_type = String)]
    account: AccountId,
    /// The regions whose roles are tested now.
    #[schema(value_type = Vec<String>)]
    regions: Vec<Region>,
}

/// Confirms the account whose stacks claim the integration, from which on its images are read.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/integrations/{integration}/confirmation",
    tag = "integrations",
    operation_id = "confirmIntegration",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
    ),
    request_body = Confirmation,
    responses((status = 200, description = "It is confirmed", body = ConfirmedAccount))
)]
pub(crate) async fn confirm(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id)): Path<(TenantId, IntegrationId)>,
    Input(confirmation): Input<Confirmation>,
) -> Result<Json<ConfirmedAccount>, Refusal> {
    let (account, regions) =
        connecting::confirm(&console, administrator.scope(), &id, confirmation.account).await?;
    Ok(Json(ConfirmedAccount { account, regions }))
}

/// What is tested.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verification {
    /// The output `AssumeRoleArn` of the region's stack; without it, the role that is known.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    role_arn: Option<RoleArn>,
}

/// A test that will be made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuedVerification {
    /// The test; the region's verdict names it once it is made.
    #[schema(value_type = String)]
    request: RequestId,
}

/// Has the connection of a region tested.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/integrations/{integration}/regions/{region}/verification",
    tag = "integrations",
    operation_id = "verifyRegion",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
        ("region" = String, Path, description = "The region"),
    ),
    request_body = Verification,
    responses((status = 202, description = "It will be tested", body = QueuedVerification))
)]
pub(crate) async fn verify(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id, region)): Path<(TenantId, IntegrationId, Region)>,
    Input(verification): Input<Verification>,
) -> Result<(StatusCode, Json<QueuedVerification>), Refusal> {
    let role = verification.role_arn;
    let request = connecting::verify(&console, administrator.scope(), &id, &region, role).await?;
    Ok((StatusCode::ACCEPTED, Json(QueuedVerification { request })))
}

/// How a region's stack makes other credentials.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rotation {
    /// What the stack's parameter `CredentialGeneration` is to be.
    generation: u32,
    /// Until when new credentials are expected; the old ones stay valid for a day after their first use.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

/// Expects new credentials of a region's stack.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/integrations/{integration}/regions/{region}/rotation",
    tag = "integrations",
    operation_id = "rotateCredentials",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
        ("region" = String, Path, description = "The region"),
    ),
    responses((status = 200, description = "How the stack makes them", body = Rotation))
)]
pub(crate) async fn rotate(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id, region)): Path<(TenantId, IntegrationId, Region)>,
) -> Result<Json<Rotation>, Refusal> {
    let (generation, until) = connecting::rotate(&console, administrator.scope(), &id, &region).await?;
    Ok(Json(Rotation { generation, until }))
}

/// The launch links of an integration.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LaunchLinks {
    /// A link for each region.
    links: Vec<LaunchLinkView>,
}

/// Returns the links that create the integration's stacks, one for each region.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/integrations/{integration}/launch-links",
    tag = "integrations",
    operation_id = "listLaunchLinks",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
    ),
    responses((status = 200, description = "The links", body = LaunchLinks))
)]
pub(crate) async fn links(
    State(console): State<Console>,
    reader: Reader,
    Path((_, id)): Path<(TenantId, IntegrationId)>,
) -> Result<Json<LaunchLinks>, Refusal> {
    let scope = reader.scope();
    let tenant = console.tenants.own(scope).await?.ok_or(Refusal::NotFound)?;
    let connection = connecting::find(&console, scope, &id).await?;
    let links = connecting::launch_links(&console, &tenant.name, &connection);
    let links = links.into_iter().map(LaunchLinkView::from).collect();
    Ok(Json(LaunchLinks { links }))
}

/// Removes an integration: its events are refused and its role is used no more.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/integrations/{integration}",
    tag = "integrations",
    operation_id = "removeIntegration",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
    ),
    responses((status = 204, description = "It is removed"))
)]
pub(crate) async fn remove(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id)): Path<(TenantId, IntegrationId)>,
) -> Result<StatusCode, Refusal> {
    connecting::remove(&console, administrator.scope(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has another region watched; its stack is created by its launch link.
#[utoipa::path(
    put,
    path = "/v1/tenants/{tenant}/integrations/{integration}/regions/{region}",
    tag = "integrations",
    operation_id = "addRegion",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
        ("region" = String, Path, description = "The region"),
    ),
    responses((status = 204, description = "It waits for its stack, or was there before"))
)]
pub(crate) async fn add_region(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id, region)): Path<(TenantId, IntegrationId, Region)>,
) -> Result<StatusCode, Refusal> {
    connecting::add_region(&console, administrator.scope(), &id, &region).await?;
    Ok(StatusCode::NO_CONTENT)
}
