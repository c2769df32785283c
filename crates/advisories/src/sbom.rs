//! The packages of SBOMs, whoever wrote them.

use std::collections::BTreeSet;

use serde::Deserialize;
use thiserror::Error;

use crate::{Distribution, Package, null::or_default};

/// Reads a CycloneDX or SPDX document in JSON.
///
/// Sources: the JSON schemas of CycloneDX 1.2 to 1.6 and of SPDX 2.2 and 2.3. What has no package URL is counted.
pub fn read_sbom(json: &[u8]) -> Result<Sbom, SbomError> {
    // Programs on Windows begin a text with its byte order.
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let document: Document = serde_json::from_slice(json).map_err(SbomError::Malformed)?;
    if document.bom_format.as_deref() == Some("CycloneDX") {
        Ok(of_cyclonedx(document.components))
    } else if document
        .spdx_version
        .as_deref()
        .is_some_and(|version| version.starts_with("SPDX-2."))
    {
        Ok(of_spdx(&document.packages, &document.relationships))
    } else {
        Err(SbomError::Format)
    }
}

/// What an SBOM lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sbom {
    /// The packages with a package URL, in the document's order.
    pub packages: Vec<Package>,
    /// How many packages have no package URL, and cannot be matched.
    pub nameless: usize,
}

/// Why an SBOM cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SbomError {
    /// It is not JSON of the right shape.
    #[error("the document is not an SBOM in JSON")]
    Malformed(#[source] serde_json::Error),
    /// It is JSON, but of neither format.
    #[error("the document is neither CycloneDX nor SPDX 2")]
    Format,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: Option<String>,
    spdx_version: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    components: Vec<Component>,
    #[serde(default, deserialize_with = "or_default")]
    packages: Vec<SpdxPackage>,
    #[serde(default, deserialize_with = "or_default")]
    relationships: Vec<Relationship>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    version: Option<String>,
    purl: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    properties: Vec<Property>,
    #[serde(default, deserialize_with = "or_default")]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Property {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    #[serde(rename = "SPDXID", default, deserialize_with = "or_default")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    version_info: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    primary_package_purpose: String,
    #[serde(default, deserialize_with = "or_default")]
    source_info: String,
    #[serde(default, deserialize_with = "or_default")]
    external_refs: Vec<ExternalRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    #[serde(default, deserialize_with = "or_default")]
    reference_type: String,
    #[serde(default, deserialize_with = "or_default")]
    reference_locator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    #[serde(default, deserialize_with = "or_default")]
    spdx_element_id: String,
    #[serde(rename = "relationshipType", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    related_spdx_element: String,
    #[serde(default, deserialize_with = "or_default")]
    comment: String,
}

impl Component {
    fn property(&self, name: &str) -> Option<&str> {
        let found = self.properties.iter().find(|property| property.name == name);
        found
            .map(|property| property.value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The source package's name and version, as Portwarden or Trivy say it; Trivy takes the version apart.
    fn source(&self) -> Option<(String, Option<String>)> {
        if let Some(name) = self.property("portwarden:source:name") {
            let version = self.property("portwarden:source:version").map(str::to_owned);
            return Some((name.to_owned(), version));
        }
        let trivy = |name: &str| self.property(&format!("aquasecurity:trivy:{name}"));
        let version = trivy("SrcVersion").map(|version| {
            let epoch = trivy("SrcEpoch")
                .map(|epoch| format!("{epoch}:"))
                .unwrap_or_default();
            let release = trivy("SrcRelease")
                .map(|release| format!("-{release}"))
                .unwrap_or_default();
            format!("{epoch}{version}{release}")
        });
        Some((trivy("SrcName")?.to_owned(), version))
    }
}

fn of_cyclonedx(components: Vec<Component>) -> Sbom {
    let mut sbom = Sbom::default();
    let distribution = components
        .iter()
        .find(|component| component.kind == "operating-system")
        .map(|os| distribution(&os.name, os.version.clone()));
    let mut rest = components;
    // Components can hold components.
    while let Some(mut component) = rest.pop() {
        rest.append(&mut component.components);
        if matches!(
            component.kind.as_str(),
            "operating-system" | "container" | "file" | "device"
        ) {
            continue;
        }
        match &component.purl {
            Some(purl) => sbom.packages.push(Package {
                distribution: distribution.clone(),
                source: component.source(),
                is_owned: component.property("portwarden:owned-by").is_some(),
                ..Package::new(purl.clone())
            }),
            None => sbom.nameless += 1,
        }
    }
    sbom.packages.sort_by(|a, b| a.purl.cmp(&b.purl));
    sbom
}

fn distribution(name: &str, version: Option<String>) -> Distribution {
    Distribution {
        id: name.to_lowercase(),
        version,
    }
}

impl Relationship {
    /// Tells whether the first package installed the second: Portwarden says that it contains it, Syft in a comment that
    /// their files overlap.
    fn is_ownership(&self) -> bool {
        self.kind == "CONTAINS" || self.comment.starts_with("ownership-by-file-overlap")
    }
}

impl SpdxPackage {
    fn purl(&self) -> Option<&str> {
        let mut purls = self
            .external_refs
            .iter()
            .filter(|link| link.reference_type == "purl");
        purls.next().map(|link| link.reference_locator.as_str())
    }

    fn is_of_distribution(&self) -> bool {
        let types = ["pkg:deb/", "pkg:apk/", "pkg:rpm/"];
        self.purl()
            .is_some_and(|purl| types.iter().any(|ty| purl.starts_with(ty)))
    }

    /// The source package's name and version, which Trivy writes as `built package from: openssl 3.0.11-1`.
    fn source(&self) -> Option<(String, Option<String>)> {
        let source = self.source_info.strip_prefix("built package from:")?;
        let mut words = source.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.next()))
    }
}

fn of_spdx(packages: &[SpdxPackage], relationships: &[Relationship]) -> Sbom {
    let mut sbom = Sbom::default();
    let distribution = packages
        .iter()
        .find(|package| package.primary_package_purpose == "OPERATING-SYSTEM")
        .map(|os| distribution(&os.name, os.version_info.clone()));
    let distributions: BTreeSet<&str> = packages
        .iter()
        .filter(|package| package.is_of_distribution() && !package.id.is_empty())
        .map(|package| package.id.as_str())
        .collect();
    let owned: BTreeSet<&str> = relationships
        .iter()
        .filter(|relationship| relationship.is_ownership())
        .filter(|relationship| distributions.contains(relationship.spdx_element_id.as_str()))
        .map(|relationship| relationship.related_spdx_element.as_str())
        .collect();
    for package in packages {
        let is_something_else = matches!(
            package.primary_package_purpose.as_str(),
            "OPERATING-SYSTEM" | "CONTAINER" | "FILE" | "DEVICE"
        );
        match package.purl() {
            // The image itself is a package, too.
            Some(purl) if purl.starts_with("pkg:oci/") => {}
            _ if is_something_else => {}
            Some(purl) => sbom.packages.push(Package {
                distribution: distribution.clone(),
                source: package.source(),
                is_owned: owned.contains(package.id.as_str()) && !package.is_of_distribution(),
                ..Package::new(purl)
            }),
            None => sbom.nameless += 1,
        }
    }
    sbom.packages.sort_by(|a, b| a.purl.cmp(&b.purl));
    sbom
}
