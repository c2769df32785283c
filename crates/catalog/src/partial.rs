use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One kind of thing that a layer's catalogue lacks, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Partial {
    /// The kind, stable for alarms and pages.
    pub code: PartialCode,
    /// The path of the first file or entry that it happened to; empty where the whole layer is meant.
    pub path: String,
    /// How often it happened in the layer.
    pub count: u64,
}

/// Why something of a layer is missing from its catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PartialCode {
    /// More bytes than [`Limits::unpacked_bytes`](crate::Limits::unpacked_bytes); the rest of the layer was not read.
    #[serde(rename = "limit.unpacked")]
    UnpackedBytes,
    /// More entries than [`Limits::entries`](crate::Limits::entries); the rest of the layer was not read.
    #[serde(rename = "limit.entries")]
    Entries,
    /// The caller's time was up; the rest of the layer was not read.
    #[serde(rename = "limit.time")]
    Time,
    /// More paths and facts than [`Limits::kept_bytes`](crate::Limits::kept_bytes) in the layer, or than
    /// [`Limits::image_bytes`](crate::Limits::image_bytes) up to it; the rest is left out.
    #[serde(rename = "limit.kept")]
    KeptBytes,
    /// A longer or deeper path than [`Limits`](crate::Limits) allows; the entry was left out.
    #[serde(rename = "limit.path")]
    Path,
    /// An extended header over [`Limits::header_bytes`](crate::Limits::header_bytes); the rest of the layer was not read.
    #[serde(rename = "limit.header")]
    HeaderBytes,
    /// A wanted file over [`Limits::file_bytes`](crate::Limits::file_bytes); the file was left out.
    #[serde(rename = "limit.file")]
    FileBytes,
    /// An archive within the layer holds more than [`Limits`](crate::Limits) allows; its rest was not read.
    #[serde(rename = "limit.nested")]
    Nested,
    /// What a program or an archive says of its packages is longer than
    /// [`Limits::record_bytes`](crate::Limits::record_bytes); it was left out.
    #[serde(rename = "limit.record")]
    RecordBytes,
    /// The compressed stream is broken or needs more memory than allowed; the rest of the layer was not read.
    #[serde(rename = "layer.compression")]
    Compression,
    /// The archive is broken; the rest of the layer was not read.
    #[serde(rename = "layer.archive")]
    Archive,
    /// The archive ends within an entry.
    #[serde(rename = "layer.truncated")]
    Truncated,
    /// The layer is kept outside the registry, where nothing is fetched from.
    #[serde(rename = "layer.foreign")]
    Foreign,
    /// A wanted file is a hard link to a file that was not kept; the file was left out.
    #[serde(rename = "file.link")]
    Link,
    /// A wanted file is stored sparsely; the file was left out.
    #[serde(rename = "file.sparse")]
    Sparse,
    /// A wanted file does not have its format; what could be read of it was kept.
    #[serde(rename = "file.malformed")]
    Malformed,
    /// A wanted file is not UTF-8; the offending bytes were replaced.
    #[serde(rename = "file.encoding")]
    Encoding,
}

impl PartialCode {
    /// Returns the stable code, such as `limit.entries`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnpackedBytes => "limit.unpacked",
            Self::Entries => "limit.entries",
            Self::Time => "limit.time",
            Self::KeptBytes => "limit.kept",
            Self::Path => "limit.path",
            Self::HeaderBytes => "limit.header",
            Self::FileBytes => "limit.file",
            Self::Nested => "limit.nested",
            Self::RecordBytes => "limit.record",
            Self::Compression => "layer.compression",
            Self::Archive => "layer.archive",
            Self::Truncated => "layer.truncated",
            Self::Foreign => "layer.foreign",
            Self::Link => "file.link",
            Self::Sparse => "file.sparse",
            Self::Malformed => "file.malformed",
            Self::Encoding => "file.encoding",
        }
    }

    /// Tells whether packages may be missing for it; if not, only their description suffered.
    pub fn hides_packages(self) -> bool {
        self != Self::Encoding
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::UnpackedBytes => "the layer unpacks to more bytes than allowed; its rest was not read",
            Self::Entries => "the layer has more entries than allowed; its rest was not read",
            Self::Time => "the time for the layer was up; its rest was not read",
            Self::KeptBytes => "more packages are declared than can be kept; the rest is left out",
            Self::Path => "a path is longer or deeper than allowed; its entry was left out",
            Self::HeaderBytes => "a header is longer than allowed; the rest of the layer was not read",
            Self::FileBytes => "a package file is larger than allowed and was left out",
            Self::Nested => "an archive in the layer holds more than allowed; its rest was not read",
            Self::RecordBytes => "what a file says of its packages is longer than allowed and was left out",
            Self::Compression => "the layer's compressed stream is broken; its rest was not read",
            Self::Archive => "the layer's archive is broken; its rest was not read",
            Self::Truncated => "the layer's archive ends too early",
            Self::Foreign => "the layer is kept outside the registry and was not fetched",
            Self::Link => "a package file is a link to a file that was not read, and was left out",
            Self::Sparse => "a package file is stored sparsely and was left out",
            Self::Malformed => "a package file is malformed; what could be read of it was kept",
            Self::Encoding => "a package file is not UTF-8; the offending bytes were replaced",
        }
    }
}

impl fmt::Display for PartialCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.sentence())?;
        match (self.path.as_str(), self.count) {
            ("", _) => Ok(()),
            (path, 0 | 1) => write!(f, ": {path:?}"),
            (path, count) => write!(f, ": {path:?} and {} more", count - 1),
        }
    }
}

/// Collects what a layer's catalogue lacks: one line for each kind, so that a hostile layer cannot make it long.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Partial>);

impl Notes {
    pub(crate) fn add(&mut self, code: PartialCode, path: &str) {
        match self.0.iter_mut().find(|partial| partial.code == code) {
            Some(partial) => partial.count += 1,
            None => self.0.push(Partial {
                code,
                path: path.chars().take(MAX_PATH_CHARS).collect(),
                count: 1,
            }),
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Partial> {
        self.0
    }
}

const MAX_PATH_CHARS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_notes_are_counted_and_say_so() {
        let mut notes = Notes::default();
        notes.add(PartialCode::Malformed, "a/b");
        notes.add(PartialCode::Malformed, "a/c");
        notes.add(PartialCode::Time, "");
        let texts: Vec<String> = notes.into_vec().iter().map(Partial::to_string).collect();
        assert_eq!(
            texts,
            [
                "a package file is malformed; what could be read of it was kept: \"a/b\" and 1 more",
                "the time for the layer was up; its rest was not read",
            ]
        );
    }

    #[test]
    fn codes_are_written_as_they_are_named() {
        for code in [
            PartialCode::UnpackedBytes,
            PartialCode::Truncated,
            PartialCode::Encoding,
            PartialCode::Link,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
