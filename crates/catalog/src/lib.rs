#![doc = include_str!("../README.md")]

mod apk;
mod archive;
mod binary;
mod cataloguer;
mod compression;
mod conda;
pub mod cyclonedx;
mod dotnet;
mod dpkg;
mod facts;
mod fields;
mod fingerprint;
mod image;
mod java;
mod layer;
mod license;
mod limits;
mod link;
mod npm;
mod number;
mod os_release;
mod overlay;
mod partial;
mod path;
mod php;
mod purl;
mod python;
mod rpm;
mod ruby;
mod space;
pub mod spdx;
mod subject;
mod unpack;
mod view;

pub use compression::{Compression, CompressionError};
pub use facts::{PackageKind, SourcePackage};
pub use image::{ImageCatalog, LayerPartial, LayerRef, Package, fold};
pub use layer::{LayerCatalog, LayerError, catalog_layer};
pub use limits::Limits;
pub use os_release::OsRelease;
pub use partial::{Partial, PartialCode};
pub use space::Space;
pub use subject::Subject;

/// Changes whenever a layer's catalogue can come out differently, so that stored ones are made again.
pub const CATALOG_VERSION: u32 = 7;
