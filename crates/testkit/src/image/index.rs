use portwarden_oci::{Digest, MediaType, Platform};
use serde_json::json;

use super::{Artifact, Blob, Image};

/// An index of images, usually one for each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The index itself.
    pub manifest: Blob,
    /// The images and attestations in the index's order.
    pub images: Vec<Image>,
}

impl Artifact for Index {
    fn blobs(&self) -> Vec<&Blob> {
        self.images.iter().flat_map(Artifact::blobs).collect()
    }

    fn manifest(&self) -> &Blob {
        &self.manifest
    }

    fn children(&self) -> Vec<&Blob> {
        self.images.iter().map(|image| &image.manifest).collect()
    }
}

/// Collects the images of an index.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct IndexBuilder {
    images: Vec<Image>,
    attestations: Vec<(Digest, Image)>,
}

impl IndexBuilder {
    /// Starts an empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image, listed with its own platform.
    pub fn image(mut self, image: Image) -> Self {
        self.images.push(image);
        self
    }

    /// Adds an image and, after all images, an attestation of its provenance as a builder writes it.
    ///
    /// Source: `BuildKit`, `docs/attestations/attestation-storage.md`.
    pub fn attested_image(mut self, image: Image) -> Self {
        self.attestations.push((image.digest(), attestation(&image)));
        self.image(image)
    }

    /// Writes the index.
    pub fn build(self) -> Index {
        let images = self.images.iter().map(|image| {
            let mut descriptor = image.manifest.descriptor.clone();
            descriptor.platform = Some(image.platform.clone());
            descriptor
        });
        let attestations = self.attestations.iter().map(|(subject, attestation)| {
            let mut descriptor = attestation.manifest.descriptor.clone();
            descriptor.platform = Some(attestation.platform.clone());
            descriptor.annotations = [
                ("vnd.docker.reference.digest".to_owned(), subject.to_string()),
                (
                    "vnd.docker.reference.type".to_owned(),
                    "attestation-manifest".to_owned(),
                ),
            ]
            .into();
            descriptor
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciIndex,
            "manifests": images.chain(attestations).collect::<Vec<_>>(),
        });
        let attestations = self.attestations.into_iter().map(|(_, attestation)| attestation);
        Index {
            manifest: Blob::json(MediaType::OciIndex, &manifest),
            images: self.images.into_iter().chain(attestations).collect(),
        }
    }
}

/// Says where `image` came from, in an in-toto statement that is stored like an image with one odd layer.
fn attestation(image: &Image) -> Image {
    let statement = Blob::json(
        MediaType::Other("application/vnd.in-toto+json".to_owned()),
        &json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{"name": "_", "digest": {"sha256": image.digest().hex()}}],
            "predicate": {"builder": {"id": ""}, "buildType": "https://example.com/testkit"},
        }),
    );
    let platform = Platform {
        os: "unknown".to_owned(),
        architecture: "unknown".to_owned(),
        variant: None,
    };
    let diff_id = statement.digest();
    let mut layer = super::Layer {
        blob: statement,
        diff_id,
    };
    layer.blob.descriptor.annotations = [(
        "in-toto.io/predicate-type".to_owned(),
        "https://slsa.dev/provenance/v0.2".to_owned(),
    )]
    .into();
    super::ImageBuilder::new()
        .platform(platform)
        .layer("attestation", layer)
        .build()
}

#[cfg(test)]
mod tests {
    use portwarden_oci::Manifest;

    use super::*;
    use crate::image::{Compression, ImageBuilder, LayerBuilder};

    fn image(architecture: &str) -> Image {
        let platform = Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: (architecture == "arm64").then(|| "v8".to_owned()),
        };
        let layer = LayerBuilder::new()
            .file("arch", architecture)
            .finish(Compression::Gzip);
        ImageBuilder::new()
            .platform(platform)
            .layer("COPY arch", layer)
            .build()
    }

    #[test]
    fn lists_platforms_then_attestations() {
        let index = IndexBuilder::new()
            .attested_image(image("amd64"))
            .image(image("arm64"))
            .build();
        let Manifest::Index(parsed) = Manifest::parse(&index.manifest.bytes, None).unwrap() else {
            panic!("an index was built");
        };
        let rows: Vec<_> = parsed
            .manifests
            .iter()
            .map(|entry| {
                let platform = entry.platform.as_ref().unwrap().to_string();
                (platform, entry.is_attestation(), entry.digest)
            })
            .collect();
        let digests: Vec<_> = index.images.iter().map(Artifact::digest).collect();
        assert_eq!(
            rows,
            [
                ("linux/amd64".to_owned(), false, digests[0]),
                ("linux/arm64/v8".to_owned(), false, digests[1]),
                ("unknown/unknown".to_owned(), true, digests[2]),
            ]
        );
        assert_eq!(
            parsed.manifests[2].annotations["vnd.docker.reference.digest"],
            digests[0].to_string()
        );
        assert_eq!(index.digest(), index.manifest.digest());
        assert_eq!(index.children().len(), 3);
    }
}
