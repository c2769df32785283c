//! Integrations: the AWS accounts that a tenant connects.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use jiff::Timestamp;
use portwarden_core::{
    id::{AccountId, IntegrationId, Region, TenantId},
    integration::{Connection, RegionConnection, Renamed, Trust},
    name::parse_name,
    scope::TenantScope,
    tenant_template::launch::LaunchLink,
    verdict::Verdict,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    etag::{IfMatch, etag},
    idempotency::ShownOnce,
    input::{Input, Path, Query, Secret},
    paging::{Page, PageQuery},
};
use crate::{
    auth::{Administrator, Reader},
    connecting,
    context::Console,
    error::Refusal,
};

/// An integration, and what is known of its regions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntegrationView {
    /// Its id.
    #[schema(value_type = String)]
    id: IntegrationId,
    /// What people call it.
    name: String,
    /// The AWS account, once the tenant has named it.
    #[schema(value_type = Option<String>)]
    account: Option<AccountId>,
    /// What the tenant's trust policy demands.
    #[schema(value_type = String)]
    external_id: portwarden_core::id::ExternalId,
    /// Where its stacks send events.
    events_url: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was removed.
    #[schema(value_type = Option<String>, format = DateTime)]
    removed_at: Option<Timestamp>,
    /// Its regions, by their names.
    #[schema(value_type = std::collections::HashMap<String, RegionView>)]
    regions: BTreeMap<Region, RegionView>,
}

/// What is known of one region of an integration.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RegionView {
    /// What is known of its role: `unnamed`, `claimed`, `proposed`, `proven` or `refused`, with the role and the time.
    #[schema(value_type = Object)]
    trust: Trust,
    /// The user names that events may come with.
    usernames: Vec<String>,
    /// When something last came over its event path.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_heartbeat: Option<Timestamp>,
    /// Whether the role and the event path are proven.
    green: bool,
    /// What the last test found: every probe, with its cause and its fix.
    #[schema(value_type = Option<Object>)]
    verdict: Option<Verdict>,
}

impl IntegrationView {
    pub(crate) fn new(connection: &Connection, events_url: &str) -> Self {
        let integration = &connection.integration;
        let region_view = |region: &RegionConnection| {
            let verdict = connection.verdict(&region.region);
            RegionView {
                trust: region.trust.clone(),
                usernames: region
                    .credentials
                    .iter()
                    .map(|credential| credential.username.as_str().to_owned())
                    .collect(),
                last_heartbeat: connection.heartbeats.get(&region.region).copied(),
                green: verdict.as_ref().is_some_and(Verdict::is_green),
                verdict,
            }
        };
        Self {
            id: integration.id.clone(),
            name: integration.name.clone(),
            account: integration.account.clone(),
            external_id: integration.external_id.clone(),
            events_url: format!("{events_url}/{}", integration.id),
            created_at: integration.created_at,
            removed_at: integration.removed_at,
            regions: connection
                .regions
                .iter()
                .map(|(name, region)| (name.clone(), region_view(region)))
                .collect(),
        }
    }
}

/// Lists the tenant's integrations.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/integrations",
    tag = "integrations",
    operation_id = "listIntegrations",
    params(("tenant" = String, Path, description = "The tenant"), PageQuery),
    responses((status = 200, description = "A page of integrations", body = Page<IntegrationView>))
)]
pub(crate) async fn list(
    State(console): State<Console>,
    reader: Reader,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<IntegrationView>>, Refusal> {
    let (limit, after) = (query.limit()?, query.after::<IntegrationId>()?);
    // A tenant has a handful of accounts, so that they are read at once.
    let all = console.integrations.list(reader.scope()).await?;
    let mut behind = all.iter().filter(|connection| {
        after
            .as_ref()
            .is_none_or(|after| connection.integration.id > *after)
    });
    let events_url = &console.place.events_url;
    let items = behind.by_ref().take(limit);
    let items = items
        .map(|connection| IntegrationView::new(connection, events_url))
        .collect();
    let more = behind.next().is_some();
    Ok(Json(Page::new(items, more, |view: &IntegrationView| {
        view.id.clone()
    })))
}

/// Shows an integration.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/integrations/{integration}",
    tag = "integrations",
    operation_id = "showIntegration",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
    ),
    responses((status = 200, description = "The integration; its ETag is for If-Match", body = IntegrationView))
)]
pub(crate) async fn show(
    State(console): State<Console>,
    reader: Reader,
    Path((_, id)): Path<(TenantId, IntegrationId)>,
) -> Result<Response, Refusal> {
    answer(&console, reader.scope(), &id).await
}

async fn answer(console: &Console, scope: &TenantScope, id: &IntegrationId) -> Result<Response, Refusal> {
    // Read first: whatever is changed meanwhile makes the ETag an old one.
    let revision = console
        .integrations
        .revision(scope, id)
        .await?
        .ok_or(Refusal::NotFound)?;
    let connection = console
        .integrations
        .find(scope, id)
        .await?
        .ok_or(Refusal::NotFound)?;
    let view = IntegrationView::new(&connection, &console.place.events_url);
    Ok(([(header::ETAG, etag(revision))], Json(view)).into_response())
}

