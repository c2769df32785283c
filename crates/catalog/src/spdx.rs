//! Writes the packages of an image as SPDX 2.3 JSON.
#![allow(clippy::struct_field_names, reason = "the names are the format's")]

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::{
    ImageCatalog, Package, PackageKind, Subject,
    license::License,
    subject::{place, short_hash, uuid_of},
};

/// Writes an SBOM; the same input gives the same bytes.
///
/// Source: the SPDX specification, version 2.3, and its JSON schema.
pub fn write(image: &ImageCatalog, subject: &Subject) -> Vec<u8> {
    let mut document = Document::new(image, subject);
    // The form that the specification gives for who has no place of their own.
    document.document_namespace = format!(
        "https://spdx.org/spdxdocs/portwarden-{}",
        uuid_of(&to_json(&document))
    );
    to_json(&document)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: &'a str,
    document_namespace: String,
    creation_info: CreationInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    packages: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<ExtractedLicense>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: [String; 1],
    comment: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(rename = "SPDXID")]
    id: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<&'a str>,
    download_location: &'static str,
    files_analyzed: bool,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    primary_package_purpose: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExtractedLicense {
    license_id: String,
    extracted_text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";
const NO_ASSERTION: &str = "NOASSERTION";

impl<'a> Document<'a> {
    fn new(image: &'a ImageCatalog, subject: &'a Subject) -> Self {
        let mut licenses = Licenses::default();
        let mut packages = vec![Entry::of_image(subject)];
        if let Some(os) = &image.os {
            packages.push(Entry {
                version_info: os.version_id.as_deref(),
                ..Entry::new("SPDXRef-OperatingSystem".to_owned(), &os.id, "OPERATING-SYSTEM")
            });
        }
        packages.extend(
            image
                .packages
                .iter()
                .map(|package| Entry::of_package(package, &mut licenses)),
        );
        Self {
            spdx_version: "SPDX-2.3",
            data_license: "CC0-1.0",
            id: DOCUMENT,
            name: &subject.repository,
            document_namespace: String::new(),
            creation_info: CreationInfo {
                // The format has whole seconds only.
                created: subject.catalogued_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                creators: [format!("Tool: portwarden-{}", env!("CARGO_PKG_VERSION"))],
                comment: format!("catalog version {}", crate::CATALOG_VERSION),
            },
            comment: missing(image),
            packages,
            has_extracted_licensing_infos: licenses.into_extracted(),
            relationships: relationships(image),
        }
    }
}

/// Says what is missing, since the format has no field for it.
fn missing(image: &ImageCatalog) -> Option<String> {
    let lines = image.partial.iter().map(|missing| {
        let code = missing.partial.code;
        format!("layer {}: {code}: {}", missing.layer.index, missing.partial)
    });
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| format!("packages may be missing: {}", lines.join("; ")))
}

fn relationships(image: &ImageCatalog) -> Vec<Relationship> {
    let contains = |container: String, package: &Package| Relationship {
        spdx_element_id: container,
        relationship_type: "CONTAINS",
        related_spdx_element: id_of(package),
    };
    let mut by_purl: BTreeMap<&str, String> = BTreeMap::new();
    for package in &image.packages {
        by_purl.entry(&package.purl).or_insert_with(|| id_of(package));
    }
    let describes = Relationship {
        spdx_element_id: DOCUMENT.to_owned(),
        relationship_type: "DESCRIBES",
        related_spdx_element: IMAGE.to_owned(),
    };
    let packages = image.packages.iter().map(|package| {
        let owner = package.owned_by.as_deref().and_then(|owner| by_purl.get(owner));
        contains(owner.cloned().unwrap_or_else(|| IMAGE.to_owned()), package)
    });
    [describes].into_iter().chain(packages).collect()
}

/// Names a package within the document.
fn id_of(package: &Package) -> String {
    format!(
        "SPDXRef-Package-{}-{}-{}",
        package.kind.as_str(),
        short_hash(package.purl.as_bytes()),
        place(package)
    )
}

impl<'a> Entry<'a> {
    fn new(id: String, name: &'a str, purpose: &'static str) -> Self {
        Self {
            id,
            name,
            version_info: None,
            download_location: NO_ASSERTION,
            files_analyzed: false,
            license_concluded: NO_ASSERTION,
            license_declared: NO_ASSERTION.to_owned(),
            copyright_text: NO_ASSERTION,
            primary_package_purpose: purpose,
            source_info: None,
            external_refs: Vec::new(),
            comment: None,
        }
    }

    fn of_image(subject: &'a Subject) -> Self {
        Self {
            external_refs: subject.purl().into_iter().map(purl).collect(),
            source_info: Some(format!("manifest {}", subject.digest)),
            ..Self::new(IMAGE.to_owned(), &subject.repository, "CONTAINER")
        }
    }

    fn of_package(package: &'a Package, licenses: &mut Licenses) -> Self {
        let purpose = match package.kind {
            PackageKind::Generic => "APPLICATION",
            _ => "LIBRARY",
        };
        let source = package.source.iter().map(|source| match &source.version {
            Some(version) => format!("; built from {} {version}", source.name),
            None => format!("; built from {}", source.name),
        });
        let (file, layer) = (&package.file, &package.layer);
        let shown_by = format!("shown by {file} of layer {} ({})", layer.index, layer.digest);
        Self {
            version_info: package.version.as_deref(),
            license_declared: licenses.declare(&package.licenses),
            source_info: Some(shown_by + &source.collect::<String>()),
            external_refs: vec![purl(package.purl.clone())],
            comment: package
                .version
                .is_none()
                .then_some("the package does not say its version"),
            ..Self::new(id_of(package), &package.name, purpose)
        }
    }
}

fn purl(locator: String) -> ExternalRef {
    ExternalRef {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: locator,
    }
}

/// The licences that are not of SPDX's list, by the ids that they get.
#[derive(Default)]
struct Licenses(BTreeMap<String, String>);

impl Licenses {
    /// Makes one expression of what a package declares; all of it applies.
    fn declare(&mut self, declared: &[String]) -> String {
        let mut seen = HashSet::new();
        let parts = declared
            .iter()
            .filter(|text| seen.insert(*text))
            .map(|text| match License::of(text) {
                License::Id => text.clone(),
                License::Expression if declared.len() == 1 => text.clone(),
                License::Expression => format!("({text})"),
                License::Other => {
                    let id = format!("LicenseRef-{}", short_hash(text.as_bytes()));
                    self.0.insert(id.clone(), text.clone());
                    id
                }
            });
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() {
            NO_ASSERTION.to_owned()
        } else {
            parts.join(" AND ")
        }
    }

    fn into_extracted(self) -> Vec<ExtractedLicense> {
        let extracted = self
            .0
            .into_iter()
            .map(|(license_id, extracted_text)| ExtractedLicense {
                license_id,
                extracted_text,
            });
        extracted.collect()
    }
}

fn to_json(document: &Document<'_>) -> Vec<u8> {
    serde_json::to_vec(document).expect("texts, numbers and lists can always be written as JSON")
}
