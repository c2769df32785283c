use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// A manifest that this crate understands: one image, or an index of several.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "few are alive at a time, and boxes would be in every reader's way"
)]
pub enum Manifest {
    /// One image (or another artifact that has an image's form).
    Image(ImageManifest),
    /// A list of manifests, usually one for each platform.
    Index(ImageIndex),
}

/// The layers and the configuration of one image.
///
/// Sources: OCI image specification, `manifest.md`; Docker's image manifest version 2, schema 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// The image's configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// What kind of artifact this is, when it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifest that this one says something about (a referrer, such as an attestation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, usually one for each platform.
///
/// Sources: OCI image specification, `image-index.md`; Docker's manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Points to content by type, digest and size.
///
/// Source: OCI image specification, `descriptor.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: MediaType,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    pub size: u64,
    /// Where the content may be had from outside the registry; such content is reported and never fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The platform that a manifest of an index is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact the content is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a platform's images run on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The processor architecture in Go's spelling, such as `amd64`.
    pub architecture: String,
    /// The variant of the architecture, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The type of some content, without parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
pub enum MediaType {
    /// An OCI image manifest.
    OciManifest,
    /// An OCI image index.
    OciIndex,
    /// An OCI image configuration.
    OciConfig,
    /// An uncompressed layer, OCI or Docker.
    Layer,
    /// A layer compressed with gzip, OCI or Docker.
    LayerGzip,
    /// A layer compressed with Zstandard.
    LayerZstd,
    /// A layer that registries may not distribute (Windows base layers), in any compression.
    ForeignLayer(String),
    /// A Docker image manifest, version 2, schema 2.
    DockerManifest,
    /// A Docker manifest list.
    DockerIndex,
    /// A Docker image configuration.
    DockerConfig,
    /// A Docker image manifest of schema 1, which cannot be verified by digest and is refused.
    DockerSchema1,
    /// Anything else.
    Other(String),
}

const MEDIA_TYPES: [(&str, MediaType); 13] = [
    (
        "application/vnd.oci.image.manifest.v1+json",
        MediaType::OciManifest,
    ),
    ("application/vnd.oci.image.index.v1+json", MediaType::OciIndex),
    ("application/vnd.oci.image.config.v1+json", MediaType::OciConfig),
    ("application/vnd.oci.image.layer.v1.tar", MediaType::Layer),
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        MediaType::LayerGzip,
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+zstd",
        MediaType::LayerZstd,
    ),
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        MediaType::DockerManifest,
    ),
    (
        "application/vnd.docker.distribution.manifest.list.v2+json",
        MediaType::DockerIndex,
    ),
    (
        "application/vnd.docker.container.image.v1+json",
        MediaType::DockerConfig,
    ),
    (
        "application/vnd.docker.distribution.manifest.v1+json",
        MediaType::DockerSchema1,
    ),
    (
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        MediaType::DockerSchema1,
    ),
    // Later rows are read, the first row of a type is written.
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        MediaType::LayerGzip,
    ),
    ("application/vnd.docker.image.rootfs.diff.tar", MediaType::Layer),
];

const FOREIGN_LAYER_PREFIXES: [&str; 2] = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        let essence = text.split(';').next().unwrap_or_default().trim();
        if let Some((_, known)) = MEDIA_TYPES.iter().find(|(name, _)| *name == essence) {
            known.clone()
        } else if FOREIGN_LAYER_PREFIXES
            .iter()
            .any(|prefix| essence.starts_with(prefix))
        {
            Self::ForeignLayer(essence.to_owned())
        } else {
            Self::Other(essence.to_owned())
        }
    }
}

impl MediaType {
    /// Returns the type's name as it is sent to registries.
    #[expect(clippy::missing_panics_doc, reason = "a test holds the table to every type")]
    pub fn as_str(&self) -> &str {
        match self {
            Self::ForeignLayer(name) | Self::Other(name) => name,
            known => MEDIA_TYPES
                .iter()
                .find_map(|(name, media_type)| (media_type == known).then_some(*name))
                .expect("every type without a name of its own is in the table"),
        }
    }

    /// Lists the manifest types to ask a registry for.
    pub fn accepted_manifests() -> [Self; 4] {
        [
            Self::OciIndex,
            Self::OciManifest,
            Self::DockerIndex,
            Self::DockerManifest,
        ]
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.as_str().to_owned()
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why some bytes are not a manifest that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Docker's schema 1 has no digest that could be verified.
    #[error(
        "the manifest has Docker's schema 1, which cannot be verified; push the image again with a current tool"
    )]
    Schema1,
    /// The manifest's type is none that can be read.
    #[error("the manifest's type {0:?} is not an image or an index")]
    MediaType(String),
    /// The bytes are not JSON of the right shape: a field is missing, or a size is negative or absurd.
    #[error("the manifest is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The manifest lists more than [`Manifest::MAX_ENTRIES`] layers or manifests.
    #[error("the manifest lists {0} entries, more than {max}", max = Manifest::MAX_ENTRIES)]
    TooManyEntries(usize),
}

/// How many characters of a stranger's text an error quotes.
const MAX_QUOTED: usize = 128;

impl Manifest {
    /// How many layers, or manifests of an index, are accepted.
    ///
    /// Container runtimes give up far below (overlayfs at 500 layers); a manifest with more is an attack.
    pub const MAX_ENTRIES: usize = 10_000;

