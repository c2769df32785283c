//! Writes the packages of an image as CycloneDX 1.6 JSON.

use std::fmt::Display;

use jiff::Timestamp;
use portwarden_oci::{Digest, Platform};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{CATALOG_VERSION, ImageCatalog, OsRelease, Package};

/// Writes an SBOM; the same input gives the same bytes.
///
/// Source: the CycloneDX 1.6 JSON schema. What it has no field for stands in properties named `portwarden:…`.
pub fn write(image: &ImageCatalog, subject: &Subject) -> Vec<u8> {
    let mut bom = Bom::new(image, subject);
    bom.serial_number = serial_number(&to_json(&bom));
    to_json(&bom)
}

/// The image that an SBOM describes, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The repository with its registry, such as `111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/web`.
    pub repository: String,
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// The platform, where it is known.
    pub platform: Option<Platform>,
    /// When the image was catalogued.
    pub catalogued_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bom<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    #[serde(rename = "bomFormat")]
    format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
    compositions: [Composition; 1],
}

#[derive(Serialize)]
struct Metadata<'a> {
    timestamp: String,
    tools: Tools,
    component: Component<'a>,
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Tools {
    components: [Component<'static>; 1],
}

#[derive(Serialize)]
struct Component<'a> {
    r#type: &'static str,
    #[serde(rename = "bom-ref")]
    bom_ref: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<LicenseChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct LicenseChoice<'a> {
    license: License<'a>,
}

#[derive(Serialize)]
struct License<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Composition {
    aggregate: &'static str,
    assemblies: [String; 1],
}

impl<'a> Bom<'a> {
    fn new(image: &'a ImageCatalog, subject: &'a Subject) -> Self {
        let component = Component::of_image(subject);
        // Not even a layer that was read to its end is known to be complete: not every ecosystem has a cataloguer.
        let aggregate = if image.is_partial() {
            "incomplete"
        } else {
            "unknown"
        };
        let compositions = [Composition {
            aggregate,
            assemblies: [component.bom_ref.clone()],
        }];
        Self {
            schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
            format: "CycloneDX",
            spec_version: "1.6",
            serial_number: String::new(),
            version: 1,
            metadata: Metadata {
                timestamp: subject.catalogued_at.to_string(),
                tools: Tools {
                    components: [Component::of_tool()],
                },
                component,
                properties: image_properties(image, subject),
            },
            components: image
                .os
                .iter()
                .map(Component::of_os)
                .chain(image.packages.iter().map(Component::of_package))
                .collect(),
            compositions,
        }
    }
}

fn image_properties(image: &ImageCatalog, subject: &Subject) -> Vec<Property> {
    let platform = subject
        .platform
        .iter()
        .map(|platform| property("platform", platform));
    let layers = image
        .layers
        .iter()
        .enumerate()
        .map(|(index, digest)| property(&format!("layer:{index}"), digest));
    let partial = image.partial.iter().map(|missing| {
        let code = missing.partial.code;
        property(
            "partial",
            format!("layer {}: {code}: {}", missing.layer.index, missing.partial),
        )
    });
    platform.chain(layers).chain(partial).collect()
}

impl<'a> Component<'a> {
    fn new(r#type: &'static str, bom_ref: String, name: &'a str) -> Self {
        Self {
            r#type,
            bom_ref,
            group: None,
            name,
            version: None,
            licenses: Vec::new(),
            purl: None,
            properties: Vec::new(),
        }
    }

    fn of_tool() -> Self {
        Self {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            properties: vec![property("catalog-version", CATALOG_VERSION)],
            ..Self::new("application", "portwarden".to_owned(), "portwarden")
        }
    }

    fn of_image(subject: &'a Subject) -> Self {
        let purl = image_purl(subject);
        Self {
            version: Some(subject.digest.to_string()),
            purl: purl.clone(),
            ..Self::new(
                "container",
                purl.unwrap_or_else(|| subject.digest.to_string()),
                &subject.repository,
            )
        }
    }

    fn of_os(os: &'a OsRelease) -> Self {
        Self {
            version: os.version_id.clone(),
            properties: os
                .pretty_name
                .iter()
                .map(|name| property("pretty-name", name))
                .collect(),
            ..Self::new("operating-system", format!("os:{}", os.distro()), &os.id)
        }
    }

    fn of_package(package: &'a Package) -> Self {
        let (group, name) = match package.name.split_once('/') {
            Some((scope, name)) if scope.starts_with('@') => (Some(scope), name),
            _ => (None, package.name.as_str()),
        };
        let mut properties = vec![
            property("file", &package.file),
            property("layer:index", package.layer.index),
            property("layer:digest", package.layer.digest),
        ];
        properties.extend(package.owned_by.iter().map(|owner| property("owned-by", owner)));
        if let Some(source) = &package.source {
            properties.push(property("source:name", &source.name));
            properties.extend(
                source
                    .version
                    .iter()
                    .map(|version| property("source:version", version)),
            );
        }
        if package.version.is_none() {
            properties.push(property("version", "unknown"));
        }
        // One package can be installed in several places, and each of them is a component of its own.
        let place = hex::encode(&Sha256::digest(&package.file)[..8]);
        Self {
            group,
            version: package.version.clone(),
            licenses: package
                .licenses
                .iter()
                .map(|name| LicenseChoice {
                    license: License { name },
                })
                .collect(),
            purl: Some(package.purl.clone()),
            properties,
            ..Self::new("library", format!("{}#{place}", package.purl), name)
        }
    }
}

/// Source: the package-url specification, type `oci`.
fn image_purl(subject: &Subject) -> Option<String> {
    let name = subject.repository.rsplit('/').next()?;
    let mut purl = packageurl::PackageUrl::new("oci", name).ok()?;
    purl.with_version(subject.digest.to_string()).ok()?;
    purl.add_qualifier("repository_url", subject.repository.as_str())
        .ok()?;
    if let Some(platform) = &subject.platform {
        purl.add_qualifier("arch", platform.architecture.as_str()).ok()?;
    }
    Some(purl.to_string())
}

fn property(name: &str, value: impl Display) -> Property {
    Property {
        name: format!("portwarden:{name}"),
        value: value.to_string(),
    }
}

/// Derives a UUID from the content (RFC 9562, version 8).
fn serial_number(content: &[u8]) -> String {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&Sha256::digest(content)[..16]);
    uuid[6] = 0x80 | uuid[6] & 0x0f;
    uuid[8] = 0x80 | uuid[8] & 0x3f;
    let parts = [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]];
    format!("urn:uuid:{}", parts.map(hex::encode).join("-"))
}

fn to_json(bom: &Bom<'_>) -> Vec<u8> {
    serde_json::to_vec(bom).expect("texts, numbers and lists can always be written as JSON")
}
