//! What a scan made of an image: its report, its SBOM and its findings, in every format.

use std::io::Write as _;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, header};
use portwarden_core::{id::TenantId, image::ImageSummary, object::Document, scope::TenantScope};
use portwarden_oci::Digest;
use portwarden_report::{PlatformReport, cyclonedx, html, sarif};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::input::{Path, Query};
use crate::{auth::Reader, context::Console, document, error::Refusal};

/// A way to write what is known of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// The report: platforms, layers, packages, and where each came from.
    Json,
    /// Report and findings as one page that needs nothing else.
    Html,
    /// What is wrong with the packages, as SARIF.
    Sarif,
    /// The SBOM of a platform, as `CycloneDX` JSON.
    CyclonedxJson,
    /// The SBOM of a platform with what is wrong with its packages, as `CycloneDX` JSON, which is a VEX document, too.
    CyclonedxVexJson,
    /// The SBOM of a platform, as SPDX JSON.
    SpdxJson,
    /// What is wrong with the packages, as JSON.
    FindingsJson,
}

/// Which format.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportQuery {
    /// The format; the report itself without it.
    #[param(inline)]
    format: Option<Format>,
    /// The platform of an SBOM, by its manifest's digest; the main one without it.
    #[param(value_type = Option<String>)]
    platform: Option<Digest>,
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::FindingsJson => "application/json",
            Self::Html => "text/html; charset=utf-8",
            Self::Sarif => "application/sarif+json",
            Self::CyclonedxJson | Self::CyclonedxVexJson => "application/vnd.cyclonedx+json",
            Self::SpdxJson => "application/spdx+json",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Json => "report.json",
            Self::Html => "report.html",
            Self::Sarif => "findings.sarif",
            Self::CyclonedxJson => "sbom.cdx.json",
            Self::CyclonedxVexJson => "vex.cdx.json",
            Self::SpdxJson => "sbom.spdx.json",
            Self::FindingsJson => "findings.json",
        }
    }
}

/// Returns what the newest scan made of an image.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/images/{digest}/report",
    tag = "reports",
    operation_id = "showReport",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("digest" = String, Path, description = "The digest of the image's manifest"),
        ReportQuery,
    ),
    responses(
        (status = 200, description = "The document", content(
            (Object = "application/json"),
            (String = "text/html"),
            (Object = "application/sarif+json"),
            (Object = "application/vnd.cyclonedx+json"),
            (Object = "application/spdx+json"),
        )),
        (status = 409, description = "The image cannot be scanned, or the document is too large", body = crate::error::ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show(
    State(console): State<Console>,
    reader: Reader,
    Path((_, digest)): Path<(TenantId, Digest)>,
    Query(query): Query<ReportQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let format = query.format.unwrap_or(Format::Json);
    let image = document::scanned(&console, reader.scope(), &digest).await?;
    let content = write(&console, reader.scope(), &image, format, query.platform.as_ref()).await?;
    send(format, content.ok_or(Refusal::NotFound)?, &headers)
}

async fn write(
    console: &Console,
    scope: &TenantScope,
    image: &ImageSummary,
    format: Format,
    platform: Option<&Digest>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let stored = match format {
        Format::Json => Some(Document::Report),
        Format::FindingsJson => Some(Document::Findings),
        Format::CyclonedxJson if platform.is_none() => Some(Document::CycloneDx),
        _ => None,
    };
    if let Some(stored) = stored {
        return document::read(console, scope, image, stored).await;
    }
    let (report, findings) = tokio::try_join!(
        document::report(console, scope, image),
        document::findings(console, scope, image)
    )?;
    let Some(report) = report else {
        return Ok(None);
    };
    let is_meant = |known: &&PlatformReport| platform == Some(&known.digest);
    let platform = match platform {
        Some(_) => report.platforms.iter().find(is_meant),
        None => report.main_platform(),
    };
    let (Some(platform), name) = (platform, report.name()) else {
        return Ok(None);
    };
    Ok(match (format, &findings) {
        (Format::Html, findings) => Some(html::write(&name, Some(&report), findings.as_ref()).into_bytes()),
        (Format::CyclonedxJson, _) => Some(report.cyclonedx(platform)),
        (Format::SpdxJson, _) => Some(report.spdx(platform)),
        (Format::Sarif, Some(findings)) => Some(sarif::write(&name, Some(&report), findings)),
        (Format::CyclonedxVexJson, Some(findings)) => Some(cyclonedx::write(&report, platform, findings)),
        _ => None,
    })
}

/// What a function can answer at most, in bytes, before they are written as base64.
///
/// Source: Lambda developer guide, "Lambda quotas": 6 MB for the answer.
const MAX_ANSWER: usize = 4_400_000;

fn send(format: Format, content: Vec<u8>, headers: &HeaderMap) -> Result<Response, Refusal> {
    let accepts = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    let gzip =
        accepts.is_some_and(|accepts| accepts.split(',').any(|coding| coding.trim().starts_with("gzip")));
    let disposition = format!("attachment; filename=\"{}\"", format.file());
    let described = [
        (header::CONTENT_TYPE, format.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::VARY, "accept-encoding".to_owned()),
    ];
    if !gzip {
        return sized(content).map(|content| (described, content).into_response());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(&content).and_then(|()| encoder.finish());
    let packed =
        written.map_err(|error| Refusal::Object(portwarden_core::object::ObjectError(error.into())))?;
    let encoding = [(header::CONTENT_ENCODING, "gzip")];
    sized(packed).map(|packed| (described, encoding, packed).into_response())
}

fn sized(content: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if content.len() <= MAX_ANSWER {
        return Ok(content);
    }
    let message = "The document is larger than what can be answered at once.";
    let fix = "Send Accept-Encoding: gzip; if you do already, ask the operator for the object in the bucket.";
    Err(Refusal::conflict("document_too_large", message, fix))
}
