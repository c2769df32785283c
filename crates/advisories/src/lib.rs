#![doc = include_str!("../README.md")]

mod bulk;
mod database;
mod ecosystem;
mod finding;
mod osv;
mod package;
mod range;
mod sbom;
mod severity;
mod version;

pub use bulk::{Bulk, BulkError, read_bulk};
pub use database::{Database, DatabaseError, EcosystemInfo, Info, build};
pub use ecosystem::Distribution;
pub use finding::{Finding, Findings, Unmatched, UnmatchedReason};
pub use osv::{Advisory, Affected, OsvError, parse};
pub use package::Package;
pub use range::{Bound, Interval};
pub use sbom::{Sbom, SbomError, read_sbom};
pub use severity::{Level, Severity};
pub use version::Scheme;
