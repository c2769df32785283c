#![doc = include_str!("../README.md")]

mod digest;
mod manifest;
mod name;
mod reference;

pub use digest::{Digest, DigestError, DigestHasher};
pub use manifest::{Descriptor, ImageIndex, ImageManifest, Manifest, ManifestError, MediaType, Platform};
pub use name::{NameError, RepositoryName, Tag};
pub use reference::{Reference, ReferenceError, Version};
