use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, BufReader, Read, Seek, Write as _},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ArchiveError, Listed, for_each_record};
use crate::{Advisory, Bulk, EcosystemInfo, OsvError, PackageName, osv};

/// What every record of one folder says, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collection {
    records: BTreeMap<String, Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// When the list said that it was last changed.
    #[serde(rename = "m")]
    modified: Timestamp,
    /// Nothing where the record cannot be used; it is not asked for again until it changes.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    advisory: Option<Advisory>,
}

/// What a list has that a collection has not, or has in an older state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Records that are new or were changed, newest first.
    pub changed: Vec<Listed>,
    /// Records that the list does not have any more.
    pub gone: Vec<String>,
}

/// Why a folder's archive, or what was kept of it, cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// The archive is cut off, damaged or something else.
    #[error("the archive is broken")]
    Archive(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The archive holds no usable record.
    #[error("the archive holds no usable record")]
    Empty,
    /// The archive holds more than any folder does.
    #[error("the archive holds more than {limit} {what}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// What it counts.
        what: &'static str,
    },
    /// What was kept is not what this program writes.
    #[error("the stored collection cannot be read")]
    Stored(#[source] io::Error),
}

/// Why a single record is not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It cannot be used.
    #[error(transparent)]
    Osv(#[from] OsvError),
    /// It is another record than was asked for.
    #[error("the record has another id")]
    Other,
}

impl From<ArchiveError> for CollectionError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error.into())
    }
}

/// So many records are more than four times what the largest folder has.
const MAX_RECORDS: u64 = 1_000_000;
/// So many bytes of JSON are several times what the largest folder has.
const MAX_INFLATED: u64 = 24 << 30;
/// So many bytes of what is kept are several times what all folders have together.
const MAX_KEPT: u64 = 1 << 30;
/// Fast, and a third of the size.
const COMPRESSION: i32 = 3;

impl Collection {
    /// Reads a folder's `all.zip`. Records that cannot be used are left out, and counted by the caller's list.
    pub fn read_archive(archive: impl Read + Seek) -> Result<Self, CollectionError> {
        let mut collection = Self::default();
        let (mut inflated, mut kept) = (0, 0);
        for_each_record(archive, |_, content| {
            let Some(content) = content else { return Ok(()) };
            inflated += content.len() as u64;
            if inflated > MAX_INFLATED {
                return Err(too_large(MAX_INFLATED, "bytes of JSON"));
            }
            let Ok(advisory) = osv::parse(content) else {
                return Ok(());
            };
            kept += advisory.weight();
            if kept > MAX_KEPT {
                return Err(too_large(MAX_KEPT, "bytes that matter"));
            }
            let modified = advisory.modified;
            let known = collection.records.get(&advisory.id);
            if known.is_none_or(|known| known.modified < modified) {
                let id = advisory.id.clone();
                let advisory = Some(advisory.without_what_is_withdrawn());
                collection.records.insert(id, Record { modified, advisory });
            }
            if collection.records.len() as u64 > MAX_RECORDS {
                return Err(too_large(MAX_RECORDS, "records"));
            }
            Ok(())
        })?;
        if collection.records.is_empty() {
            return Err(CollectionError::Empty);
        }
        Ok(collection)
    }

    /// Compares with a list of the folder.
    pub fn compare(&self, list: &[Listed]) -> Difference {
        let names: BTreeSet<&str> = list.iter().map(|listed| listed.id.as_str()).collect();
        let is_new = |listed: &&Listed| {
            let known = self.records.get(&listed.id);
            known.is_none_or(|known| known.modified < listed.modified)
        };
        Difference {
            changed: list.iter().filter(is_new).cloned().collect(),
            gone: self
                .records
                .keys()
                .filter(|id| !names.contains(id.as_str()))
                .cloned()
                .collect(),
        }
    }

