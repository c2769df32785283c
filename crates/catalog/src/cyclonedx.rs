//! Writes the packages of an image as CycloneDX 1.6 JSON.

use std::{collections::BTreeMap, fmt::Display};

use serde::Serialize;

use crate::{
    CATALOG_VERSION, ImageCatalog, OsRelease, Package, PackageKind, Subject,
    license::License as Known,
    subject::{short_hash, uuid_of},
};

/// Writes an SBOM; the same input gives the same bytes.
///
/// Source: the CycloneDX 1.6 JSON schema. What it has no field for stands in properties named `portwarden:…`.
pub fn write(image: &ImageCatalog, subject: &Subject) -> Vec<u8> {
    #[derive(Serialize)]
    struct Nothing {}
    write_with(image, subject, &Nothing {})
}

/// Writes an SBOM with further fields of the document, such as `vulnerabilities`.
pub fn write_with<T: Serialize>(image: &ImageCatalog, subject: &Subject, further: &T) -> Vec<u8> {
    let mut bom = Bom::new(image, subject, further);
    bom.serial_number = format!("urn:uuid:{}", uuid_of(&to_json(&bom)));
    to_json(&bom)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bom<'a, T> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    #[serde(rename = "bomFormat")]
    format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
    dependencies: Vec<Dependency>,
    compositions: [Composition; 1],
    #[serde(flatten)]
    further: &'a T,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Evidence<'a> {
    occurrences: [Occurrence<'a>; 1],
}

#[derive(Serialize)]
struct Occurrence<'a> {
    location: &'a str,
}

/// Either licences, or one expression.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum LicenseChoice<'a> {
    License {
        #[serde(flatten)]
        name: LicenseName<'a>,
        acknowledgement: &'static str,
    },
    #[serde(untagged)]
    Expression {
        expression: &'a str,
        acknowledgement: &'static str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum LicenseName<'a> {
    Id(&'a str),
    Name(&'a str),
}

const DECLARED: &str = "declared";

fn licenses(declared: &[String]) -> Vec<LicenseChoice<'_>> {
    if let [only] = declared
        && let Known::Expression = Known::of(only)
    {
        return vec![LicenseChoice::Expression {
            expression: only,
            acknowledgement: DECLARED,
        }];
    }
    let named = |text| LicenseChoice::License {
        name: match Known::of(text) {
            Known::Id => LicenseName::Id(text),
            Known::Expression | Known::Other => LicenseName::Name(text),
        },
        acknowledgement: DECLARED,
    };
    declared.iter().map(|text| named(text)).collect()
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

/// What something is made of, as far as that is known: an image of its packages, and a distribution's package of those
/// that it installed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    r#ref: String,
    depends_on: Vec<String>,
}

#[derive(Serialize)]
struct Composition {
    aggregate: &'static str,
    assemblies: [String; 1],
}

impl<'a, T> Bom<'a, T> {
    fn new(image: &'a ImageCatalog, subject: &'a Subject, further: &'a T) -> Self {
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
        let dependencies = dependencies(image, &component.bom_ref);
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
            dependencies,
            compositions,
            further,
        }
    }
}

fn dependencies(image: &ImageCatalog, image_ref: &str) -> Vec<Dependency> {
    let is_owned = |package: &&Package| package.owned_by.is_some();
    let mut by_owner: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in image.packages.iter().filter(is_owned) {
        let owner = package.owned_by.as_deref().unwrap_or_default();
        by_owner.entry(owner).or_default().push(reference(package));
    }
    let own = image
        .packages
        .iter()
        .filter(|package| !is_owned(package))
        .map(reference);
    let image_itself = Dependency {
        r#ref: image_ref.to_owned(),
        depends_on: own.collect(),
    };
    let owners = image.packages.iter().filter_map(|package| {
        // A package that is listed in two places has what it installed at the first.
        Some(Dependency {
            r#ref: reference(package),
            depends_on: by_owner.remove(package.purl.as_str())?,
        })
    });
    [image_itself].into_iter().chain(owners).collect()
}

/// Names a package within the document: one that is installed in several places is a component of its own in each.
fn reference(package: &Package) -> String {
    reference_of(&package.purl, &package.file)
}

/// Names the package of a place within the document, by its package URL and the file that shows it.
pub fn reference_of(purl: &str, file: &str) -> String {
    format!("{purl}#{}", short_hash(file.as_bytes()))
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
            evidence: None,
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
        let purl = subject.purl();
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
        let (group, name) = match package.kind {
            PackageKind::Maven => package.name.split_once(':'),
            PackageKind::Npm | PackageKind::Composer => package.name.split_once('/'),
            _ => None,
        }
        .map_or((None, package.name.as_str()), |(group, name)| (Some(group), name));
        let kind = match package.kind {
            PackageKind::Generic => "application",
            _ => "library",
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
        Self {
            group,
            version: package.version.clone(),
            licenses: licenses(&package.licenses),
            purl: Some(package.purl.clone()),
            properties,
            evidence: Some(Evidence {
                occurrences: [Occurrence {
                    location: &package.file,
                }],
            }),
            ..Self::new(kind, reference(package), name)
        }
    }
}

fn property(name: &str, value: impl Display) -> Property {
    Property {
        name: format!("portwarden:{name}"),
        value: value.to_string(),
    }
}

fn to_json(bom: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(bom).expect("texts, numbers and lists can always be written as JSON")
}
