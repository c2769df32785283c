//! Images: the overview, the list, and one image with its report.

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;
use portwarden_core::{
    id::TenantId,
    image::{Cursor, RepositoryId},
    object::Document,
};
use portwarden_oci::Digest;
use portwarden_report::{ImageFindings, Report};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Shown, live,
    member::Member,
    see,
    view::{
        image::{self, ImagePage, Wanted},
        images::{self, ImagesPage, parse_repository, repository_value},
        layout::{Pace, Section},
        overview::{self, Overview},
        search::{self, Search},
    },
};
use crate::{context::Console, error::Refusal};

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
    after: String,
}

/// How many images a page shows.
const IMAGES: usize = 25;

/// Shows the newest images, or those of one repository.
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
    let repositories = console.images.repositories(scope, None, None, 100).await?.items;
    let (images, next) = if let Some(repository) = &repository {
        let located = console
            .images
            .in_repository(scope, repository, after.as_ref(), IMAGES)
            .await?;
        let mut images = Vec::with_capacity(located.items.len());
        for entry in &located.items {
            images.extend(console.images.summary(scope, &entry.digest).await?);
        }
        (images, located.next)
    } else {
        let newest = console.images.newest(scope, after.as_ref(), IMAGES).await?;
        (newest.items, newest.next)
    };
    let is_connected = !images.is_empty() || !console.integrations.list(scope).await?.is_empty();
    let next = next.map(|next| {
        let repository = repository.as_ref().map(repository_value).unwrap_or_default();
        format!(
            "/tenants/{}/images?repository={repository}&after={next}",
            member.tenant.id
        )
    });
    let view = ImagesPage {
        tenant: &member.tenant.id,
        images: &images,
        repository: repository.as_ref(),
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

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SearchQuery {
    q: String,
}

/// How many pages of repositories a search looks through, of a hundred each.
const SEARCHED_PAGES: usize = 10;

/// Leads to the image of a digest, or shows the repositories whose names contain the text.
pub(super) async fn search(
    State(console): State<Console>,
    member: Member,
    Query(query): Query<SearchQuery>,
) -> Result<Response, Shown> {
    let text = query.q.trim();
    let scope = member.scope();
    if let Ok(digest) = text.parse::<Digest>()
        && console.images.summary(scope, &digest).await?.is_some()
    {
        return Ok(see(&format!("/tenants/{}/images/{digest}", member.tenant.id)));
    }
    let needle = text.to_lowercase();
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..SEARCHED_PAGES {
        let page = console
            .images
            .repositories(scope, None, after.as_ref(), 100)
            .await?;
        let is_meant = |repository: &RepositoryId| repository.repository.as_str().contains(&needle);
        found.extend(page.items.into_iter().filter(is_meant));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    found.truncate(100);
    let view = Search {
        tenant: &member.tenant.id,
        query: text,
        repositories: &found,
        is_partial: after.is_some(),
    };
    let content = search::page(&view);
    Ok(member
        .page("Search", Section::Images, Pace::Still, &content)
        .into_response())
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
    let (mut report, mut findings) = (None, None);
    if let Some(scan) = &summary.scan {
        let read = |document| document_of(&console, &member, &digest, scan.catalog_version, document);
        report = read(Document::Report)
            .await?
            .and_then(|bytes| parse::<Report>(&bytes));
        findings = read(Document::Findings)
            .await?
            .and_then(|bytes| parse::<ImageFindings>(&bytes));
    }
    let view = ImagePage {
        tenant: &member.tenant.id,
        summary: &summary,
        locations: &locations,
        report: report.as_ref(),
        findings: findings.as_ref(),
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

async fn document_of(
    console: &Console,
    member: &Member,
    digest: &Digest,
    catalog_version: u32,
    document: Document,
) -> Result<Option<Vec<u8>>, Refusal> {
    let key = member.scope().image_object(digest, catalog_version, document);
    Ok(console.objects.read_object(&key).await?)
}

/// Reads a document; one of another version of its format is as one that is not there.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
