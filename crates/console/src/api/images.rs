//! Images: the newest first, where each lies, and how its scan ended.

use axum::{Json, extract::State};
use jiff::Timestamp;
use portwarden_core::{
    id::{AccountId, IntegrationId, Region, TenantId},
    image::{
        Cursor, ImageSummary, LatestScan, List, Located, Location, PlaceSummary, Presence, RepositoryId,
        ScanResult,
    },
    problem::Problem,
    work::KnownBy,
};
use portwarden_oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    input::{Path, Query},
    paging::{Page, PageQuery, cursor_invalid},
};
use crate::{auth::Reader, context::Console, error::Refusal};

/// An image as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageView {
    /// The digest of its manifest.
    #[schema(value_type = String)]
    digest: Digest,
    /// When it was pushed last, or else when it became known.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// When it became known.
    #[schema(value_type = String, format = DateTime)]
    known_at: Timestamp,
    /// How it became known: `event`, `backfill` or `reconcile`.
    #[schema(value_type = String)]
    known_by: KnownBy,
    /// The first places where it lies.
    places: Vec<PlaceView>,
    /// In how many places it lies.
    place_count: usize,
    /// How its scan ended; none if it waits for one.
    scan: Option<ScanView>,
    /// How many findings count; none if its packages were not compared with advisories yet.
    findings: Option<CountsView>,
    /// How it differed, when it came, from the image that a tag of it named before; none if there was none.
    changes: Option<DifferenceView>,
}

/// How an image differs from the one before it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DifferenceView {
    /// The digest of the image before.
    #[schema(value_type = String)]
    before: Digest,
    /// How many findings count now and did not before.
    new: usize,
    /// How many counted before and are gone.
    fixed: usize,
}

/// How many findings of an image count.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CountsView {
    /// How many there are of each severity.
    #[schema(example = json!({"critical": 1, "high": 4}))]
    by_severity: std::collections::BTreeMap<String, usize>,
    /// How many of them have a fix.
    fixable: usize,
}

/// A place where an image lies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlaceView {
    /// The integration whose role opens it.
    #[schema(value_type = String)]
    integration: IntegrationId,
    /// The registry's account.
    #[schema(value_type = String)]
    account: AccountId,
    /// The registry's region.
    #[schema(value_type = String)]
    region: Region,
    /// The repository.
    #[schema(value_type = String)]
    repository: RepositoryName,
    /// The first tags that point to it.
    #[schema(value_type = Vec<String>)]
    tags: Vec<Tag>,
    /// How many tags point to it.
    tag_count: usize,
    /// Whether it is archived, so that its layers cannot be read.
    archived: bool,
}

/// How a scan ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScanView {
    /// The version of the catalog that read the image.
    catalog_version: u32,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// How many packages were found; none if the image cannot be scanned.
    packages: Option<usize>,
    /// Whether some part could not be read.
    partial: bool,
    /// How many bytes of layers were pulled.
    pulled_bytes: u64,
    /// How many bytes of layers were known already.
    spared_bytes: u64,
    /// Why the image cannot be scanned.
    problem: Option<ScanProblem>,
}

/// Why an image cannot be scanned.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScanProblem {
    /// The stable code.
    code: String,
    /// The cause, in one sentence.
    message: String,
    /// What to do.
    fix: String,
}

impl From<ImageSummary> for ImageView {
    fn from(summary: ImageSummary) -> Self {
        Self {
            digest: summary.digest,
            since: summary.since,
            known_at: summary.known_at,
            known_by: summary.known_by,
            places: summary.places.into_iter().map(PlaceView::from).collect(),
            place_count: summary.place_count,
            scan: summary.scan.map(ScanView::from),
            findings: summary.findings.map(|findings| CountsView {
                by_severity: findings.by_severity,
                fixable: findings.fixable,
            }),
            changes: summary.changes.map(|changes| DifferenceView {
                before: changes.before,
                new: changes.new,
                fixed: changes.fixed,
            }),
        }
    }
}

impl From<PlaceSummary> for PlaceView {
    fn from(place: PlaceSummary) -> Self {
        Self {
            integration: place.integration,
            account: place.account,
            region: place.region,
            repository: place.repository,
            tags: place.tags,
            tag_count: place.tag_count,
            archived: place.archived,
        }
    }
}

impl PlaceView {
    fn of(location: Location) -> Option<Self> {
        let Presence::Present { tags, archived, .. } = location.presence else {
            return None;
        };
        Some(Self {
            integration: location.integration,
            account: location.account,
            region: location.region,
            repository: location.repository,
            tag_count: tags.len(),
            tags: tags.into_iter().collect(),
            archived,
        })
    }
}

impl From<LatestScan> for ScanView {
    fn from(scan: LatestScan) -> Self {
        let empty = Self {
            catalog_version: scan.catalog_version,
            at: scan.at,
            packages: None,
            partial: false,
            pulled_bytes: 0,
            spared_bytes: 0,
            problem: None,
        };
        match scan.result {
            ScanResult::Reported {
                packages,
                partial,
                pulled_bytes,
                spared_bytes,
                ..
            } => Self {
                packages: Some(packages),
                partial,
                pulled_bytes,
                spared_bytes,
                ..empty
            },
            ScanResult::Refused {
                problem: Problem { code, message, fix },
            } => Self {
                problem: Some(ScanProblem {
                    code: code.into_owned(),
                    message,
                    fix,
                }),
                ..empty
            },
        }
    }
}

