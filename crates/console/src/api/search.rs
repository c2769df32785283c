//! Where something is: the images that hold a package, and those that have a flaw.

use axum::{Json, extract::State};
use portwarden_core::id::TenantId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    images::{ImageView, cursor, page},
    input::{Path, Query},
    paging::{Page, PageQuery},
};
use crate::{auth::Reader, context::Console, error::Refusal, finding};

/// Which packages, and which page of the images that hold them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PackageQuery {
    /// How the package's name, or its last part, begins: `log4j` finds `org.apache.logging.log4j:log4j-core`.
    #[param(min_length = 1, example = "log4j-core")]
    name: String,
    /// The cursor of the page before; none for the first page.
    cursor: Option<String>,
    /// How many things a page has at most, from 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// A package that an image holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HolderView {
    /// The package's ecosystem, with the release of a distribution.
    #[schema(example = "Maven")]
    ecosystem: String,
    /// The package's name.
    name: String,
    /// Its versions in the image.
    versions: Vec<String>,
    /// The image.
    image: ImageView,
}

/// Finds the images that hold a package.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/packages",
    tag = "search",
    operation_id = "searchPackages",
    params(("tenant" = String, Path, description = "The tenant"), PackageQuery),
    responses((status = 200, description = "A page of packages and who holds them", body = Page<HolderView>))
)]
pub(crate) async fn packages(
    State(console): State<Console>,
    reader: Reader,
    Query(query): Query<PackageQuery>,
) -> Result<Json<Page<HolderView>>, Refusal> {
    let paging = PageQuery {
        cursor: query.cursor,
        limit: query.limit,
    };
    let (after, limit) = (cursor(paging.cursor.as_deref())?, paging.limit()?);
    let found = finding::holders(&console, reader.scope(), &query.name, after.as_ref(), limit).await?;
    Ok(Json(page(found, |(holder, image)| {
        Some(HolderView {
            ecosystem: holder.package.ecosystem,
            name: holder.package.name,
            versions: holder.versions,
            image: image.into(),
        })
    })))
}

/// Finds the images that have a flaw, by any of its names.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/flaws/{flaw}/images",
    tag = "search",
    operation_id = "listImagesWithFlaw",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("flaw" = String, Path, description = "A name of the flaw, such as CVE-2021-44228"),
        PageQuery,
    ),
    responses((status = 200, description = "A page of images", body = Page<ImageView>))
)]
pub(crate) async fn with_flaw(
    State(console): State<Console>,
    reader: Reader,
    Path((_, flaw)): Path<(TenantId, String)>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ImageView>>, Refusal> {
    let (after, limit) = (cursor(query.cursor.as_deref())?, query.limit()?);
    let found = finding::with_flaw(&console, reader.scope(), &flaw, after.as_ref(), limit).await?;
    Ok(Json(page(found, |image| Some(ImageView::from(image)))))
}
