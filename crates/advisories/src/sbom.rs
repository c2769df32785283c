//! The packages of SBOMs, whoever wrote them.

use serde::Deserialize;
use thiserror::Error;

use crate::{Distribution, Package};

/// Reads a CycloneDX or SPDX document in JSON.
///
/// Sources: the JSON schemas of CycloneDX 1.2 to 1.6 and of SPDX 2.2 and 2.3. What has no package URL is counted.
pub fn read_sbom(json: &[u8]) -> Result<Sbom, SbomError> {
    let document: Document = serde_json::from_slice(json).map_err(SbomError::Malformed)?;
    if document.bom_format.as_deref() == Some("CycloneDX") {
        Ok(of_cyclonedx(document.components))
    } else if document
        .spdx_version
        .as_deref()
        .is_some_and(|version| version.starts_with("SPDX-2."))
    {
        Ok(of_spdx(document.packages))
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
    #[serde(default)]
    components: Vec<Component>,
    #[serde(default)]
    packages: Vec<SpdxPackage>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    name: String,
    version: Option<String>,
    purl: Option<String>,
    #[serde(default)]
    properties: Vec<Property>,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Property {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    #[serde(default)]
    external_refs: Vec<ExternalRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    #[serde(default)]
    reference_type: String,
    #[serde(default)]
    reference_locator: String,
}

fn of_cyclonedx(components: Vec<Component>) -> Sbom {
    let mut sbom = Sbom::default();
    let distribution = components
        .iter()
        .find(|component| component.kind == "operating-system")
        .map(|os| Distribution {
            id: os.name.to_lowercase(),
            version: os.version.clone(),
        });
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
        let property = |names: [&str; 2]| {
            let found = component
                .properties
                .iter()
                .find(|p| names.contains(&p.name.as_str()));
            found.map(|p| p.value.clone()).filter(|value| !value.is_empty())
        };
        let source_name = property(["portwarden:source:name", "aquasecurity:trivy:SrcName"]);
        let source_version = property(["portwarden:source:version", "aquasecurity:trivy:SrcVersion"]);
        match &component.purl {
            Some(purl) => sbom.packages.push(Package {
                distribution: distribution.clone(),
                source: source_name.map(|name| (name, source_version)),
                is_owned: property(["portwarden:owned-by", ""]).is_some(),
                ..Package::new(purl.clone())
            }),
            None => sbom.nameless += 1,
        }
    }
    sbom.packages.sort_by(|a, b| a.purl.cmp(&b.purl));
    sbom
}

fn of_spdx(packages: Vec<SpdxPackage>) -> Sbom {
    let mut sbom = Sbom::default();
    for package in packages {
        let purl = package
            .external_refs
            .into_iter()
            .find(|link| link.reference_type == "purl");
        match purl {
            // The image itself is a package, too.
            Some(purl) if purl.reference_locator.starts_with("pkg:oci/") => {}
            Some(purl) => sbom.packages.push(Package::new(purl.reference_locator)),
            None => sbom.nameless += 1,
        }
    }
    sbom.packages.sort_by(|a, b| a.purl.cmp(&b.purl));
    sbom
}