/// Lists the tenant's images that lie anywhere, the newest first.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/images",
    tag = "images",
    operation_id = "listImages",
    params(("tenant" = String, Path, description = "The tenant"), PageQuery),
    responses((status = 200, description = "A page of images", body = Page<ImageView>))
)]
pub(crate) async fn list(
    State(console): State<Console>,
    reader: Reader,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ImageView>>, Refusal> {
    let (after, limit) = (cursor(query.cursor.as_deref())?, query.limit()?);
    let list = console
        .images
        .newest(reader.scope(), after.as_ref(), limit)
        .await?;
    Ok(Json(page(list, |summary| Some(ImageView::from(summary)))))
}

pub(super) fn cursor(text: Option<&str>) -> Result<Option<Cursor>, Refusal> {
    let cursor = text.map(str::parse).transpose();
    cursor.map_err(|_| cursor_invalid())
}

pub(super) fn page<T, V>(list: List<T>, view: impl FnMut(T) -> Option<V>) -> Page<V> {
    Page {
        next_cursor: list.next.map(|cursor| cursor.to_string()),
        items: list.items.into_iter().filter_map(view).collect(),
    }
}

/// An image with every place where it lies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageDetail {
    #[serde(flatten)]
    image: ImageView,
    /// Every place where it lies, with all its tags.
    all_places: Vec<PlaceView>,
}

/// Shows an image, every place where it lies, and how its scan ended.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/images/{digest}",
    tag = "images",
    operation_id = "showImage",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("digest" = String, Path, description = "The digest of the image's manifest"),
    ),
    responses((status = 200, description = "The image", body = ImageDetail))
)]
pub(crate) async fn show(
    State(console): State<Console>,
    reader: Reader,
    Path((_, digest)): Path<(TenantId, Digest)>,
) -> Result<Json<ImageDetail>, Refusal> {
    let summary = console.images.summary(reader.scope(), &digest).await?;
    let image = summary.ok_or(Refusal::NotFound)?.into();
    let locations = console.images.locations(reader.scope(), &digest).await?;
    let all_places = locations.into_iter().filter_map(PlaceView::of).collect();
    Ok(Json(ImageDetail { image, all_places }))
}

/// A repository in which an image lies or lay.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RepositoryView {
    /// The registry's account.
    #[schema(value_type = String)]
    account: AccountId,
    /// The registry's region.
    #[schema(value_type = String)]
    region: Region,
    /// The repository.
    #[schema(value_type = String)]
    repository: RepositoryName,
}

/// Lists the tenant's repositories.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/repositories",
    tag = "images",
    operation_id = "listRepositories",
    params(("tenant" = String, Path, description = "The tenant"), PageQuery),
    responses((status = 200, description = "A page of repositories", body = Page<RepositoryView>))
)]
pub(crate) async fn repositories(
    State(console): State<Console>,
    reader: Reader,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<RepositoryView>>, Refusal> {
    let (after, limit) = (cursor(query.cursor.as_deref())?, query.limit()?);
    let listed = console
        .images
        .repositories(reader.scope(), None, after.as_ref(), limit);
    Ok(Json(page(listed.await?, |id: RepositoryId| {
        Some(RepositoryView {
            account: id.account,
            region: id.region,
            repository: id.repository,
        })
    })))
}

/// Which repository, and which page of its images.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RepositoryQuery {
    /// The repository.
    #[param(value_type = String, example = "shop/web")]
    repository: RepositoryName,
    /// The cursor of the page before; none for the first page.
    cursor: Option<String>,
    /// How many images a page has at most, from 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// An image in a repository.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LocatedView {
    /// The digest of its manifest.
    #[schema(value_type = String)]
    digest: Digest,
    /// When it was pushed, or else when it became known.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    #[serde(flatten)]
    place: PlaceView,
}

/// Lists the images that lie in a repository, the newest first.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/registries/{account}/{region}/images",
    tag = "images",
    operation_id = "listImagesOfRepository",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("account" = String, Path, description = "The registry's account"),
        ("region" = String, Path, description = "The registry's region"),
        RepositoryQuery,
    ),
    responses((status = 200, description = "A page of images", body = Page<LocatedView>))
)]
pub(crate) async fn in_repository(
    State(console): State<Console>,
    reader: Reader,
    Path((_, account, region)): Path<(TenantId, AccountId, Region)>,
    Query(query): Query<RepositoryQuery>,
) -> Result<Json<Page<LocatedView>>, Refusal> {
    let id = RepositoryId {
        account,
        region,
        repository: query.repository,
    };
    let paging = PageQuery {
        cursor: query.cursor,
        limit: query.limit,
    };
    let (after, limit) = (cursor(paging.cursor.as_deref())?, paging.limit()?);
    let listed = console
        .images
        .in_repository(reader.scope(), &id, after.as_ref(), limit);
    Ok(Json(page(listed.await?, |located: Located| {
        let (digest, since) = (located.digest, located.location.since());
        let place = PlaceView::of(located.location)?;
        Some(LocatedView { digest, since, place })
    })))
}
