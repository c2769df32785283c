//! Images of a few hundred bytes, and what must be said of each.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use portwarden_oci::{Digest, MediaType};
use portwarden_testkit::image::{
    Artifact, Blob, Compression, Image, ImageBuilder, IndexBuilder, Layer, LayerBuilder,
};
use serde_json::json;

/// Names what is wrong with a package, as the advisories of this world say it: each base has a flaw of its own.
pub(crate) fn flaws(package: &str) -> Option<String> {
    let base = package.strip_prefix("base-")?.strip_suffix("-0")?;
    Some(format!("EX-{base}"))
}

/// The names of all packages that have a flaw.
pub(crate) fn flawed() -> impl Iterator<Item = String> {
    (0..BASES).map(|base| format!("base-{base}-0"))
}

/// How many bases there are.
const BASES: usize = 4;

/// Everything that was ever built, by digest.
pub(crate) struct Warehouse {
    bases: Vec<(Layer, usize)>,
    built: u64,
    manifests: BTreeMap<Digest, Manifest>,
    blobs: BTreeMap<Digest, Bytes>,
    /// What indexes list; ECR deletes none of it as long as the index is there.
    listed: BTreeMap<Digest, Vec<Digest>>,
    all_listed: BTreeSet<Digest>,
}

/// A manifest, with what a scan of it must find.
pub(crate) struct Manifest {
    pub(crate) media_type: MediaType,
    pub(crate) bytes: Bytes,
    pub(crate) expected: Expected,
}

/// How the scan of an image must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// With so many packages.
    Packages(usize),
    /// With a refusal under this code.
    Refused(&'static str),
}

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One image on one of the common bases.
    Image,
    /// An index of two images.
    Index,
    /// Something that is no image.
    Chart,
    /// An image whose layer is not what its digest says, wherever it lies.
    Corrupt,
}

impl Warehouse {
    pub(crate) fn new() -> Self {
        let base = |number: usize| {
            let mut layer = LayerBuilder::new();
            for package in 0..=number {
                install(&mut layer, &format!("base-{number}-{package}"));
            }
            (layer.finish(Compression::Gzip), number + 1)
        };
        Self {
            bases: (0..BASES).map(base).collect(),
            built: 0,
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            listed: BTreeMap::new(),
            all_listed: BTreeSet::new(),
        }
    }

    /// Builds something that was never built before, and returns its digests: those that an index lists, then its own.
    pub(crate) fn build(&mut self, kind: Kind, base: usize) -> Vec<Digest> {
        match kind {
            Kind::Image => {
                let (image, packages) = self.image(base);
                vec![self.store(&image, &Expected::Packages(packages))]
            }
            Kind::Corrupt => {
                let (image, _) = self.image(base);
                let digest = self.store(&image, &Expected::Refused("content_corrupt"));
                if let Some(layer) = image.layers.last() {
                    let lie: Vec<u8> = layer.blob.bytes.iter().map(|byte| byte ^ 1).collect();
                    self.blobs.insert(layer.digest(), lie.into());
                }
                vec![digest]
            }
            Kind::Index => {
                let [(first, one), (second, two)] = [base, base + 1].map(|base| self.image(base));
                let listed = [
                    self.store(&first, &Expected::Packages(one)),
                    self.store(&second, &Expected::Packages(two)),
                ];
                let index = IndexBuilder::new().image(first).image(second).build();
                let own = self.store(&index, &Expected::Packages(one + two));
                self.all_listed.extend(listed);
                self.listed.insert(own, listed.to_vec());
                [listed.to_vec(), vec![own]].concat()
            }
            Kind::Chart => vec![self.chart()],
        }
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> Option<&Manifest> {
        self.manifests.get(digest)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Option<&Bytes> {
        self.blobs.get(digest)
    }

    /// Returns what an image consists of: what it lists, then itself.
    pub(crate) fn with_listed(&self, digest: Digest) -> Vec<Digest> {
        let listed = self.listed.get(&digest).into_iter().flatten().copied();
        listed.chain([digest]).collect()
    }

    /// Returns the images that no index lists.
    pub(crate) fn unlisted(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.keys().filter(|digest| !self.is_listed(digest))
    }

    /// Tells whether an index lists it.
    pub(crate) fn is_listed(&self, digest: &Digest) -> bool {
        self.all_listed.contains(digest)
    }

    fn image(&mut self, base: usize) -> (Image, usize) {
        self.built += 1;
        let mut own = LayerBuilder::new();
        install(&mut own, &format!("app-{}", self.built));
        let (base, packages) = self.bases[base % self.bases.len()].clone();
        let image = ImageBuilder::new()
            .layer("ADD rootfs", base)
            .layer("RUN pip install", own.finish(Compression::Gzip))
            .build();
        (image, packages + 1)
    }

    fn chart(&mut self) -> Digest {
        self.built += 1;
        let name = MediaType::Other("application/vnd.cncf.helm.config.v1+json".to_owned());
        let config = Blob::new(name, json!({"name": "chart", "version": self.built}).to_string());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": config.descriptor, "layers": [],
        });
        let manifest = Blob::new(MediaType::OciManifest, manifest.to_string());
        self.blobs.insert(config.digest(), config.bytes.clone());
        self.keep(&manifest, Expected::Refused("not_an_image"))
    }

    fn store(&mut self, artifact: &impl Artifact, expected: &Expected) -> Digest {
        for blob in artifact.blobs() {
            self.blobs.insert(blob.digest(), blob.bytes.clone());
        }
        self.keep(artifact.manifest(), expected.clone())
    }

    fn keep(&mut self, manifest: &Blob, expected: Expected) -> Digest {
        let kept = Manifest {
            media_type: manifest.descriptor.media_type.clone(),
            bytes: manifest.bytes.clone(),
            expected,
        };
        self.manifests.insert(manifest.digest(), kept);
        manifest.digest()
    }
}

fn install(layer: &mut LayerBuilder, package: &str) {
    layer.file(
        &format!("usr/lib/python3/dist-packages/{package}-1.0.dist-info/METADATA"),
        format!("Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"),
    );
}
