//! What is kept of OSV's feed between two looks at it: for each of its folders, what every record says, and what changed.

mod archive;
mod collection;
mod list;

pub(crate) use archive::{ArchiveError, MAX_RECORD, for_each_record};
pub use collection::{Collection, CollectionError, Difference, RecordError, combine};
pub use list::{ListError, Listed, read_list};

/// The folders of OSV's feed whose records can be matched.
///
/// Source: `ecosystems.txt` of OSV's public bucket, as far as [`Scheme`](crate::Scheme) has their order of versions.
pub const FOLDERS: [&str; 26] = [
    "AlmaLinux",
    "Alpaquita",
    "Alpine",
    "Azure Linux",
    "BellSoft Hardened Containers",
    "Chainguard",
    "Debian",
    "Echo",
    "Go",
    "Mageia",
    "Maven",
    "MinimOS",
    "NuGet",
    "Packagist",
    "Photon OS",
    "PyPI",
    "Red Hat",
    "Rocky Linux",
    "RubyGems",
    "SUSE",
    "Ubuntu",
    "Wolfi",
    "crates.io",
    "npm",
    "openEuler",
    "openSUSE",
];
