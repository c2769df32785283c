#![doc = include_str!("../README.md")]

mod access;
mod address;
mod blob;
mod dial;
mod docker_archive;
mod download;
mod endpoint;
mod error;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod header;
mod layout;
mod network;
mod registry;
mod retry;
mod source;

pub use access::Credentials;
pub use blob::{Blob, BlobError, BlobReader};
pub use dial::{AllowedHosts, Lookup};
pub use docker_archive::{ArchiveError, ArchiveReference, DockerArchive};
pub use error::{ErrorCode, Outage, Refusal, RegistryError};
pub use layout::{LayoutError, LayoutReference, OciLayout};
pub use network::{Network, NetworkBuilder, NetworkError};
pub use registry::{Registry, Repository};
pub use retry::{Pacing, RealTime};
pub use source::{FetchedManifest, ImageSource, OpenRegistry};
