use jiff::Timestamp;
use portwarden_oci::{Digest, Platform};
use sha2::{Digest as _, Sha256};

use crate::Package;

/// The image that an SBOM describes, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The repository with its registry, such as `111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/web`.
    pub repository: String,
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// The platform, where it is known.
    pub platform: Option<Platform>,
    /// When the image was catalogued.
    pub catalogued_at: Timestamp,
}

impl Subject {
    /// Names the image by its package URL.
    ///
    /// Source: the package-url specification, type `oci`.
    pub(crate) fn purl(&self) -> Option<String> {
        let name = self.repository.rsplit('/').next()?;
        let mut purl = packageurl::PackageUrl::new("oci", name).ok()?;
        purl.with_version(self.digest.to_string()).ok()?;
        purl.add_qualifier("repository_url", self.repository.as_str())
            .ok()?;
        if let Some(platform) = &self.platform {
            purl.add_qualifier("arch", platform.architecture.as_str()).ok()?;
        }
        Some(purl.to_string())
    }
}

/// Names the place of a package in few characters.
pub(crate) fn place(package: &Package) -> String {
    short_hash(package.file.as_bytes())
}

/// Names a text in 16 characters that can stand in any identifier.
pub(crate) fn short_hash(text: &[u8]) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// Derives a UUID from the content of a document (RFC 9562, version 8).
pub(crate) fn uuid_of(content: &[u8]) -> String {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&Sha256::digest(content)[..16]);
    uuid[6] = 0x80 | uuid[6] & 0x0f;
    uuid[8] = 0x80 | uuid[8] & 0x3f;
    let parts = [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]];
    parts.map(hex::encode).join("-")
}
