//! How one layer gets its catalogue: from a cache, or from its blob, wherever that is read.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    panic,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use portwarden_catalog::{Compression, LayerCatalog, LayerError, Limits, catalog_layer};
use portwarden_core::{clock::TimedOut, object::ObjectError};
use portwarden_oci::Digest;
use portwarden_registry::Blob;

use crate::{Deadline, Progress};

/// Reads a layer's blob to its catalogue.
#[async_trait]
pub trait CatalogLayers: Send + Sync {
    /// Catalogues one layer, watched over by `watch`.
    async fn catalog(
        &self,
        blob: Blob,
        compression: Compression,
        limits: &Limits,
        watch: Watch,
    ) -> Result<LayerCatalog, LayerError>;
}

/// Keeps what layers hold, as JSON, by their digests.
#[async_trait]
pub trait LayerCache: Send + Sync {
    /// Returns what is kept of a layer.
    async fn get(&self, layer: &Digest) -> Result<Option<Vec<u8>>, ObjectError>;

    /// Keeps what a layer holds.
    async fn put(&self, layer: &Digest, catalog: Vec<u8>) -> Result<(), ObjectError>;
}

/// Ends the reading of a layer when its time is over, and tells how far it is.
#[derive(Clone)]
pub struct Watch {
    pub(crate) layer: Digest,
    pub(crate) deadline: Deadline,
    pub(crate) progress: Arc<dyn Progress>,
}

impl Watch {
    /// Catalogues the layer that `blob` reads.
    ///
    /// # Errors
    ///
    /// What the blob fails with; an error of the kind [`io::ErrorKind::TimedOut`] when the time is over.
    pub fn catalog(
        &self,
        blob: impl Read,
        compression: Compression,
        limits: &Limits,
    ) -> Result<LayerCatalog, LayerError> {
        let blob = Watched { blob, watch: self };
        catalog_layer(blob, compression, limits, &|| self.deadline.is_over())
    }
}

struct Watched<'a, R> {
    blob: R,
    watch: &'a Watch,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.deadline.is_over() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, TimedOut));
        }
        let count = self.blob.read(buffer)?;
        self.watch.progress.layer_read(&self.watch.layer, count as u64);
        Ok(count)
    }
}

/// Reads blobs on the threads that tokio keeps for blocking work, while they are downloaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlockingThreads;

#[async_trait]
impl CatalogLayers for BlockingThreads {
    async fn catalog(
        &self,
        blob: Blob,
        compression: Compression,
        limits: &Limits,
        watch: Watch,
    ) -> Result<LayerCatalog, LayerError> {
        let limits = limits.clone();
        // A thread whose scan was given up ends with its next read, since the deadline is over.
        let thread =
            tokio::task::spawn_blocking(move || watch.catalog(blob.into_reader(), compression, &limits));
        match thread.await {
            Ok(catalog) => catalog,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                // Only a runtime that shuts down cancels such a thread.
                Err(error) => Err(LayerError::Read(io::Error::other(error))),
            },
        }
    }
}

/// Downloads a blob into memory and then reads it, without a thread or a runtime, for tests and the simulation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inline;

#[async_trait]
impl CatalogLayers for Inline {
    async fn catalog(
        &self,
        mut blob: Blob,
        compression: Compression,
        limits: &Limits,
        watch: Watch,
    ) -> Result<LayerCatalog, LayerError> {
        let mut content = Vec::new();
        let mut failed = None;
        while let Some(piece) = blob.next().await {
            match piece {
                Ok(piece) => content.extend_from_slice(&piece),
                Err(error) => failed = Some(io::Error::from(error)),
            }
        }
        watch.catalog(content.chain(Failing(failed)), compression, limits)
    }
}

/// Ends with an error where there is one.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Keeps what layers hold for as long as the process runs.
#[derive(Debug, Default)]
pub struct MemoryLayers(Mutex<BTreeMap<Digest, Vec<u8>>>);

#[async_trait]
impl LayerCache for MemoryLayers {
    async fn get(&self, layer: &Digest) -> Result<Option<Vec<u8>>, ObjectError> {
        let layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(layers.get(layer).cloned())
    }

    async fn put(&self, layer: &Digest, catalog: Vec<u8>) -> Result<(), ObjectError> {
        let mut layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(*layer, catalog);
        Ok(())
    }
}
