//! A source of images in memory that counts, and misbehaves as it is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use portwarden_core::clock::ManualClock;
use portwarden_oci::{Descriptor, Digest, Manifest, MediaType, Version};
use portwarden_registry::{Blob, FetchedManifest, ImageSource, Outage, RegistryError};
use portwarden_testkit::image::Artifact;

/// The content of one repository.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Mutex<State>>);

struct State {
    clock: ManualClock,
    manifests: BTreeMap<Digest, (MediaType, Bytes)>,
    blobs: BTreeMap<Digest, Bytes>,
    faults: BTreeMap<Digest, Fault>,
    fetched: Vec<Digest>,
}

/// What happens instead of giving some content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    NotFound,
    Denied,
    Unauthorized,
    UnauthorizedOnce,
    Throttled,
    Status(u16),
    /// Gives other bytes of the same length.
    Lie,
    /// Gives all bytes but the last.
    Truncate,
    /// Gives the right content after so long.
    Slow(Duration),
    /// Gives the manifest as it is, whatever its digest.
    Unverified,
}

impl Shelf {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        Self(Arc::new(Mutex::new(State {
            clock: clock.clone(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            faults: BTreeMap::new(),
            fetched: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn put(&self, artifact: &impl Artifact) {
        let mut state = self.state();
        for blob in artifact.blobs() {
            state.blobs.insert(blob.digest(), blob.bytes.clone());
        }
        for manifest in artifact.children().into_iter().chain([artifact.manifest()]) {
            let content = (manifest.descriptor.media_type.clone(), manifest.bytes.clone());
            state.manifests.insert(manifest.digest(), content);
        }
    }

    pub(crate) fn put_manifest(&self, digest: Digest, value: &serde_json::Value) {
        let media_type = value["mediaType"].as_str().unwrap_or_default().to_owned();
        let content = (media_type.into(), value.to_string().into());
        self.state().manifests.insert(digest, content);
    }

    pub(crate) fn fail(&self, digest: Digest, fault: Fault) {
        self.state().faults.insert(digest, fault);
    }

    pub(crate) fn mend(&self) {
        self.state().faults.clear();
    }

    /// Takes the digests of the blobs that were asked for, sorted.
    pub(crate) fn take_fetched(&self) -> Vec<Digest> {
        let mut fetched = std::mem::take(&mut self.state().fetched);
        fetched.sort();
        fetched
    }
}

impl State {
    fn meet(&mut self, digest: Digest) -> Result<Option<Fault>, RegistryError> {
        let host = || "registry.example".to_owned();
        let subject = || digest.to_string();
        Err(match self.faults.get(&digest).copied() {
            Some(Fault::NotFound) => RegistryError::NotFound { subject: subject() },
            Some(Fault::Denied) => RegistryError::Denied {
                host: host(),
                subject: subject(),
                code: None,
            },
            Some(Fault::Unauthorized) => RegistryError::Unauthorized {
                host: host(),
                code: None,
            },
            Some(Fault::UnauthorizedOnce) => {
                self.faults.remove(&digest);
                RegistryError::Unauthorized {
                    host: host(),
                    code: None,
                }
            }
            Some(Fault::Throttled) => RegistryError::Throttled {
                host: host(),
                retry_after: None,
            },
            Some(Fault::Status(status)) => RegistryError::Unavailable {
                host: host(),
                source: Outage::Status {
                    status,
                    retry_after: None,
                },
            },
            Some(Fault::Slow(duration)) => {
                self.clock.advance(duration);
                return Ok(None);
            }
            other => return Ok(other),
        })
    }

    fn spoil(fault: Option<Fault>, bytes: &Bytes) -> Bytes {
        match fault {
            Some(Fault::Lie) => bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into(),
            Some(Fault::Truncate) => bytes.slice(..bytes.len() - 1),
            _ => bytes.clone(),
        }
    }
}

#[async_trait]
impl ImageSource for Shelf {
    async fn manifest(&self, version: &Version) -> Result<FetchedManifest, RegistryError> {
        tokio::task::yield_now().await;
        let Version::Digest(digest) = version else {
            panic!("the scanner asks by digest")
        };
        let mut state = self.state();
        let fault = state.meet(*digest)?;
        let Some((media_type, bytes)) = state.manifests.get(digest) else {
            return Err(RegistryError::NotFound {
                subject: digest.to_string(),
            });
        };
        if let Some(Fault::Unverified) = fault {
            return Ok(FetchedManifest {
                digest: *digest,
                bytes: bytes.clone(),
                manifest: Manifest::parse(bytes, None)?,
            });
        }
        FetchedManifest::verify(
            State::spoil(fault, bytes),
            Some(*digest),
            Some(media_type.as_str()),
        )
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<Blob, RegistryError> {
        tokio::task::yield_now().await;
        let fault = {
            let mut state = self.state();
            state.fetched.push(descriptor.digest);
            state.meet(descriptor.digest)?
        };
        // What others ask for in the meantime takes its time, too, before anything has come.
        tokio::task::yield_now().await;
        let state = self.state();
        let Some(bytes) = state.blobs.get(&descriptor.digest) else {
            return Err(RegistryError::NotFound {
                subject: descriptor.digest.to_string(),
            });
        };
        Ok(Blob::from_bytes(descriptor, State::spoil(fault, bytes)))
    }
}
