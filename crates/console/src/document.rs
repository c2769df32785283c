//! What a scan made of an image, as it lies in the bucket.

use portwarden_core::{
    image::{ImageSummary, ScanResult},
    object::Document,
    scope::TenantScope,
};
use portwarden_oci::{Digest, Tag};
use portwarden_report::{ImageFindings, Report, Snapshot, compare};
use serde::de::DeserializeOwned;

use crate::{context::Context, error::Refusal};

/// Reads a document of an image's newest scan; none if the image, its scan or the document is not there.
pub(crate) async fn read(
    console: &Context,
    scope: &TenantScope,
    image: &ImageSummary,
    document: Document,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(scan) = &image.scan else {
        return Ok(None);
    };
    let key = scope.image_object(&image.digest, scan.catalog_version, document);
    Ok(console.objects.read_object(&key).await?)
}

/// Finds an image that was scanned, or says why it was not.
pub(crate) async fn scanned(
    console: &Context,
    scope: &TenantScope,
    digest: &Digest,
) -> Result<ImageSummary, Refusal> {
    let image = console.images.summary(scope, digest).await?;
    let image = image.ok_or(Refusal::NotFound)?;
    match &image.scan {
        None => Err(Refusal::NotFound),
        Some(scan) => match &scan.result {
            ScanResult::Refused { problem } => Err(Refusal::Conflict(problem.clone())),
            ScanResult::Reported { .. } => Ok(image),
        },
    }
}

/// Reads an image's report.
pub(crate) async fn report(
    console: &Context,
    scope: &TenantScope,
    image: &ImageSummary,
) -> Result<Option<Report>, Refusal> {
    read_as(console, scope, image, Document::Report).await
}

/// Reads an image's findings.
pub(crate) async fn findings(
    console: &Context,
    scope: &TenantScope,
    image: &ImageSummary,
) -> Result<Option<ImageFindings>, Refusal> {
    read_as(console, scope, image, Document::Findings).await
}

async fn read_as<T: DeserializeOwned>(
    console: &Context,
    scope: &TenantScope,
    image: &ImageSummary,
    document: Document,
) -> Result<Option<T>, Refusal> {
    let bytes = read(console, scope, image, document).await?;
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(Refusal::Document);
    bytes.map(parse).transpose()
}

/// The image that a tag named before another, and what has changed since.
pub(crate) struct Since {
    /// The tag.
    pub(crate) tag: Tag,
    /// The image before.
    pub(crate) image: ImageSummary,
    /// Its findings.
    pub(crate) findings: ImageFindings,
    /// What came and went.
    pub(crate) changes: portwarden_report::Changes,
}

/// Compares an image with the one before, in the first place where it lies; none if there is none that can be compared.
pub(crate) async fn since_the_one_before(
    console: &Context,
    scope: &TenantScope,
    image: &ImageSummary,
    report: &Report,
    findings: &ImageFindings,
) -> Result<Option<Since>, Refusal> {
    let locations = console.images.locations(scope, &image.digest).await?;
    let first = image.places.first().and_then(|place| {
        locations.iter().find(|location| {
            (&location.account, &location.region, &location.repository)
                == (&place.account, &place.region, &place.repository)
        })
    });
    let Some(location) = first else {
        return Ok(None);
    };
    let Some((tag, before)) = console.inventory.before(scope, &image.digest, location).await? else {
        return Ok(None);
    };
    let Some(before) = console.images.summary(scope, &before.digest).await? else {
        return Ok(None);
    };
    let old = (
        self::report(console, scope, &before).await?,
        self::findings(console, scope, &before).await?,
    );
    let (Some(old_report), Some(old_findings)) = old else {
        return Ok(None);
    };
    let changes = compare(
        &Snapshot::of_report(&old_report, &old_findings),
        &Snapshot::of_report(report, findings),
        None,
    )
    // Only a database can fail, and there is none.
    .unwrap_or_default();
    Ok(Some(Since {
        tag,
        image: before,
        findings: old_findings,
        changes,
    }))
}
