use std::collections::HashMap;

use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    LayerCatalog, OsRelease, PackageKind, Partial, SourcePackage,
    facts::{Declared, Facts},
    overlay::Overlay,
    purl::purl,
};

/// Folds the catalogues of an image's layers, base first, into the packages of the image.
pub fn fold<'a>(layers: impl IntoIterator<Item = (Digest, &'a LayerCatalog)>) -> ImageCatalog {
    let mut overlay = Overlay::default();
    let mut digests = Vec::new();
    let mut partial = Vec::new();
    for (index, (digest, layer)) in layers.into_iter().enumerate() {
        overlay.apply(index, layer);
        digests.push(digest);
        partial.extend(layer.partial().iter().map(|partial| LayerPartial {
            layer: LayerRef { index, digest },
            partial: partial.clone(),
        }));
    }
    let os = find_os(&overlay);
    let packages = list_packages(&overlay, os, &digests);
    ImageCatalog {
        os: os.cloned(),
        layers: digests,
        packages,
        partial,
    }
}

/// The packages of an image, and what is not known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCatalog {
    /// The distribution; an image may have none.
    pub os: Option<OsRelease>,
    /// The layers, base first.
    pub layers: Vec<Digest>,
    /// The packages, by purl and file.
    pub packages: Vec<Package>,
    /// What is missing; empty if every layer was read completely.
    pub partial: Vec<LayerPartial>,
}

/// Something installed in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The package URL.
    pub purl: String,
    /// Who installs such packages.
    pub kind: PackageKind,
    /// The name as the package itself writes it.
    pub name: String,
    /// The version; a package that does not say its own is listed all the same.
    pub version: Option<String>,
    /// The processor architecture in the distribution's spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// What a distribution's package was built from, where it differs from the package in name or version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourcePackage>,
    /// The licences as the package declares them; names or expressions, in the package's own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
    /// The path of the file that shows the package, relative to the image's root.
    pub file: String,
    /// The layer that brought the package: the first one from which on it has been there in this version.
    pub layer: LayerRef,
    /// The purl of the distribution's package that installed this one, and whose version says what is patched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<String>,
}

/// One layer of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRef {
    /// The layer's place; the base layer is 0.
    pub index: usize,
    /// The digest of the layer's blob.
    pub digest: Digest,
}

/// What is missing of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPartial {
    /// The layer.
    pub layer: LayerRef,
    /// What is missing.
    #[serde(flatten)]
    pub partial: Partial,
}

impl ImageCatalog {
    /// Tells whether packages may be missing.
    pub fn is_partial(&self) -> bool {
        self.partial
            .iter()
            .any(|partial| partial.partial.code.hides_packages())
    }
}

fn find_os<'a>(overlay: &Overlay<'a>) -> Option<&'a OsRelease> {
    OsRelease::PATHS
        .into_iter()
        .find_map(|path| match overlay.facts(path) {
            Some(Facts::Os(os)) => Some(os),
            _ => None,
        })
}

fn list_packages(overlay: &Overlay<'_>, os: Option<&OsRelease>, digests: &[Digest]) -> Vec<Package> {
    let owners = Owners::new(overlay, os);
    let mut packages = Vec::new();
    for (file, visible) in overlay.files() {
        let Facts::Packages(declared) = visible.facts else {
            continue;
        };
        let owned_by = owners.of(file);
        for (package, &index) in declared.iter().zip(&visible.since) {
            packages.extend(purl(package, os).map(|purl| Package {
                purl,
                kind: package.kind,
                name: package.name.clone(),
                version: package.version.clone(),
                architecture: package.architecture.clone(),
                source: package.source.clone(),
                licenses: package.licenses.clone(),
                file: file.to_owned(),
                layer: LayerRef {
                    index,
                    digest: digests[index],
                },
                owned_by: owned_by.map(str::to_owned),
            }));
        }
    }
    packages.sort_by(|a, b| (&a.purl, &a.file, a.layer.index).cmp(&(&b.purl, &b.file, b.layer.index)));
    packages.dedup();
    packages
}

/// Which distribution's package owns which wanted file.
struct Owners<'a>(HashMap<&'a str, String>);

impl<'a> Owners<'a> {
    fn new(overlay: &Overlay<'a>, os: Option<&OsRelease>) -> Self {
        let installed: Vec<&'a Declared> = overlay
            .files()
            .filter_map(|(_, visible)| match visible.facts {
                Facts::Packages(packages) => Some(packages),
                _ => None,
            })
            .flatten()
            .collect();
        let mut by_name: HashMap<(PackageKind, &str), Vec<&'a Declared>> = HashMap::new();
        for package in &installed {
            by_name
                .entry((package.kind, &package.name))
                .or_default()
                .push(package);
        }
        let mut owners = HashMap::new();
        let mut own = |package: &'a Declared, paths: &'a [String]| {
            if let Some(purl) = purl(package, os).filter(|_| !paths.is_empty()) {
                owners.extend(paths.iter().map(|path| (without_usr(path), purl.clone())));
            }
        };
        for package in &installed {
            own(package, &package.owns);
        }
        for (_, visible) in overlay.files() {
            let Facts::Files(list) = visible.facts else {
                continue;
            };
            let candidates = by_name.get(&(list.kind, list.package.as_str()));
            let owner = candidates
                .into_iter()
                .flatten()
                .find(|package| list.architecture.is_none() || list.architecture == package.architecture);
            if let Some(owner) = owner {
                own(owner, &list.paths);
            }
        }
        Self(owners)
    }

    fn of(&self, path: &str) -> Option<&str> {
        self.0.get(without_usr(path)).map(String::as_str)
    }
}

/// `lib` is a link to `usr/lib` in most distributions, and their lists use either.
fn without_usr(path: &str) -> &str {
    path.strip_prefix("usr/")
        .filter(|rest| rest.starts_with("lib/"))
        .unwrap_or(path)
}
