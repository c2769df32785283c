//! How well an account is watched, and what was done in it: coverage, and the receipts of sessions.

use axum::{Json, extract::State};
use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    arn::RoleArn,
    id::{IntegrationId, Region, TenantId},
    receipt::{AccessReceipt, AccessReceipts},
    reconcile::{Elsewhere, RegionCoverage, Unwatched},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    input::{Path, Query},
    integrations::LaunchLinkView,
    paging::{Page, PageQuery},
};
use crate::{auth::Reader, connecting, context::Console, error::Refusal};

/// What of an account is watched.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoverageView {
    /// Its regions: whether events tell of what happens, the last comparison with ECR, what was missed, and how the images of
    /// each repository became known.
    #[schema(value_type = std::collections::HashMap<String, Object>)]
    regions: std::collections::BTreeMap<Region, RegionCoverage>,
    /// The names of repositories in regions without a stack, once a day, as far as the account's role may list them.
    #[schema(value_type = Option<Object>)]
    elsewhere: Option<Elsewhere>,
    /// Regions that nobody watches, without those that are known to have no repository: a link creates the stack that watches
    /// one.
    unwatched: Vec<LaunchLinkView>,
}

/// Tells what of an account is watched, and what is not.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/integrations/{integration}/coverage",
    tag = "integrations",
    operation_id = "showCoverage",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
    ),
    responses((status = 200, description = "What is watched", body = CoverageView))
)]
pub(crate) async fn coverage(
    State(console): State<Console>,
    reader: Reader,
    Path((_, id)): Path<(TenantId, IntegrationId)>,
) -> Result<Json<CoverageView>, Refusal> {
    let scope = reader.scope();
    let tenant = console.tenants.own(scope).await?.ok_or(Refusal::NotFound)?;
    let connection = console
        .integrations
        .find(scope, &id)
        .await?
        .ok_or(Refusal::NotFound)?;
    let coverage = console
        .coverage
        .coverage(scope, &connection, console.clock.now())
        .await?;
    let mut links = connecting::launch_links(&console, &tenant.name, &connection);
    let seen = |region: &Region| coverage.elsewhere.as_ref()?.regions.get(region);
    let is_empty = |region: &Region| matches!(seen(region), Some(Unwatched::Seen { count: 0, .. }));
    links.retain(|link| !connection.regions.contains_key(&link.region) && !is_empty(&link.region));
    Ok(Json(CoverageView {
        regions: coverage.regions,
        elsewhere: coverage.elsewhere,
        unwatched: links.into_iter().map(LaunchLinkView::from).collect(),
    }))
}

/// Which sessions, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiptQuery {
    /// Only those that were opened from this time on; all that are kept, if it is not said.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// The cursor of the page before; none for the first page.
    cursor: Option<String>,
    /// How many sessions a page has at most, from 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// A session that was opened in the account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiptView {
    /// The region whose STS was asked.
    #[schema(value_type = String)]
    region: Region,
    /// The role.
    #[schema(value_type = String)]
    role: RoleArn,
    /// The session's name, which CloudTrail shows as the end of `userIdentity.arn`.
    session: String,
    /// What it was opened for: `registry`, `names`, `proof` or `credentials`.
    purpose: String,
    /// When it was about to be opened.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    /// How many calls were made with it so far.
    calls: u64,
}

impl From<AccessReceipt> for ReceiptView {
    fn from(receipt: AccessReceipt) -> Self {
        Self {
            region: receipt.region,
            role: receipt.role,
            session: receipt.session,
            purpose: receipt.purpose,
            opened_at: receipt.opened_at,
            calls: receipt.calls,
        }
    }
}

/// Lists the sessions that were opened in an account, the oldest first, to hold against its CloudTrail.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/integrations/{integration}/receipts",
    tag = "integrations",
    operation_id = "listReceipts",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("integration" = String, Path, description = "The integration"),
        ReceiptQuery,
    ),
    responses((status = 200, description = "A page of sessions", body = Page<ReceiptView>))
)]
pub(crate) async fn receipts(
    State(console): State<Console>,
    reader: Reader,
    Path((_, id)): Path<(TenantId, IntegrationId)>,
    Query(query): Query<ReceiptQuery>,
) -> Result<Json<Page<ReceiptView>>, Refusal> {
    let paging = PageQuery {
        cursor: query.cursor,
        limit: query.limit,
    };
    let (after, limit) = (paging.after::<(Timestamp, String)>()?, paging.limit()?);
    let scope = reader.scope();
    console
        .integrations
        .find(scope, &id)
        .await?
        .ok_or(Refusal::NotFound)?;
    let kept = console.clock.now() - AccessReceipts::KEPT - SignedDuration::from_hours(24);
    let since = query.since.unwrap_or(kept);
    // A cursor names a session, and sessions of the same moment come in the order of their names.
    let from = after.as_ref().map_or(since, |(at, _)| *at);
    let is_behind = |receipt: &AccessReceipt| {
        after
            .as_ref()
            .is_none_or(|(at, name)| (&receipt.opened_at, &receipt.session) > (at, name))
    };
    // Some of the same moment as the cursor's may come again, and one more tells whether there are more.
    let listed = console
        .receipts
        .list(scope, &id, from, limit + SAME_MOMENT)
        .await?;
    let mut behind = listed.into_iter().filter(is_behind);
    let items: Vec<ReceiptView> = behind.by_ref().take(limit).map(ReceiptView::from).collect();
    let more = behind.next().is_some();
    Ok(Json(Page::new(items, more, |view: &ReceiptView| {
        (view.opened_at, view.session.clone())
    })))
}

/// More sessions than are ever opened in one account in the same millisecond.
const SAME_MOMENT: usize = 50;
