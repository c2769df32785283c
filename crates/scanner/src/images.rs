//! Which images a digest or tag stands for: one, or those that an index lists.

use std::collections::BTreeMap;

use portwarden_catalog::{Compression, CompressionError};
use portwarden_oci::{Descriptor, Digest, ImageIndex, ImageManifest, Manifest, MediaType, Platform, Version};
use portwarden_registry::{FetchedManifest, ImageSource, RegistryError};
use portwarden_report::{HistoryStep, SkipReason, Skipped};
use serde::Deserialize;

use crate::{Refusal, ScanError};

/// How many images of one index are read. Official multi-platform images have about twenty.
const MAX_IMAGES: usize = 100;

/// How many bytes of manifests are read for one index.
const MAX_BYTES: usize = 32 << 20;

/// How deep indexes may be nested; builders write one level, and some registries copy an index into another one.
const MAX_DEPTH: usize = 3;

/// How many bytes of an image's configuration are read.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// What a digest or tag stands for.
pub(crate) struct Found {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    /// In the order of the index.
    pub(crate) images: Vec<FoundImage>,
    pub(crate) skipped: Vec<Skipped>,
}

/// One image.
pub(crate) struct FoundImage {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) platform: Option<Platform>,
    /// Base first.
    pub(crate) layers: Vec<FoundLayer>,
    /// How the image was made, base first; empty where that is not said.
    pub(crate) history: Vec<HistoryStep>,
    /// The manifest's annotations.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// One layer of an image.
pub(crate) struct FoundLayer {
    pub(crate) descriptor: Descriptor,
    /// Nothing for a foreign layer, which is never fetched.
    pub(crate) compression: Option<Compression>,
}

/// A manifest of an index that is still to be read.
struct Pending {
    descriptor: Descriptor,
    /// The indexes that lead here, the outermost first.
    above: Vec<Digest>,
}

/// Finds the images that `version` stands for.
pub(crate) async fn find(source: &dyn ImageSource, version: &Version) -> Result<Found, ScanError> {
    let root = source.manifest(version).await?;
    let media_type = media_type(&root);
    let index = match root.manifest {
        Manifest::Image(manifest) => {
            let config = manifest.config.clone();
            let mut image = FoundImage::new(root.digest, media_type.clone(), None, manifest)?;
            image.read_config(source, &config).await?;
            return Ok(Found {
                digest: root.digest,
                media_type,
                images: vec![image],
                skipped: Vec::new(),
            });
        }
        Manifest::Index(index) => index,
    };
    let mut found = Found {
        digest: root.digest,
        media_type,
        images: Vec::new(),
        skipped: Vec::new(),
    };
    let mut bytes = root.bytes.len();
    let mut pending = Vec::new();
    push_entries(&mut pending, index, &[root.digest]);
    while let Some(next) = pending.pop() {
        if found.has(next.descriptor.digest) {
            continue;
        }
        if let Some(reason) = next.skip_reason() {
            found.skipped.push(next.skipped(reason));
            continue;
        }
        next.check()?;
        let fetched = match source.manifest(&Version::Digest(next.descriptor.digest)).await {
            Err(RegistryError::NotFound { .. }) => {
                found.skipped.push(next.skipped(SkipReason::Missing));
                continue;
            }
            fetched => fetched?,
        };
        bytes += fetched.bytes.len();
        if bytes > MAX_BYTES || found.images.len() == MAX_IMAGES {
            return Err(too_large());
        }
        match fetched.manifest {
            Manifest::Index(index) => {
                let above = [next.above, vec![fetched.digest]].concat();
                push_entries(&mut pending, index, &above);
            }
            Manifest::Image(manifest) => {
                let Descriptor {
                    media_type, platform, ..
                } = next.descriptor.clone();
                let config = manifest.config.clone();
                match FoundImage::new(fetched.digest, media_type, platform, manifest) {
                    Ok(mut image) => {
                        image.read_config(source, &config).await?;
                        found.images.push(image);
                    }
                    Err(_) => found.skipped.push(next.skipped(SkipReason::NotAnImage)),
                }
            }
        }
    }
    if found.images.is_empty() {
        return Err(nothing_to_scan(&found));
    }
    Ok(found)
}

