//! Images: the overview, the list, and one image with its report.

use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use http::HeaderMap;
use portwarden_core::{id::TenantId, image::Cursor, problem::chain};
use portwarden_oci::Digest;
use serde::Deserialize;

use super::{
    Shown, live,
    member::Member,
    view::{
        image::{self, ImagePage, Wanted},
        images::{self, ImagesPage, parse_repository, repository_value},
        layout::{Pace, Section},
        overview::{self, Overview},
    },
};
use crate::{context::Console, document, error::Refusal};

fn pace(is_moving: bool) -> Pace {
    if is_moving { Pace::Busy } else { Pace::Resting }
}

/// Shows what a tenant is to know at a glance.
pub(super) async fn overview(
    State(console): State<Console>,
    member: Member,
    headers: HeaderMap,
) -> Result<Response, Shown> {
    let scope = member.scope();
    let (connections, newest) = tokio::try_join!(
        console.integrations.list(scope),
        console.images.newest(scope, None, 12)
    )?;
    let view = Overview {
        tenant: &member.tenant.id,
        name: &member.tenant.name,
        is_administrator: member.is_administrator(),
        connections: connections
            .iter()
            .filter(|connection| connection.integration.removed_at.is_none())
            .collect(),
        images: &newest.items,
        now: console.clock.now(),
    };
    let page = member.page(
        "Overview",
        Section::Overview,
        pace(view.is_moving()),
        &overview::page(&view),
    );
    Ok(live::answer(&headers, page))
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct ListQuery {
    repository: String,
    /// What is in one of the image's tags.
    tag: String,
    after: String,
}

/// How many images a page shows.
const IMAGES: usize = 25;

/// Shows the newest images, or those of one repository, or of these the ones with a tag.
pub(super) async fn list(
    State(console): State<Console>,
    member: Member,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Response, Shown> {
    let scope = member.scope();
    let after: Option<Cursor> = match query.after.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Refusal::NotFound)?),
    };
    let repository = match query.repository.as_str() {
        "" => None,
        text => Some(parse_repository(text).ok_or(Refusal::NotFound)?),
    };
    let tag = query.tag.trim();
    let repositories = console.images.repositories(scope, None, None, 100).await?.items;
    let (images, next) = if let Some(repository) = &repository {
        let (images, after) = (&console.images, after.as_ref());
        let located = match tag {
            "" => images.in_repository(scope, repository, after, IMAGES).await?,
            tag => {
                images
                    .in_repository_tagged(scope, repository, tag, after, IMAGES)
                    .await?
            }
        };
        let mut images = Vec::with_capacity(located.items.len());
        for entry in &located.items {
            images.extend(console.images.summary(scope, &entry.digest).await?);
        }
        (images, located.next)
    } else {
        let (images, after) = (&console.images, after.as_ref());
        let newest = match tag {
            "" => images.newest(scope, after, IMAGES).await?,
            tag => images.newest_tagged(scope, tag, after, IMAGES).await?,
        };
        (newest.items, newest.next)
    };
    let is_connected = !images.is_empty() || !console.integrations.list(scope).await?.is_empty();
    let next = next.map(|next| {
        let repository = repository.as_ref().map(repository_value).unwrap_or_default();
        let query = [
            ("repository", &*repository),
            ("tag", tag),
            ("after", &next.to_string()),
        ];
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        format!("/tenants/{}/images?{query}", member.tenant.id)
    });
    let view = ImagesPage {
        tenant: &member.tenant.id,
        images: &images,
        repository: repository.as_ref(),
        tag,
        repositories: &repositories,
        next,
        is_later: after.is_some(),
        is_connected,
        now: console.clock.now(),
    };
    let page = member.page(
        "Images",
        Section::Images,
        pace(view.is_moving()),
        &images::page(&view),
    );
    Ok(live::answer(&headers, page))
}

/// Shows one image.
pub(super) async fn show(
    State(console): State<Console>,
    member: Member,
    Path((_, digest)): Path<(TenantId, Digest)>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Shown> {
    let scope = member.scope();
    let (summary, locations) = tokio::try_join!(
        console.images.summary(scope, &digest),
        console.images.locations(scope, &digest)
    )?;
    let summary = summary.ok_or(Refusal::NotFound)?;
    // One of another version of its format is as one that is not there.
    let (report, findings) = tokio::join!(
        document::report(&console, scope, &summary),
        document::findings(&console, scope, &summary)
    );
    let (report, findings) = (readable(report)?, readable(findings)?);
    let since = match (&report, &findings, wanted.view) {
        (Some(report), Some(findings), image::View::Changes) => {
            readable(document::since_the_one_before(&console, scope, &summary, report, findings).await)?
        }
        _ => None,
    };
    let view = ImagePage {
        tenant: &member.tenant.id,
        summary: &summary,
        locations: &locations,
        report: report.as_ref(),
        findings: findings.as_ref(),
        since: since
            .as_ref()
            .map(|since| (&since.tag, &since.image, &since.changes)),
        wanted,
        now: console.clock.now(),
    };
    let page = member.page(
        &view.title(),
        Section::Images,
        pace(view.is_moving()),
        &image::page(&view),
    );
    Ok(live::answer(&headers, page))
}

/// Takes a document that cannot be read for one that is not there: a page shows what else is known.
fn readable<T>(document: Result<Option<T>, Refusal>) -> Result<Option<T>, Refusal> {
    match document {
        Err(Refusal::Document(error)) => {
            tracing::warn!(outcome.error = chain(&error), "a document cannot be read");
            Ok(None)
        }
        other => other,
    }
}
