//! Builds layers, images and indexes in memory, writes them as an OCI layout and pushes them to a registry.
//!
//! The same calls give the same bytes, on every machine and every day: modification times are fixed, owners are
//! `0:0` and the compression levels do not change.
//!
//! Sources: OCI image specification (`layer.md`, `config.md`, `manifest.md`, `image-index.md`, `image-layout.md`).

mod builder;
mod docker_archive;
mod index;
mod layer;
mod layout;
mod push;

use std::collections::BTreeMap;

use bytes::Bytes;
use portwarden_oci::{Descriptor, Digest, MediaType};

pub use builder::{Format, Image, ImageBuilder};
pub use docker_archive::write_docker_archive;
pub use index::{Index, IndexBuilder};
pub use layer::{Compression, Layer, LayerBuilder, RawEntry};
pub use layout::write_oci_layout;
pub use push::{PushError, PushTarget, push};

/// Content with the descriptor that points to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Points to the content: its type, digest and size.
    pub descriptor: Descriptor,
    /// The content.
    pub bytes: Bytes,
}

impl Blob {
    /// Describes `bytes` as content of `media_type`.
    pub fn new(media_type: MediaType, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let descriptor = Descriptor {
            media_type,
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            urls: Vec::new(),
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        Self { descriptor, bytes }
    }

    /// Describes `value`, written as compact JSON.
    fn json(media_type: MediaType, value: &serde_json::Value) -> Self {
        Self::new(media_type, value.to_string())
    }

    /// Returns the content's digest.
    pub fn digest(&self) -> Digest {
        self.descriptor.digest
    }
}

/// What a registry holds under one tag: manifests and the blobs that they point to.
pub trait Artifact {
    /// Lists the blobs: configurations and layers.
    fn blobs(&self) -> Vec<&Blob>;

    /// Returns the artifact's own manifest, the one that a tag points to.
    fn manifest(&self) -> &Blob;

    /// Lists the manifests that the artifact's own one names; an image has none.
    fn children(&self) -> Vec<&Blob> {
        Vec::new()
    }

    /// Returns the digest of the artifact's own manifest.
    fn digest(&self) -> Digest {
        self.manifest().digest()
    }
}
