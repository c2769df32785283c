//! From a source of images to a finished report, for the function and the command line alike.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::Arc,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream};
use portwarden_catalog::{CATALOG_VERSION, Compression, LayerCatalog, LayerError, Limits, PartialCode, fold};
use portwarden_core::{clock::Clock, object::ObjectError};
use portwarden_oci::{Descriptor, Digest, Tag, Version};
use portwarden_registry::{BlobError, ImageSource, RegistryError};
use portwarden_report::{
    BaseImage, LayerOrigin, LayerReport, PlatformReport, Report, ReportedImage, SkipReason, count_by_kind,
    instructions,
};

use crate::{
    CatalogLayers, Deadline, LayerCache, Progress, Refusal, Watch,
    images::{self, FoundImage, FoundLayer},
};

/// Scans one image: everything that it takes.
pub struct Scan<'a> {
    /// Holds the image.
    pub source: &'a dyn ImageSource,
    /// Keeps what layers hold.
    pub cache: &'a dyn LayerCache,
    /// Reads layers.
    pub cataloguing: &'a dyn CatalogLayers,
    /// Hears how it goes on.
    pub progress: Arc<dyn Progress>,
    /// Tells the times of the report.
    pub clock: &'a dyn Clock,
    /// When to stop pulling layers.
    pub deadline: Deadline,
    /// How much of one layer is read and kept.
    pub limits: Limits,
    /// How many layers are read at the same time.
    pub parallel: NonZeroUsize,
    /// Whether this goes on where a scan of the image before ran out of time.
    pub is_continued: bool,
}

