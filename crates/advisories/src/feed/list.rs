use std::collections::HashSet;

use jiff::Timestamp;
use thiserror::Error;

/// A line of `modified_id.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The record.
    pub id: String,
    /// When it was last changed.
    pub modified: Timestamp,
}

/// Why a list cannot be used. A list is taken whole or not at all: what it leaves out would be forgotten.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListError {
    /// There is no line in it.
    #[error("the list of records is empty")]
    Empty,
    /// A line is not a time, a comma and an id; it may be cut off.
    #[error("line {0} of the list of records is not a time and an id")]
    Malformed(usize),
}

/// Reads `modified_id.csv`, newest first: which records a folder has, and when each was changed.
pub fn read_list(csv: &[u8]) -> Result<Vec<Listed>, ListError> {
    let mut listed = Vec::new();
    let mut known = HashSet::new();
    let lines = csv.split(|byte| *byte == b'\n').enumerate();
    for (index, line) in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let parsed = std::str::from_utf8(line).ok().and_then(|line| {
            let (modified, id) = line.split_once(',')?;
            let modified = modified.parse().ok()?;
            is_file_name(id).then(|| Listed {
                id: id.to_owned(),
                modified,
            })
        });
        let parsed = parsed.ok_or(ListError::Malformed(index + 1))?;
        if known.insert(parsed.id.clone()) {
            listed.push(parsed);
        }
    }
    if listed.is_empty() {
        Err(ListError::Empty)
    } else {
        Ok(listed)
    }
}

/// An id becomes a part of an address.
fn is_file_name(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'\\')
        && !id.starts_with('.')
}
