//! What is wrong with an image, and what has changed since the one before.

use axum::{Json, extract::State};
use jiff::Timestamp;
use portwarden_advisories::Level;
use portwarden_core::id::TenantId;
use portwarden_oci::{Digest, Tag};
use portwarden_report::{ChangesEvent, PlacedFinding, Side};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    images::ImageView,
    input::{Path, Query},
    paging::{Page, PageQuery},
};
use crate::{
    auth::Reader,
    context::Console,
    document,
    error::Refusal,
    finding::{Filter, FindingState},
};

/// Which findings, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindingQuery {
    /// Only those that are at least this bad.
    #[param(value_type = Option<String>, example = "high")]
    severity: Option<Level>,
    /// Only those that have a fix, or only those that have none.
    fixable: Option<bool>,
    /// Only those of packages whose name contains this text.
    package: Option<String>,
    /// Only the flaw with this name, such as `CVE-2021-44228`.
    id: Option<String>,
    /// Only those whose package this side has brought: `base` or `yours`.
    #[param(value_type = Option<String>)]
    side: Option<Side>,
    /// Only those that stand so; those that count, if it is not said.
    #[param(inline)]
    state: Option<FindingState>,
    /// The cursor of the page before; none for the first page.
    cursor: Option<String>,
    /// How many findings a page has at most, from 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// A finding.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingView {
    /// The digest of the platform's manifest.
    #[schema(value_type = String)]
    platform: Digest,
    /// The flaw, its package, where that lies, and why it does not count, if so, as `docs/schema` describes it.
    #[schema(value_type = Object)]
    finding: PlacedFinding,
}

/// Lists the findings of an image, of each platform with the worst first.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/images/{digest}/findings",
    tag = "reports",
    operation_id = "listFindings",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("digest" = String, Path, description = "The digest of the image's manifest"),
        FindingQuery,
    ),
    responses(
        (status = 200, description = "A page of findings", body = Page<FindingView>),
        (status = 409, description = "The image cannot be scanned, or was matched anew since the page before", body = crate::error::ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(console): State<Console>,
    reader: Reader,
    Path((_, digest)): Path<(TenantId, Digest)>,
    Query(query): Query<FindingQuery>,
) -> Result<Json<Page<FindingView>>, Refusal> {
    let paging = PageQuery {
        cursor: query.cursor,
        limit: query.limit,
    };
    let (after, limit) = (paging.after::<(Timestamp, usize)>()?, paging.limit()?);
    let filter = Filter {
        least: query.severity.unwrap_or_default(),
        fixable: query.fixable,
        package: query.package.unwrap_or_default(),
        id: query.id.unwrap_or_default(),
        side: query.side,
        state: query.state.unwrap_or_default(),
        text: String::new(),
    };
    let image = document::scanned(&console, reader.scope(), &digest).await?;
    let findings = document::findings(&console, reader.scope(), &image).await?;
    let findings = findings.ok_or(Refusal::NotFound)?;
    let start = match after {
        None => 0,
        Some((matched_at, start)) if matched_at == findings.matched_at => start,
        Some(_) => {
            let message = "The image was matched with newer advisories since the page before.";
            return Err(Refusal::conflict(
                "list_changed",
                message,
                "Begin with the first page again.",
            ));
        }
    };
    let matched_at = findings.matched_at;
    let all = findings.platforms.into_iter().flat_map(|platform| {
        let digest = platform.digest;
        platform.findings.into_iter().map(move |finding| FindingView {
            platform: digest,
            finding,
        })
    });
    let mut wanted = all.filter(|view| filter.takes(&view.finding)).skip(start);
    let items: Vec<FindingView> = wanted.by_ref().take(limit).collect();
    let next = wanted.next().map(|_| (matched_at, start + items.len()));
    Ok(Json(Page::going_on(items, next)))
}

/// What has changed since another image.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangesView {
    /// The tag that named the image before, and names this one now.
    #[schema(value_type = String)]
    tag: Tag,
    /// The image before.
    before: ImageView,
    /// What came and went, the worst first, as `docs/schema` describes it.
    #[schema(value_type = Object)]
    changes: ChangesEvent,
}

/// Tells what has changed since the image that a tag of this one named before.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/images/{digest}/changes",
    tag = "reports",
    operation_id = "showChanges",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("digest" = String, Path, description = "The digest of the image's manifest"),
    ),
    responses(
        (status = 200, description = "What came and went", body = ChangesView),
        (status = 409, description = "The image cannot be scanned", body = crate::error::ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn changes(
    State(console): State<Console>,
    reader: Reader,
    Path((_, digest)): Path<(TenantId, Digest)>,
) -> Result<Json<ChangesView>, Refusal> {
    let scope = reader.scope();
    let image = document::scanned(&console, scope, &digest).await?;
    let report = document::report(&console, scope, &image)
        .await?
        .ok_or(Refusal::NotFound)?;
    let findings = document::findings(&console, scope, &image)
        .await?
        .ok_or(Refusal::NotFound)?;
    let since = document::since_the_one_before(&console, scope, &image, &report, &findings).await?;
    let since = since.ok_or(Refusal::NotFound)?;
    Ok(Json(ChangesView {
        changes: since.changes.event(&since.findings, &findings),
        before: since.image.into(),
        tag: since.tag,
    }))
}
