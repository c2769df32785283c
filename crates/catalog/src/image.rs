use portwarden_oci::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LayerCatalog, OsRelease, PackageKind, Partial, SourcePackage, overlay::Overlay, view::View};

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
    let view = View::new(&overlay);
    partial.extend(view.dead_links(&digests));
    let os = view.find_os();
    let packages = view.list_packages(os, &digests);
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayerRef {
    /// The layer's place; the base layer is 0.
    pub index: usize,
    /// The digest of the layer's blob.
    pub digest: Digest,
}

/// What is missing of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
