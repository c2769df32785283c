use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portwarden_oci::{Descriptor, Digest, Manifest, MediaType, RepositoryName, Version};

use crate::{Blob, Credentials, RegistryError};

/// Gives the manifests and blobs of one repository, whatever holds them.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// Fetches a manifest, at most [`FetchedManifest::MAX_SIZE`] bytes, verified against the digest that was asked for.
    async fn manifest(&self, version: &Version) -> Result<FetchedManifest, RegistryError>;

    /// Opens a blob as a stream that verifies size and digest as it goes.
    ///
    /// Foreign layers are refused with [`RegistryError::ForeignLayer`], and a descriptor's `urls` are never dialled.
    async fn blob(&self, descriptor: &Descriptor) -> Result<Blob, RegistryError>;
}

/// Opens repositories of registries that are named by their host.
pub trait OpenRegistry: Send + Sync {
    /// Names a repository of the registry at `host`; nothing is sent yet.
    fn open(
        &self,
        host: &str,
        repository: &RepositoryName,
        credentials: Credentials,
    ) -> Result<Arc<dyn ImageSource>, RegistryError>;
}

/// A manifest as it was stored, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The bytes that the digest was computed from.
    pub bytes: Bytes,
    /// What the bytes say.
    pub manifest: Manifest,
}

impl FetchedManifest {
    /// How many bytes of a manifest are read: what the distribution specification asks registries to accept at least.
    pub const MAX_SIZE: usize = 4 * 1024 * 1024;

    /// Verifies and parses a manifest's bytes.
    ///
    /// `expected` is the digest that was asked for or that the source claims, and `content_type` the type that the
    /// source claims, which counts only where the manifest names none.
    pub fn verify(
        bytes: Bytes,
        expected: Option<Digest>,
        content_type: Option<&str>,
    ) -> Result<Self, RegistryError> {
        let digest = Digest::of(&bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(RegistryError::DigestMismatch {
                expected,
                actual: digest,
            });
        }
        let manifest = Manifest::parse(&bytes, content_type)?;
        Ok(Self {
            digest,
            bytes,
            manifest,
        })
    }
}

/// Refuses what no source gives.
pub(crate) fn refuse_foreign(descriptor: &Descriptor) -> Result<(), RegistryError> {
    match descriptor.media_type {
        MediaType::ForeignLayer(_) => Err(RegistryError::ForeignLayer(descriptor.digest)),
        _ => Ok(()),
    }
}
