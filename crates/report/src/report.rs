//! What a scan found, as JSON and as an SBOM.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use portwarden_catalog::{
    ImageCatalog, LayerPartial, OsRelease, Package, PackageKind, Subject, cyclonedx, spdx,
};
use portwarden_core::trace::TraceId;
use portwarden_oci::{Digest, MediaType, Platform, Tag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::BaseImage;

/// What was found in an image: the JSON that lies in the bucket and that the command line prints.
///
/// Fields keep their names and meanings within a `schema_version`; new ones may come. The same report is always
/// written as the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this format, [`Report::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The version of the catalog that read the layers.
    pub catalog_version: u32,
    /// What led to the scan, where it was an event or a question to the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// What was scanned.
    pub image: ReportedImage,
    /// When the scan, or its last part, started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// When the scan ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub finished_at: Timestamp,
    /// How many bytes of layers were pulled.
    pub pulled_bytes: u64,
    /// How many bytes of layers were known already, be it from other images or from an earlier part of this scan.
    pub spared_bytes: u64,
    /// How many packages there are, each counted once for every platform and place where it is installed.
    pub package_count: usize,
    /// How many packages of each kind there are.
    pub packages_by_kind: BTreeMap<PackageKind, usize>,
    /// Whether packages may be missing: some platform is partial, or an image of the index is.
    pub partial: bool,
    /// One section for an image, one for each platform of an index, in its order.
    pub platforms: Vec<PlatformReport>,
    /// What an index lists besides the scanned images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
}

/// What was scanned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedImage {
    /// The repository with its registry, such as `111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/web`.
    pub repository: String,
    /// The tags that pointed to the image when it was scanned.
    pub tags: BTreeSet<Tag>,
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// The type of the manifest or index.
    pub media_type: MediaType,
}

/// What was found in one platform's image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformReport {
    /// What the image runs on, where that is known.
    pub platform: Option<Platform>,
    /// The digest of the platform's own manifest.
    pub digest: Digest,
    /// The type of the platform's own manifest.
    pub media_type: MediaType,
    /// The distribution; an image may have none.
    pub os: Option<OsRelease>,
    /// How many packages of each kind there are.
    pub packages_by_kind: BTreeMap<PackageKind, usize>,
    /// Which layers come from the base image, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseImage>,
    /// The layers, base first.
    pub layers: Vec<LayerReport>,
    /// What is missing, layer by layer; empty if everything was read.
    pub partial: Vec<LayerPartial>,
    /// The packages, by purl and file.
    pub packages: Vec<Package>,
}

/// One layer of a platform's image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LayerReport {
    /// The layer's place; the base layer is 0.
    pub index: usize,
    /// The digest of the layer's blob.
    pub digest: Digest,
    /// The size of the layer's blob in bytes.
    pub size: u64,
    /// The type of the layer's blob.
    pub media_type: MediaType,
    /// Where its catalogue came from.
    pub origin: LayerOrigin,
    /// The instruction that made the layer, as the image's history has it, without values of build arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// Where the catalogue of a layer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerOrigin {
    /// The layer was pulled and read.
    Pulled,
    /// The layer was catalogued before, so it was not pulled.
    Known,
    /// The layer was not read; the list of what is missing says why.
    Unread,
}

/// An entry of an index that was not scanned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// The entry's digest.
    pub digest: Digest,
    /// The entry's type.
    pub media_type: MediaType,
    /// The platform that the entry is for, where the index says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Why it was not scanned.
    pub reason: SkipReason,
}

/// Why an entry of an index was not scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// It is an attestation about one of the images.
    Attestation,
    /// It is another kind of artifact.
    NotAnImage,
    /// The repository does not have it.
    Missing,
}

impl Report {
    /// The version of the format that this type writes.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Writes the report as JSON.
    ///
    /// # Panics
    ///
    /// Never: texts, numbers and lists can always be written as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and lists can be written as JSON")
    }

    /// Writes the SBOM of one of the report's platforms as `CycloneDX` JSON.
    pub fn cyclonedx(&self, platform: &PlatformReport) -> Vec<u8> {
        cyclonedx::write(&platform.catalog(), &self.subject(platform))
    }

    /// Writes the SBOM of one of the report's platforms as SPDX JSON.
    pub fn spdx(&self, platform: &PlatformReport) -> Vec<u8> {
        spdx::write(&platform.catalog(), &self.subject(platform))
    }

    pub(crate) fn subject(&self, platform: &PlatformReport) -> Subject {
        Subject {
            repository: self.image.repository.clone(),
            digest: platform.digest,
            platform: platform.platform.clone(),
            catalogued_at: self.finished_at,
        }
    }

    /// Names the image for people, the same for every image of a tag: its repository and its tags, if it has any.
    pub fn name(&self) -> String {
        let image = &self.image;
        let tags: Vec<String> = image.tags.iter().map(ToString::to_string).collect();
        match tags.as_slice() {
            [] => image.repository.clone(),
            tags => format!("{}:{}", image.repository, tags.join(", ")),
        }
    }

    /// Returns the platform to show where only one can be shown: `linux/amd64`, or else the first.
    pub fn main_platform(&self) -> Option<&PlatformReport> {
        let is_common = |report: &&PlatformReport| {
            let platform = report.platform.as_ref();
            platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == "amd64")
        };
        self.platforms
            .iter()
            .find(is_common)
            .or_else(|| self.platforms.first())
    }
}

impl PlatformReport {
    pub(crate) fn catalog(&self) -> ImageCatalog {
        ImageCatalog {
            os: self.os.clone(),
            layers: self.layers.iter().map(|layer| layer.digest).collect(),
            packages: self.packages.clone(),
            partial: self.partial.clone(),
        }
    }

    /// Tells whether packages may be missing.
    pub fn is_partial(&self) -> bool {
        self.partial
            .iter()
            .any(|partial| partial.partial.code.hides_packages())
    }
}

/// Counts packages by kind.
pub fn count_by_kind<'a>(packages: impl IntoIterator<Item = &'a Package>) -> BTreeMap<PackageKind, usize> {
    let mut counts = BTreeMap::new();
    for package in packages {
        *counts.entry(package.kind).or_default() += 1;
    }
    counts
}