    /// Takes a record that was asked for by its line in the list; one that cannot be used counts as none from then on.
    pub fn put(&mut self, listed: &Listed, json: &[u8]) -> Result<(), RecordError> {
        let parsed = match osv::parse(json) {
            Ok(advisory) if advisory.id == listed.id => Ok(advisory.without_what_is_withdrawn()),
            Ok(_) => Err(RecordError::Other),
            Err(error) => Err(error.into()),
        };
        let (advisory, result) = match parsed {
            Ok(advisory) => (Some(advisory), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let modified = listed.modified;
        self.records
            .insert(listed.id.clone(), Record { modified, advisory });
        result
    }

    /// Forgets a record that its folder does not have any more.
    pub fn remove(&mut self, id: &str) {
        self.records.remove(id);
    }

    /// Returns the packages about which a newer state of the folder says something else.
    pub fn changed_packages(&self, newer: &Self) -> BTreeSet<PackageName> {
        let mut packages = BTreeSet::new();
        let mut add = |advisory: Option<&Advisory>| {
            let affected = advisory.into_iter().flat_map(|advisory| &advisory.affected);
            packages.extend(affected.map(|affected| PackageName::of(&affected.ecosystem, &affected.name)));
        };
        let ids: BTreeSet<&String> = self.records.keys().chain(newer.records.keys()).collect();
        for id in ids {
            let [old, new] = [self, newer].map(|side| side.records.get(id)?.advisory.as_ref());
            let is_same = match (old, new) {
                (Some(old), Some(new)) => old.says_the_same(new),
                (None, None) => true,
                _ => false,
            };
            if !is_same {
                add(old);
                add(new);
            }
        }
        packages
    }

    /// Returns the number of records, those that cannot be used among them.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Tells whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns when the newest record was changed; times after `now` are the source's error.
    pub fn newest(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.records.values().map(|record| record.modified);
        times.filter(|modified| *modified <= now).max()
    }

    /// Writes the collection, compressed; the same records give the same bytes.
    pub fn encode(&self) -> Result<Vec<u8>, CollectionError> {
        let write = || -> io::Result<Vec<u8>> {
            let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION)?;
            encoder.include_checksum(true)?;
            for entry in &self.records {
                serde_json::to_writer(&mut encoder, &entry)?;
                encoder.write_all(b"\n")?;
            }
            encoder.finish()
        };
        write().map_err(CollectionError::Stored)
    }

    /// Reads what [`Collection::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, CollectionError> {
        let read = || -> io::Result<Self> {
            let mut lines = BufReader::new(zstd::Decoder::with_buffer(bytes)?);
            let (mut records, mut line) = (BTreeMap::new(), Vec::new());
            loop {
                line.clear();
                if lines.read_until(b'\n', &mut line)? == 0 {
                    return Ok(Self { records });
                }
                let (id, record): (String, Record) = serde_json::from_slice(&line)?;
                records.insert(id, record);
            }
        };
        read().map_err(CollectionError::Stored)
    }
}

/// Puts folders together for [`build`](crate::build); of two records with one id, the one that was changed later counts.
pub fn combine(collections: impl IntoIterator<Item = (String, Collection)>, now: Timestamp) -> Bulk {
    let mut bulk = Bulk::default();
    for (name, collection) in collections {
        bulk.ecosystems.push(EcosystemInfo {
            records: collection.len() as u64,
            newest: collection.newest(now),
            name,
        });
        for advisory in collection
            .records
            .into_values()
            .filter_map(|record| record.advisory)
        {
            match bulk.advisories.get(&advisory.id) {
                Some(known) if known.modified >= advisory.modified => {}
                _ => drop(bulk.advisories.insert(advisory.id.clone(), advisory)),
            }
        }
    }
    bulk
}

fn too_large(limit: u64, what: &'static str) -> CollectionError {
    CollectionError::TooLarge { limit, what }
}

impl Advisory {
    /// Keeps of an advisory that was taken back only that it was.
    fn without_what_is_withdrawn(mut self) -> Self {
        if self.is_withdrawn {
            self.affected = Vec::new();
            self.summary = String::new();
            self.links = Vec::new();
        }
        // They were told where the record was read.
        self.flaws = Vec::new();
        self
    }

    /// Tells whether the same packages are affected, in the same way: the time of the last change alone is no change.
    fn says_the_same(&self, other: &Self) -> bool {
        (
            &self.aliases,
            &self.upstream,
            &self.severity,
            self.is_withdrawn,
            &self.affected,
        ) == (
            &other.aliases,
            &other.upstream,
            &other.severity,
            other.is_withdrawn,
            &other.affected,
        )
    }

    /// Estimates how many bytes it takes in memory.
    fn weight(&self) -> u64 {
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + 24).sum::<usize>();
        let affected = self.affected.iter().map(|affected| {
            affected.ecosystem.len()
                + affected.name.len()
                + texts(&affected.versions)
                + affected.intervals.len() * 96
                + 96
        });
        let all = self.id.len() + texts(&self.aliases) + texts(&self.upstream) + texts(&self.links);
        (512 + self.summary.len() + all + affected.sum::<usize>()) as u64
    }
}
