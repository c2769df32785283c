use std::{collections::BTreeSet, sync::Arc};

use super::{
    BLOCK, DatabaseError, FORMAT, HEADER, Info, MAGIC, MAX_BLOCK, SECTIONS, Text, bytes::Reader, hash,
};
use crate::{
    Bound, Level, Scheme,
    range::{self},
};

/// An advisory database in memory.
#[derive(Debug, Clone)]
pub struct Database {
    bytes: Arc<Vec<u8>>,
    /// Where each section lies.
    sections: [(usize, usize); SECTIONS],
    info: Info,
}

/// What is in the sections, in their order.
#[derive(Debug, Clone, Copy)]
enum Section {
    Info,
    Index,
    Packages,
    Offsets,
    Heads,
    Blocks,
    Texts,
}

/// A version of a package, to be looked up among an ecosystem's advisories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) ecosystem: &'a str,
    pub(crate) scheme: Scheme,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// Whether the version's epoch is not known, and advisories' epochs count for nothing.
    pub(crate) is_without_epoch: bool,
}

/// An advisory that affects a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit<'a> {
    pub(crate) advisory: usize,
    /// The version that fixes it.
    pub(crate) fixed: Option<&'a str>,
}

/// What decides about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) id: &'a str,
    pub(crate) aliases: Vec<&'a str>,
    pub(crate) upstream: Vec<&'a str>,
    pub(crate) level: Level,
    pub(crate) score_tenths: Option<u8>,
}

/// Texts of an advisory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    pub(crate) summary: String,
    pub(crate) vector: Option<String>,
    pub(crate) links: Vec<String>,
    pub(crate) modified: jiff::Timestamp,
    pub(crate) published: Option<jiff::Timestamp>,
}

impl Database {
    /// Takes the whole content of a database's file, and checks it.
    pub fn open(bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        let mut header = Reader::new(&bytes);
        if header.take(MAGIC.len()) != Some(MAGIC) {
            return Err(DatabaseError::NotADatabase);
        }
        let found = header.u32().ok_or(DatabaseError::NotADatabase)?;
        if found != FORMAT {
            return Err(DatabaseError::Format { found });
        }
        let (Some(checksum), Some(length)) = (header.u32(), header.u64()) else {
            return Err(DatabaseError::NotADatabase);
        };
        let body = &bytes[HEADER..];
        if body.len() as u64 != length {
            return Err(DatabaseError::Length {
                found: bytes.len() as u64,
                expected: length.saturating_add(HEADER as u64),
            });
        }
        if crc32fast::hash(body) != checksum {
            return Err(DatabaseError::Checksum);
        }
        let sections = sections(body).ok_or(DatabaseError::Corrupt)?;
        let (start, end) = sections[Section::Info as usize];
        let info = serde_json::from_slice(&bytes[start..end]).map_err(|_| DatabaseError::Corrupt)?;
        Ok(Self {
            bytes: Arc::new(bytes),
            sections,
            info,
        })
    }

    /// Returns what it was built from.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Names its content: the day of its newest advisory and the checksum, such as `2026-11-23-1a2b3c4d`.
    pub fn version(&self) -> String {
        let newest = self.info.ecosystems.iter().filter_map(|e| e.newest).max();
        let day = newest.map_or_else(|| "empty".to_owned(), |time| time.strftime("%F").to_string());
        let checksum = Reader::new(&self.bytes[MAGIC.len() + 4..]).u32();
        format!("{day}-{:08x}", checksum.unwrap_or_default())
    }

    fn section(&self, section: Section) -> &[u8] {
        let (start, end) = self.sections[section as usize];
        &self.bytes[start..end]
    }

    /// Cuts out what lies between two neighbours of a list of offsets.
    fn between(&self, offsets: Section, data: Section, index: usize) -> Option<&[u8]> {
        let offsets = self.section(offsets);
        let mut pair = Reader::new(offsets.get(index.checked_mul(4)?..)?);
        let (start, end) = (pair.u32()? as usize, pair.u32()? as usize);
        self.section(data).get(start..end)
    }