    /// Parses a manifest; its own `mediaType` counts before the registry's `content_type`.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            schema_version: Option<u64>,
            media_type: Option<MediaType>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let probe: Probe = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
        if probe.schema_version == Some(1) {
            return Err(ManifestError::Schema1);
        }
        let media_type = probe
            .media_type
            .or_else(|| content_type.map(|text| MediaType::from(text.to_owned())))
            // The image specification makes the field optional; only an index has `manifests`.
            .unwrap_or(if probe.manifests.is_some() {
                MediaType::OciIndex
            } else {
                MediaType::OciManifest
            });
        let (manifest, entries) = match media_type {
            MediaType::OciManifest | MediaType::DockerManifest => {
                let image: ImageManifest = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
                let entries = image.layers.len();
                (Self::Image(image), entries)
            }
            MediaType::OciIndex | MediaType::DockerIndex => {
                let index: ImageIndex = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
                let entries = index.manifests.len();
                (Self::Index(index), entries)
            }
            MediaType::DockerSchema1 => return Err(ManifestError::Schema1),
            other => {
                return Err(ManifestError::MediaType(
                    other.as_str().chars().take(MAX_QUOTED).collect(),
                ));
            }
        };
        if entries > Self::MAX_ENTRIES {
            return Err(ManifestError::TooManyEntries(entries));
        }
        Ok(manifest)
    }
}

impl ImageManifest {
    /// Tells whether this is a container image, and not some other artifact that is kept in a registry.
    pub fn is_container_image(&self) -> bool {
        self.artifact_type.is_none()
            && matches!(
                self.config.media_type,
                MediaType::OciConfig | MediaType::DockerConfig
            )
    }
}

impl Descriptor {
    /// Tells whether a manifest of an index is an attestation that a builder put beside the images.
    ///
    /// Source: `BuildKit`, `docs/attestations/attestation-storage.md`.
    pub fn is_attestation(&self) -> bool {
        self.annotations
            .get("vnd.docker.reference.type")
            .is_some_and(|kind| kind == "attestation-manifest")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"x"), "size": 1})
    }

    fn parse(value: &Value, content_type: Option<&str>) -> Result<Manifest, ManifestError> {
        Manifest::parse(value.to_string().as_bytes(), content_type)
    }

    #[test]
    fn every_known_type_keeps_its_name() {
        for (name, media_type) in MEDIA_TYPES {
            assert_eq!(MediaType::from(name.to_owned()), media_type);
            assert_eq!(MediaType::from(media_type.as_str().to_owned()), media_type);
        }
        assert_eq!(
            MediaType::from("application/vnd.oci.image.index.v1+json; charset=utf-8".to_owned()),
            MediaType::OciIndex
        );
    }

    #[test]
    fn the_shape_tells_where_the_type_is_missing() {
        let image = json!({"schemaVersion": 2,
            "config": descriptor("application/vnd.oci.image.config.v1+json"), "layers": []});
        assert!(matches!(parse(&image, None), Ok(Manifest::Image(image)) if image.is_container_image()));
        let index = json!({"schemaVersion": 2, "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json")]});
        assert!(matches!(parse(&index, None), Ok(Manifest::Index(index)) if index.manifests.len() == 1));
        // The manifest's own word counts: a registry that lies about the type does not change what is parsed.
        let mut lied = index;
        lied["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
        let content_type = Some("application/vnd.oci.image.manifest.v1+json");
        assert!(matches!(parse(&lied, content_type), Ok(Manifest::Index(_))));
    }

    #[test]
    fn refuses_what_cannot_be_used() {
        let schema1 = json!({"schemaVersion": 1, "fsLayers": []});
        assert!(matches!(parse(&schema1, None), Err(ManifestError::Schema1)));
        let chart = json!({"schemaVersion": 2, "mediaType": "text/plain"});
        assert!(matches!(parse(&chart, None), Err(ManifestError::MediaType(name)) if name == "text/plain"));
        let long = json!({"schemaVersion": 2, "mediaType": "x".repeat(5000)});
        assert!(matches!(parse(&long, None), Err(ManifestError::MediaType(name)) if name == "x".repeat(128)));
        let mut negative = descriptor("application/vnd.oci.image.layer.v1.tar");
        negative["size"] = json!(-1);
        let config = descriptor("application/vnd.oci.image.config.v1+json");
        let image = json!({"schemaVersion": 2, "config": config, "layers": [negative]});
        assert!(matches!(parse(&image, None), Err(ManifestError::Malformed(_))));
        let layers = vec![descriptor("application/vnd.oci.image.layer.v1.tar"); Manifest::MAX_ENTRIES + 1];
        let image = json!({"schemaVersion": 2, "config": config, "layers": layers});
        assert!(matches!(
            parse(&image, None),
            Err(ManifestError::TooManyEntries(10_001))
        ));
    }

    #[test]
    fn tells_images_from_other_artifacts() {
        let chart = json!({"schemaVersion": 2, "config": descriptor("application/vnd.cncf.helm.config.v1+json"), "layers": []});
        assert!(matches!(parse(&chart, None), Ok(Manifest::Image(image)) if !image.is_container_image()));
    }
}