/// How a scan ended that met no error.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for each scan, and taken apart at once"
)]
pub enum Scanned {
    /// Here is the report.
    Finished(Report),
    /// The time was over; what was finished is kept, and the next scan goes on from there.
    Unfinished {
        /// How many layers were pulled and kept this time.
        pulled_layers: usize,
    },
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The image cannot be scanned, wherever it lies.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The source gave something else than what the digests name; another source may have the right thing.
    #[error("the source gave content that is not what its digest names")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The source does not give the image.
    #[error("the source does not give the image")]
    Source(#[source] RegistryError),
    /// The bytes of a layer did not come.
    #[error("a layer could not be read")]
    Read(#[source] std::io::Error),
    /// What layers hold cannot be kept.
    #[error(transparent)]
    Cache(#[from] ObjectError),
}

impl Scan<'_> {
    /// Scans what `version` stands for; `repository` and `tags` are what the report calls it.
    ///
    /// When the deadline comes, the layers under way are given up, and the scan is unfinished: it can go on later with
    /// the same cache. Then layers are read one after the other, so that none takes another one's time. If not even one
    /// was finished that way, the scan would not get any further the next time either: it finishes without the
    /// layers that take too long, and the report says so.
    pub async fn run(
        &self,
        repository: &str,
        tags: BTreeSet<Tag>,
        version: &Version,
    ) -> Result<Scanned, ScanError> {
        let started_at = self.clock.now();
        let found = images::find(self.source, version).await?;
        let mut totals = Totals::default();
        let mut platforms = Vec::new();
        for image in found.images {
            match self.platform(image, &mut totals).await? {
                Some(platform) => platforms.push(platform),
                None => {
                    return Ok(Scanned::Unfinished {
                        pulled_layers: totals.pulled_layers,
                    });
                }
            }
        }
        let is_missing = found
            .skipped
            .iter()
            .any(|skipped| skipped.reason == SkipReason::Missing);
        Ok(Scanned::Finished(Report {
            schema_version: Report::SCHEMA_VERSION,
            catalog_version: CATALOG_VERSION,
            trace_id: None,
            image: ReportedImage {
                repository: repository.to_owned(),
                tags,
                digest: found.digest,
                media_type: found.media_type,
            },
            started_at,
            finished_at: self.clock.now(),
            pulled_bytes: totals.pulled_bytes,
            spared_bytes: totals.spared_bytes,
            package_count: platforms.iter().map(|platform| platform.packages.len()).sum(),
            packages_by_kind: count_by_kind(platforms.iter().flat_map(|platform| &platform.packages)),
            partial: is_missing || platforms.iter().any(PlatformReport::is_partial),
            platforms,
            skipped: found.skipped,
        }))
    }

    /// Scans one platform's image; nothing when the time was over and the scan can go on later.
    async fn platform(
        &self,
        image: FoundImage,
        totals: &mut Totals,
    ) -> Result<Option<PlatformReport>, ScanError> {
        let Some(layers) = self.layers(&image.layers, totals).await? else {
            return Ok(None);
        };
        let catalogs = image.layers.iter().map(|layer| {
            let digest = layer.descriptor.digest;
            (digest, &layers[&digest].catalog)
        });
        let catalog = fold(catalogs);
        let instructions = instructions(&image.history, image.layers.len());
        let layers_made = image.layers.iter().zip(instructions).enumerate();
        let reports = layers_made.map(|(index, (layer, created_by))| LayerReport {
            index,
            digest: layer.descriptor.digest,
            size: layer.descriptor.size,
            media_type: layer.descriptor.media_type.clone(),
            origin: layers[&layer.descriptor.digest].origin,
            created_by,
        });
        Ok(Some(PlatformReport {
            platform: image.platform,
            digest: image.digest,
            media_type: image.media_type,
            base: BaseImage::find(
                &image.history,
                &image.annotations,
                image.layers.len(),
                &catalog.packages,
            ),
            layers: reports.collect(),
            os: catalog.os,
            packages_by_kind: count_by_kind(&catalog.packages),
            partial: catalog.partial,
            packages: catalog.packages,
        }))
    }

    /// Gets the catalogue of every layer, each digest once; nothing when the scan can go on later.
    async fn layers(
        &self,
        wanted: &[FoundLayer],
        totals: &mut Totals,
    ) -> Result<Option<HashMap<Digest, Layer>>, ScanError> {
        let mut seen = BTreeSet::new();
        let mut wanted: Vec<_> = wanted.iter().collect();
        wanted.retain(|layer| seen.insert(layer.descriptor.digest));
        let work: Vec<BoxFuture<'_, _>> = wanted
            .iter()
            .map(|layer| Box::pin(self.layer(layer)) as BoxFuture<'_, _>)
            .collect();
        let mut layers = HashMap::new();
        let mut bytes = 0;
        let parallel = if self.is_continued { 1 } else { self.parallel.get() };
        let mut work = stream::iter(work).buffer_unordered(parallel);
        let gather = async {
            while let Some(layer) = work.next().await {
                // A layer that its own time check ended is missing from the map, like one that was cut off.
                if let Some((descriptor, layer)) = layer? {
                    totals.add(descriptor, &layer);
                    bytes += layer.bytes;
                    layers.insert(descriptor.digest, layer);
                    if bytes > self.limits.image_bytes {
                        self.leave_out_what_is_too_much(&wanted, &mut layers);
                    }
                }
            }
            Ok::<_, ScanError>(())
        };
        if let Ok(gathered) = self.deadline.cut(gather).await {
            gathered?;
        }
        drop(work);
        let is_complete = wanted
            .iter()
            .all(|layer| layers.contains_key(&layer.descriptor.digest));
        let may_get_further = totals.pulled_layers > 0 || !self.is_continued;
        if !is_complete && may_get_further {
            return Ok(None);
        }
        for FoundLayer { descriptor, .. } in wanted {
            layers.entry(descriptor.digest).or_insert_with(|| {
                self.progress
                    .layer_finished(&descriptor.digest, LayerOrigin::Unread);
                Layer::unread(PartialCode::Time)
            });
        }
        Ok(Some(layers))
    }

    /// Lets go of the catalogues that are over the image's limit. Counted is from the lowest layer on, and a layer that
    /// comes later only moves that place down: in whatever order layers come, the same are left in the end.
    fn leave_out_what_is_too_much(&self, wanted: &[&FoundLayer], layers: &mut HashMap<Digest, Layer>) {
        let mut kept = 0;
        for layer in wanted {
            if let Some(layer) = layers.get_mut(&layer.descriptor.digest) {
                kept += layer.bytes;
                if kept > self.limits.image_bytes {
                    layer.catalog = LayerCatalog::unread(PartialCode::KeptBytes);
                    layer.origin = LayerOrigin::Unread;
                }
            }
        }
    }

    /// Gets the catalogue of one layer; nothing when the time is over.
    async fn layer<'l>(&self, layer: &'l FoundLayer) -> Result<Option<(&'l Descriptor, Layer)>, ScanError> {
        let FoundLayer {
            descriptor,
            compression,
        } = layer;
        let found = match (compression, self.known(&descriptor.digest).await?) {
            (None, _) => Layer::unread(PartialCode::Foreign),
            (Some(_), Some(known)) => known,
            (Some(_), None) if self.deadline.is_over() => return Ok(None),
            (Some(compression), None) => match self.pull(descriptor, *compression).await? {
                Some(pulled) => pulled,
                None => return Ok(None),
            },
        };
        self.progress.layer_finished(&descriptor.digest, found.origin);
        Ok(Some((descriptor, found)))
    }

    async fn known(&self, digest: &Digest) -> Result<Option<Layer>, ScanError> {
        let Some(json) = self.cache.get(digest).await? else {
            return Ok(None);
        };
        // What cannot be read any more is made again.
        let catalog = serde_json::from_slice(&json).ok();
        Ok(catalog.map(|catalog| Layer {
            origin: LayerOrigin::Known,
            bytes: json.len() as u64,
            catalog,
        }))
    }

    async fn pull(
        &self,
        descriptor: &Descriptor,
        compression: Compression,
    ) -> Result<Option<Layer>, ScanError> {
        self.progress.layer_started(descriptor);
        let watch = Watch {
            layer: descriptor.digest,
            deadline: self.deadline.clone(),
            progress: Arc::clone(&self.progress),
        };
        let blob = self.source.blob(descriptor).await?;
        let catalogued = self
            .cataloguing
            .catalog(blob, compression, &self.limits, watch)
            .await;
        // Whatever came out after the deadline may have been cut off by it.
        if self.deadline.is_over() {
            return Ok(None);
        }
        let catalog = catalogued?;
        let json = serde_json::to_vec(&catalog).expect("catalogues can be written as JSON");
        let bytes = json.len() as u64;
        self.cache.put(&descriptor.digest, json).await?;
        Ok(Some(Layer {
            origin: LayerOrigin::Pulled,
            bytes,
            catalog,
        }))
    }
}

/// The catalogue of a layer, and what it took.
struct Layer {
    catalog: LayerCatalog,
    origin: LayerOrigin,
    /// The size of the catalogue's JSON, also of one that was left out.
    bytes: u64,
}

impl Layer {
    fn unread(reason: PartialCode) -> Self {
        Self {
            catalog: LayerCatalog::unread(reason),
            origin: LayerOrigin::Unread,
            bytes: 0,
        }
    }
}

/// What a scan took, over all platforms.
#[derive(Default)]
struct Totals {
    pulled_layers: usize,
    pulled_bytes: u64,
    spared_bytes: u64,
}

impl Totals {
    fn add(&mut self, descriptor: &Descriptor, layer: &Layer) {
        match layer.origin {
            LayerOrigin::Pulled => {
                self.pulled_layers += 1;
                self.pulled_bytes += descriptor.size;
            }
            LayerOrigin::Known => self.spared_bytes += descriptor.size,
            LayerOrigin::Unread => {}
        }
    }
}

impl From<RegistryError> for ScanError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Malformed(error) => Refusal::Manifest(error).into(),
            RegistryError::TooLarge { limit } => Refusal::ManifestTooLarge { limit }.into(),
            RegistryError::DigestMismatch { .. } => Self::Corrupt(Box::new(error)),
            other => Self::Source(other),
        }
    }
}

impl From<BlobError> for ScanError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::TooLong { .. } | BlobError::Truncated { .. } | BlobError::DigestMismatch { .. } => {
                Self::Corrupt(Box::new(error))
            }
            BlobError::BrokeOff { source, .. } => (*source).into(),
            BlobError::OverLimit { .. } | BlobError::File { .. } => Self::Read(error.into()),
        }
    }
}

impl From<LayerError> for ScanError {
    fn from(LayerError::Read(error): LayerError) -> Self {
        match error.downcast::<BlobError>() {
            Ok(error) => error.into(),
            Err(error) => Self::Read(error),
        }
    }
}