    /// Finds the advisories that affect a version of a package.
    ///
    /// A version that cannot be compared is affected only by advisories that name it.
    pub(crate) fn hits<'a>(
        &'a self,
        asked: &Asked<'_>,
        hits: &mut Vec<Hit<'a>>,
    ) -> Result<(), DatabaseError> {
        self.try_hits(asked, hits).ok_or(DatabaseError::Corrupt)
    }

    fn try_hits<'a>(&'a self, asked: &Asked<'_>, hits: &mut Vec<Hit<'a>>) -> Option<()> {
        let buckets = (self.section(Section::Index).len() / 4).checked_sub(1)?;
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits count")]
        let bucket = hash(asked.ecosystem, asked.name) as usize & buckets.checked_sub(1)?;
        let mut packages = Reader::new(self.between(Section::Index, Section::Packages, bucket)?);
        while !packages.is_at_end() {
            let is_this = packages.text()? == asked.ecosystem;
            let is_this = packages.text()? == asked.name && is_this;
            let length = packages.number()?;
            let mut entry = Reader::new(packages.take(length)?);
            if is_this {
                for _ in 0..entry.number()? {
                    let advisory = entry.number()?;
                    let hit = read_versions(&mut entry, asked)?;
                    hits.extend(hit.map(|fixed| Hit { advisory, fixed }));
                }
            }
        }
        Some(())
    }

    /// Returns what decides about a finding of an advisory.
    pub(crate) fn head(&self, advisory: usize) -> Result<Head<'_>, DatabaseError> {
        self.try_head(advisory).ok_or(DatabaseError::Corrupt)
    }

    fn try_head(&self, advisory: usize) -> Option<Head<'_>> {
        let mut head = Reader::new(self.between(Section::Offsets, Section::Heads, advisory)?);
        let id = head.text()?;
        let mut ids = || {
            let count = head.number()?;
            (0..count).map(|_| head.text()).collect::<Option<Vec<_>>>()
        };
        Some(Head {
            id,
            aliases: ids()?,
            upstream: ids()?,
            level: *Level::ALL.get(usize::from(head.byte()?))?,
            score_tenths: head.byte()?.checked_sub(1),
        })
    }

    /// Tells whether any advisory has one of these ids, its other names included.
    ///
    /// It reads every advisory's head: made for the few questions about findings that are gone.
    pub fn has_any(&self, ids: &BTreeSet<&str>) -> Result<bool, DatabaseError> {
        let advisories = (self.section(Section::Offsets).len() / 4).saturating_sub(1);
        for advisory in 0..advisories {
            let head = self.head(advisory)?;
            let mut names = [head.id].into_iter().chain(head.aliases).chain(head.upstream);
            if names.any(|name| ids.contains(name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the texts of advisories, in their order.
    pub(crate) fn details(&self, advisories: &[usize]) -> Result<Vec<Details>, DatabaseError> {
        // Neighbours share a block.
        let mut inflated: Option<(usize, Vec<Text>)> = None;
        let mut details = Vec::with_capacity(advisories.len());
        for advisory in advisories {
            let (block, place) = (advisory / BLOCK, advisory % BLOCK);
            if inflated.as_ref().is_none_or(|(known, _)| *known != block) {
                inflated = Some((block, self.texts(block).ok_or(DatabaseError::Corrupt)?));
            }
            let text = inflated.as_ref().and_then(|(_, texts)| texts.get(place));
            let text = text.ok_or(DatabaseError::Corrupt)?;
            details.push(Details {
                summary: text.summary.clone(),
                vector: text.vector.clone(),
                links: text.links.clone(),
                modified: text.modified,
                published: text.published,
            });
        }
        Ok(details)
    }

    fn texts(&self, block: usize) -> Option<Vec<Text>> {
        let compressed = self.between(Section::Blocks, Section::Texts, block)?;
        let plain = zstd::bulk::decompress(compressed, MAX_BLOCK).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

/// Reads the sections' lengths, which fill the body exactly.
fn sections(body: &[u8]) -> Option<[(usize, usize); SECTIONS]> {
    let mut lengths = Reader::new(body);
    let mut sections = [(0, 0); SECTIONS];
    let mut end = HEADER + 8 * SECTIONS;
    for section in &mut sections {
        let start = end;
        end = start.checked_add(usize::try_from(lengths.u64()?).ok()?)?;
        *section = (start, end);
    }
    (end == HEADER + body.len()).then_some(sections)
}

/// Tells whether a version is affected, and by which version it is fixed.
#[expect(
    clippy::option_option,
    reason = "unreadable, unaffected, unfixed and fixed are four different things"
)]
fn read_versions<'a>(entry: &mut Reader<'a>, asked: &Asked<'_>) -> Option<Option<Option<&'a str>>> {
    let &Asked { scheme, version, .. } = asked;
    let bound = |text: &'a str| match text.split_once(':') {
        Some((epoch, rest)) if asked.is_without_epoch && epoch.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => text,
    };
    let mut hit = None;
    for _ in 0..entry.number()? {
        let (introduced, kind, until) = (entry.text()?, entry.byte()?, entry.text()?);
        if kind > Bound::LIMIT {
            return None;
        }
        let is_affected = || range::contains(scheme, version, bound(introduced), (kind, bound(until)));
        if hit.is_none() && is_affected() == Some(true) {
            hit = Some((kind == Bound::FIXED).then_some(until));
        }
    }
    for _ in 0..entry.number()? {
        if entry.text()? == version && hit.is_none() {
            hit = Some(None);
        }
    }
    Some(hit)
}
