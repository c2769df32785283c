use portwarden_core::problem::{Problem, chain};
use portwarden_oci::{Digest, ManifestError};

/// Why an image cannot be scanned, wherever it lies.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest is larger than what is read.
    #[error("the manifest is larger than {limit} bytes")]
    ManifestTooLarge {
        /// The greatest size in bytes.
        limit: usize,
    },
    /// The artifact is something else than an image: a chart, a signature, an attestation.
    #[error("the artifact is not a container image: it holds {0:?}")]
    NotAnImage(String),
    /// An index lists itself, directly or through others.
    #[error("the index {0} lists itself")]
    IndexInItself(Digest),
    /// Indexes list indexes, too many times.
    #[error("the index is nested deeper than {limit} levels")]
    IndexTooDeep {
        /// How many levels are read.
        limit: usize,
    },
    /// An index leads to more than is read.
    #[error("the index leads to more than {images} images, or to manifests of more than {bytes} bytes")]
    IndexTooLarge {
        /// How many images are read.
        images: usize,
        /// How many bytes of manifests are read.
        bytes: usize,
    },
    /// No place where the image lies has the content that its digests name.
    #[error("the content is not what the image's digests name")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Manifest(ManifestError::Schema1) => "manifest_schema1",
            Self::Manifest(ManifestError::MediaType(_)) | Self::NotAnImage(_) => "not_an_image",
            Self::Manifest(ManifestError::Malformed(_)) => "manifest_malformed",
            Self::Manifest(ManifestError::TooManyEntries(_)) | Self::ManifestTooLarge { .. } => {
                "manifest_too_large"
            }
            Self::IndexInItself(_) => "index_in_itself",
            Self::IndexTooDeep { .. } => "index_too_deep",
            Self::IndexTooLarge { .. } => "index_too_large",
            Self::Corrupt(_) => "content_corrupt",
        }
    }

    /// Describes the refusal for people.
    pub fn problem(&self) -> Problem {
        let fix = match self {
            Self::Manifest(ManifestError::Schema1) => {
                "push the image again with a current tool, which writes schema 2 or OCI manifests"
            }
            Self::Manifest(ManifestError::MediaType(_)) | Self::NotAnImage(_) => {
                "nothing needs to be done: only container images are scanned"
            }
            Self::Corrupt(_) => "build and push the image again, since nobody can pull it as it is",
            _ => "build and push the image again with a tool that follows the OCI image specification",
        };
        Problem::new(self.code(), chain(self), fix)
    }
}
