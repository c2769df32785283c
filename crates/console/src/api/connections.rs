//! What is done with an integration that is there: confirming its account, testing, new credentials, links, goodbye.

use axum::{Json, extract::State};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    arn::RoleArn,
    id::{AccountId, IntegrationId, Region, RequestId, TenantId},
    integration::{Confirmed, Connection, NoRotation, NotOneAccount},
    scope::TenantScope,
    tenant_template::launch::Launch,
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    input::{Input, Path},
    integrations::LaunchLinkView,
};
use crate::{
    auth::{Administrator, Reader},
    context::Console,
    error::Refusal,
};

/// Finds an integration that is not removed.
async fn find(console: &Console, scope: &TenantScope, id: &IntegrationId) -> Result<Connection, Refusal> {
    let found = console.integrations.find(scope, id).await?;
    let connection = found.ok_or(Refusal::NotFound)?;
    if connection.integration.removed_at.is_some() {
        let fix = "Make a new integration.";
        return Err(Refusal::conflict(
            "integration_removed",
            "The integration is removed.",
            fix,
        ));
    }
    Ok(connection)
}

/// Our own account belongs to nobody's integration but the operator's.
pub(super) fn refuse_ours(console: &Console, account: &AccountId) -> Result<(), Refusal> {
    if account == console.place.connector.account() {
        let message = "It is the account that Portwarden itself runs in.";
        return Err(Refusal::conflict(
            "account_ours",
            message,
            "Name an account of your own.",
        ));
    }
    Ok(())
}

async fn queue(
    console: &Console,
    scope: &TenantScope,
    id: &IntegrationId,
    region: &Region,
    role: Option<RoleArn>,
) -> Result<RequestId, Refusal> {
    let randomness = &*console.randomness;
    let request = VerifyRequest {
        tenant: scope.tenant().clone(),
        integration: id.clone(),
        region: region.clone(),
        role,
        claim: None,
        reason: VerifyReason::Asked,
        request: RequestId::generate(randomness),
        trace: TraceId::generate(console.clock.now(), randomness),
        attempt: 0,
    };
    console.verifications.queue_verify(&request).await?;
    Ok(request.request)
}

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
    let scope = administrator.scope();
    let connection = find(&console, scope, &id).await?;
    let account = match confirmation.account {
        Some(account) => account,
        None => connection.only_proposed().map_err(not_one)?,
    };
    refuse_ours(&console, &account)?;
    match console.integrations.confirm_account(scope, &id, &account).await? {
        Confirmed::Now | Confirmed::Before => {}
        Confirmed::OtherAccount(_) => {
            let fix = "Make another integration for the other account.";
            let message = "The integration belongs to another account.";
            return Err(Refusal::conflict("other_account", message, fix));
        }
        Confirmed::Missing => return Err(Refusal::NotFound),
    }
    let regions = connection.regions_naming(&account);
    for region in &regions {
        queue(&console, scope, &id, region, None).await?;
    }
    Ok(Json(ConfirmedAccount { account, regions }))
}

fn not_one(error: NotOneAccount) -> Refusal {
    match error {
        NotOneAccount::Nothing => Refusal::conflict(
            "nothing_proposed",
            "No stack has claimed the integration with a role that is as it must be.",
            "Create the stack by its launch link, or name the account.",
        ),
        NotOneAccount::Several(accounts) => {
            let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
            let message = format!("Several accounts claim the integration: {}.", accounts.join(", "));
            Refusal::conflict("several_proposed", message, "Name the account that is yours.")
        }
    }
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
    let scope = administrator.scope();
    let connection = find(&console, scope, &id).await?;
    let known = connection.regions.get(&region).ok_or(Refusal::NotFound)?;
    if verification.role_arn.is_none() && known.trust.role().is_none() {
        let fix = "Send role_arn: the output AssumeRoleArn of the region's stack.";
        return Err(Refusal::conflict(
            "role_unnamed",
            "No role is known for the region.",
            fix,
        ));
    }
    let request = queue(&console, scope, &id, &region, verification.role_arn).await?;
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

/// How long a tenant may take to update the stack.
const EXPECTED_FOR: SignedDuration = SignedDuration::from_hours(24);

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
    let scope = administrator.scope();
    let connection = find(&console, scope, &id).await?;
    let generation = connection
        .next_generation(&region)
        .map_err(|reason| match reason {
            NoRotation::UnknownRegion => Refusal::NotFound,
            NoRotation::Chosen => Refusal::conflict(
                "credentials_chosen",
                "The region's stack has not said that it makes its credentials itself.",
                "Update the stack with the current template and an empty Password; then it does.",
            ),
        })?;
    let until = console.clock.now() + EXPECTED_FOR;
    console
        .integrations
        .expect_credentials(scope, &id, &region, until)
        .await?;
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
    let connection = find(&console, scope, &id).await?;
    let mut pad = console.place.launch_pad.clone();
    pad.add_regions(connection.regions.keys().cloned());
    let links = pad.links(&Launch {
        tenant_name: &tenant.name,
        url: &format!("{}/{id}", console.place.events_url),
        external_id: &connection.integration.external_id,
    });
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
    let scope = administrator.scope();
    if console
        .integrations
        .remove(scope, &id, console.clock.now())
        .await?
    {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::NotFound)
    }
}
