#![doc = include_str!("../README.md")]

mod bulk;
mod database;
mod ecosystem;
mod feed;
mod finding;
mod null;
mod osv;
mod package;
mod package_name;
mod range;
mod sbom;
mod severity;
mod version;

pub use bulk::{Bulk, BulkError, read_bulk};
pub use database::{Database, DatabaseError, EcosystemInfo, Info, build};
pub use ecosystem::Distribution;
pub use feed::{
    Collection, CollectionError, Difference, FOLDERS, ListError, Listed, RecordError, combine, read_list,
};
pub use finding::{Finding, Findings, Unmatched, UnmatchedReason};
pub use osv::{Advisory, Affected, OsvError, parse};
pub use package::Package;
pub use package_name::PackageName;
pub use range::{Bound, Interval};
pub use sbom::{Sbom, SbomError, read_sbom};
pub use severity::{Level, Severity};
pub use version::Scheme;