/// What of an integration can be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntegrationChange {
    /// What people call it from now on.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// Gives an integration another name.
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/integrations/{integration}",
    tag = "integrations",
    operation_id = "changeIntegration",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
        ("If-Match" = Option<String>, Header, description = "The ETag of what was read"),
    ),
    request_body = IntegrationChange,
    responses((status = 200, description = "The integration as it is now", body = IntegrationView))
)]
pub(crate) async fn change(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id)): Path<(TenantId, IntegrationId)>,
    IfMatch(seen): IfMatch,
    Input(change): Input<IntegrationChange>,
) -> Result<Response, Refusal> {
    let name = parse_name(&change.name).map_err(Refusal::name)?;
    let scope = administrator.scope();
    match console.integrations.rename(scope, &id, &name, seen).await? {
        Renamed::Done(_) => answer(&console, scope, &id).await,
        Renamed::Changed => Err(Refusal::Changed),
        Renamed::Missing => Err(Refusal::NotFound),
    }
}

/// What an integration is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewIntegration {
    /// What people call the account.
    #[schema(example = "production", min_length = 1, max_length = 100)]
    name: String,
    /// The regions whose registries are watched.
    #[schema(value_type = Vec<String>, example = json!(["eu-central-1"]), min_items = 1, max_items = 64)]
    regions: Vec<Region>,
    /// The AWS account, if it is known: then nothing is left to be confirmed.
    #[schema(value_type = Option<String>, pattern = "^[0-9]{12}$")]
    #[serde(default)]
    account: Option<AccountId>,
    /// Credentials for stacks that shall not make them themselves.
    #[serde(default)]
    classic: Option<ClassicCredentials>,
}

/// The credentials of a stack that is given them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassicCredentials {
    /// The user name.
    #[schema(example = "portwarden", min_length = 1, max_length = 128)]
    username: String,
    /// The password, at least 24 characters; without it, one is made and shown once.
    #[schema(value_type = Option<String>, min_length = 24, max_length = 512)]
    #[serde(default)]
    password: Option<Secret>,
}

/// An integration that was made, and what its stacks need.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedIntegration {
    #[serde(flatten)]
    integration: IntegrationView,
    /// For each region, what opens CloudFormation with all parameters but a password.
    links: Vec<LaunchLinkView>,
    /// The stack's parameter `TenantName`.
    tenant_name: String,
    /// The stack's parameter `Password`, if it was made here; shown only now.
    password: Option<String>,
    /// The role that the tenant's role trusts.
    #[schema(value_type = String)]
    connector_role: portwarden_core::arn::RoleArn,
}

/// What opens CloudFormation in a region with everything filled in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LaunchLinkView {
    /// The region.
    #[schema(value_type = String)]
    region: Region,
    /// The link.
    link: String,
}

impl From<LaunchLink> for LaunchLinkView {
    fn from(LaunchLink { region, link }: LaunchLink) -> Self {
        Self { region, link }
    }
}

/// Makes an integration.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/integrations",
    tag = "integrations",
    operation_id = "createIntegration",
    params(("tenant" = String, Path, description = "The tenant")),
    request_body = NewIntegration,
    responses((status = 201, description = "It is made", body = CreatedIntegration))
)]
pub(crate) async fn create(
    State(console): State<Console>,
    administrator: Administrator,
    Input(new): Input<NewIntegration>,
) -> Result<Response, Refusal> {
    let scope = administrator.scope();
    let tenant = console.tenants.own(scope).await?.ok_or(Refusal::NotFound)?;
    let classic = new.classic.map(|classic| connecting::ClassicCredentials {
        username: classic.username,
        password: classic.password.map(|password| password.wrapped().clone()),
    });
    let new = connecting::NewIntegration {
        name: new.name,
        regions: new.regions,
        account: new.account,
        classic,
    };
    let connecting::Created { connection, password } = connecting::create(&console, scope, new).await?;
    let mut links = connecting::launch_links(&console, &tenant.name, &connection);
    links.retain(|link| connection.regions.contains_key(&link.region));
    let id = &connection.integration.id;
    let location = format!("/v1/tenants/{}/integrations/{id}", scope.tenant());
    let body = CreatedIntegration {
        integration: IntegrationView::new(&connection, &console.place.events_url),
        links: links.into_iter().map(LaunchLinkView::from).collect(),
        tenant_name: tenant.name,
        password: password.map(|password| password.secret().expose_secret().to_owned()),
        connector_role: console.place.connector.clone(),
    };
    let mut response = (StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response();
    response.extensions_mut().insert(ShownOnce(&["password"]));
    Ok(response)
}
