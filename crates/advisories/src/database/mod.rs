//! All advisories in one file, made for looking packages up.
//!
//! ```text
//! header    magic, format, CRC-32 of the rest, length of the rest, then offset and length of each section
//! info      JSON: what it was built from
//! index     for each bucket of hashes, where its packages begin
//! packages  for each bucket: ecosystem and name, then for each advisory its affected versions
//! offsets   where each advisory begins
//! heads     each advisory's ids and severity
//! blocks    where each block of texts begins
//! texts     zstd: summaries, vectors and links of 16 advisories each, as JSON
//! ```
//!
//! Numbers are little-endian or variable-length (LEB128); texts have their length in front. Everything is in the order of
//! ids and names, so the same advisories give the same bytes. Every read is checked, whatever the checksum says.

mod bytes;
mod read;
mod write;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use read::Database;
pub(crate) use read::{Asked, Head, Hit};
pub use write::build;

/// What a database was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// How many advisories it holds; those that were withdrawn or affect nothing that we know are left out.
    pub advisories: u64,
    /// How many packages they affect, each release of a distribution counted.
    pub packages: u64,
    /// How many records were withdrawn.
    pub withdrawn: u64,
    /// The folders that it was built from, by name.
    pub ecosystems: Vec<EcosystemInfo>,
}

/// What was read of one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EcosystemInfo {
    /// The folder's name.
    pub name: String,
    /// How many records it holds.
    pub records: u64,
    /// When the newest of them was changed.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub newest: Option<Timestamp>,
}

/// Why a database cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// It is something else.
    #[error("this is not an advisory database")]
    NotADatabase,
    /// It is of another format.
    #[error("the advisory database has format {found}, and this program reads format {FORMAT}")]
    Format {
        /// The file's format.
        found: u32,
    },
    /// It ends early or goes on too long.
    #[error("the advisory database is {found} bytes long instead of {expected}")]
    Length {
        /// The file's length.
        found: u64,
        /// What its header says.
        expected: u64,
    },
    /// It was changed after it was written.
    #[error("the advisory database is damaged: its checksum is wrong")]
    Checksum,
    /// It is no database that this program wrote, although its checksum is right.
    #[error("the advisory database contradicts itself")]
    Corrupt,
    /// It would not fit into the format.
    #[error("there are too many advisories for one database")]
    TooLarge,
}

const MAGIC: &[u8; 8] = b"PWADVISE";
/// Raised whenever older programs could not read a file, or would read it wrongly.
const FORMAT: u32 = 1;
const SECTIONS: usize = 7;
/// Magic, format, checksum, length, sections.
const HEADER: usize = 8 + 4 + 4 + 8;
/// So many advisories' texts are compressed together.
const BLOCK: usize = 16;
/// A block that inflates to more was not written by this program.
const MAX_BLOCK: usize = 8 << 20;

/// What is read only for findings that someone sees.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Text {
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    summary: String,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    vector: Option<String>,
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    links: Vec<String>,
    #[serde(rename = "m")]
    modified: Timestamp,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    published: Option<Timestamp>,
}

/// Chooses a package's bucket: FNV-1a, since it must never change.
fn hash(ecosystem: &str, name: &str) -> u64 {
    let bytes = ecosystem.bytes().chain([0]).chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
