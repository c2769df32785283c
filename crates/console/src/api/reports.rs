//! What a scan made of an image: its report, its SBOM and its findings, in every format.

use std::io::Write as _;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, header};
use portwarden_core::{id::TenantId, image::ScanResult, object::Document};
use portwarden_oci::Digest;
use portwarden_report::Report;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::input::{Path, Query};
use crate::{auth::Reader, context::Console, error::Refusal};

/// A way to write what is known of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// The report: platforms, layers, packages, and where each came from.
    Json,
    /// The SBOM of the main platform, as `CycloneDX` JSON.
    CyclonedxJson,
    /// The SBOM of the main platform, as SPDX JSON.
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
}

impl Format {
    fn document(self) -> Document {
        match self {
            Self::Json | Self::SpdxJson => Document::Report,
            Self::CyclonedxJson => Document::CycloneDx,
            Self::FindingsJson => Document::Findings,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::FindingsJson => "application/json",
            Self::CyclonedxJson => "application/vnd.cyclonedx+json",
            Self::SpdxJson => "application/spdx+json",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Json => "report.json",
            Self::CyclonedxJson => "sbom.cdx.json",
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
    responses((status = 200, description = "The document", content(
        (Object = "application/json"),
        (Object = "application/vnd.cyclonedx+json"),
        (Object = "application/spdx+json"),
    )))
)]
pub(crate) async fn show(
    State(console): State<Console>,
    reader: Reader,
    Path((_, digest)): Path<(TenantId, Digest)>,
    Query(query): Query<ReportQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let format = query.format.unwrap_or(Format::Json);
    let summary = console.images.summary(reader.scope(), &digest).await?;
    let scan = summary
        .and_then(|summary| summary.scan)
        .ok_or(Refusal::NotFound)?;
    if let ScanResult::Refused { problem } = scan.result {
        return Err(Refusal::Conflict(problem));
    }
    let key = reader
        .scope()
        .image_object(&digest, scan.catalog_version, format.document());
    let object = console
        .objects
        .read_object(&key)
        .await?
        .ok_or(Refusal::NotFound)?;
    let content = match format {
        Format::SpdxJson => spdx(&object)?,
        Format::Json | Format::CyclonedxJson | Format::FindingsJson => object,
    };
    send(format, content, &headers)
}

fn spdx(report: &[u8]) -> Result<Vec<u8>, Refusal> {
    let report: Report = serde_json::from_slice(report).map_err(|error| {
        // It is ours, and written by the scanner.
        Refusal::Object(portwarden_core::object::ObjectError(error.into()))
    })?;
    let platform = report.main_platform().ok_or(Refusal::NotFound)?;
    Ok(report.spdx(platform))
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