/// An index without a single image is another artifact, unless its images are missing.
fn nothing_to_scan(found: &Found) -> ScanError {
    let missing = found
        .skipped
        .iter()
        .find(|skipped| skipped.reason == SkipReason::Missing);
    match missing {
        Some(missing) => RegistryError::NotFound {
            subject: format!("the image {} of the index {}", missing.digest, found.digest),
        }
        .into(),
        None => Refusal::NotAnImage("an index of other artifacts".to_owned()).into(),
    }
}

fn too_large() -> ScanError {
    Refusal::IndexTooLarge {
        images: MAX_IMAGES,
        bytes: MAX_BYTES,
    }
    .into()
}

/// Puts an index's entries on the stack, so that they are taken off in their order.
fn push_entries(pending: &mut Vec<Pending>, index: ImageIndex, above: &[Digest]) {
    let entries = index.manifests.into_iter().rev();
    pending.extend(entries.map(|descriptor| Pending {
        descriptor,
        above: above.to_vec(),
    }));
}

impl Found {
    /// Tells whether an entry was met before: builders list one image for several platforms.
    fn has(&self, digest: Digest) -> bool {
        self.images.iter().any(|image| image.digest == digest)
            || self.skipped.iter().any(|skipped| skipped.digest == digest)
    }
}

impl Pending {
    /// Tells why the manifest need not be fetched, if so.
    fn skip_reason(&self) -> Option<SkipReason> {
        if self.descriptor.is_attestation() {
            Some(SkipReason::Attestation)
        } else if MediaType::accepted_manifests().contains(&self.descriptor.media_type) {
            None
        } else {
            Some(SkipReason::NotAnImage)
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.above.contains(&self.descriptor.digest) {
            Err(Refusal::IndexInItself(self.descriptor.digest))
        } else if self.above.len() > MAX_DEPTH {
            Err(Refusal::IndexTooDeep { limit: MAX_DEPTH })
        } else {
            Ok(())
        }
    }

    fn skipped(&self, reason: SkipReason) -> Skipped {
        Skipped {
            digest: self.descriptor.digest,
            media_type: self.descriptor.media_type.clone(),
            platform: self.descriptor.platform.clone(),
            reason,
        }
    }
}

impl FoundImage {
    /// Takes a manifest for an image's, if each of its layers is one.
    fn new(
        digest: Digest,
        media_type: MediaType,
        platform: Option<Platform>,
        manifest: ImageManifest,
    ) -> Result<Self, Refusal> {
        if !manifest.is_container_image() {
            let what = manifest
                .artifact_type
                .unwrap_or_else(|| manifest.config.media_type.into());
            return Err(Refusal::NotAnImage(what));
        }
        let layers = manifest.layers.into_iter().map(|descriptor| {
            let compression = match Compression::try_from(&descriptor.media_type) {
                Ok(compression) => Some(compression),
                Err(CompressionError::Foreign(_)) => None,
                // Attestations have an image's configuration, and layers of another kind.
                Err(CompressionError::Unknown(what)) => return Err(Refusal::NotAnImage(what)),
            };
            Ok(FoundLayer {
                descriptor,
                compression,
            })
        });
        Ok(Self {
            digest,
            media_type,
            platform,
            layers: layers.collect::<Result<_, _>>()?,
            history: Vec::new(),
            annotations: manifest.annotations,
        })
    }

    /// Takes what the image runs on, unless the index says it, and how it was made from its configuration, as far as that
    /// says it.
    async fn read_config(&mut self, source: &dyn ImageSource, config: &Descriptor) -> Result<(), ScanError> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            history: Vec<HistoryStep>,
        }
        if config.size > MAX_CONFIG_BYTES {
            return Ok(());
        }
        let config = source.blob(config).await?;
        let config = config.read_to_end(MAX_CONFIG_BYTES).await?;
        if self.platform.is_none() {
            self.platform = serde_json::from_slice(&config).ok();
        }
        if let Ok(config) = serde_json::from_slice::<Config>(&config) {
            self.history = config.history;
        }
        Ok(())
    }
}

fn media_type(fetched: &FetchedManifest) -> MediaType {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        media_type: Option<MediaType>,
    }
    let own: Option<MediaType> = serde_json::from_slice(&fetched.bytes)
        .ok()
        .and_then(|probe: Probe| probe.media_type);
    // The image specification makes the field optional, Docker's formats do not.
    own.unwrap_or(match fetched.manifest {
        Manifest::Image(_) => MediaType::OciManifest,
        Manifest::Index(_) => MediaType::OciIndex,
    })
}
