use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use serde::{Deserialize, Serialize};

use crate::{
    CATALOG_VERSION, Compression, Limits, Partial, PartialCode,
    archive::{Archive, Entry, EntryKind},
    cataloguer::{Cataloguer, Inspector, Reading, START, inspected_by, wanted_by},
    facts::Facts,
    fingerprint::{PathFingerprints, fingerprint},
    link,
    partial::Notes,
    path::{ancestors, normalise, split},
    space::LARGE,
    unpack::{Source, Unpacked},
};

/// Catalogues one layer from its blob, in one pass and without holding it.
///
/// The blob is always read to its end, where its reader checks size and digest; whatever the reader fails with is the
/// one error. Anything else that goes wrong (a broken archive, a limit, `is_time_up` saying so) leaves a partial
/// catalogue that says what is missing. `is_time_up` is asked at least once for each 128 KiB that are unpacked; when it
/// says yes, the rest of the blob is still read, to check its digest, but no longer unpacked.
///
/// # Errors
/// [`LayerError::Read`] if the blob's reader fails.
pub fn catalog_layer(
    blob: impl Read,
    compression: Compression,
    limits: &Limits,
    is_time_up: &dyn Fn() -> bool,
) -> Result<LayerCatalog, LayerError> {
    let mut source = Source::new(blob);
    let mut builder = Builder::new(limits, is_time_up);
    let walked = Unpacked::new(&mut source, compression, limits, is_time_up)
        .and_then(|unpacked| builder.walk(Archive::new(unpacked, limits)));
    if let Err(code) = walked {
        builder.notes.add(code, "");
    }
    source.drain().map_err(LayerError::Read)?;
    Ok(builder.finish())
}

/// Why a layer has no catalogue, not even a partial one.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The blob could not be read, or is not what its digest and size say. Nothing of it may be used.
    #[error("the layer could not be read")]
    Read(#[source] io::Error),
}

/// What one layer adds to an image, and what it hides of the layers below: enough to [`fold`](crate::fold) images
/// without the layer. It is meant to be stored by the layer's digest and [`CATALOG_VERSION`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCatalog {
    version: CurrentVersion,
    /// What wanted files say, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) files: BTreeMap<String, Facts>,
    /// What is removed from the layers below, with everything in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) whiteouts: Vec<String>,
    /// Directories whose content in the layers below is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) opaque: Vec<String>,
    /// Directories: each replaces a file that a lower layer has in its place.
    #[serde(default)]
    pub(crate) directories: PathFingerprints,
    /// Everything that is not a directory: it replaces what the layers below have in its place and below it.
    #[serde(default)]
    pub(crate) covered: PathFingerprints,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    partial: Vec<Partial>,
}

impl LayerCatalog {
    /// Makes the catalogue of a layer that was not read at all, and why.
    pub fn unread(reason: PartialCode) -> Self {
        let mut notes = Notes::default();
        notes.add(reason, "");
        Self {
            version: CurrentVersion,
            files: BTreeMap::new(),
            whiteouts: Vec::new(),
            opaque: Vec::new(),
            directories: PathFingerprints::default(),
            covered: PathFingerprints::default(),
            partial: notes.into_vec(),
        }
    }

    /// Returns what is missing; empty if the layer was read completely.
    pub fn partial(&self) -> &[Partial] {
        &self.partial
    }
}

/// Stands for [`CATALOG_VERSION`] in stored catalogues and refuses to be read from those of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct CurrentVersion;

impl From<CurrentVersion> for u32 {
    fn from(_: CurrentVersion) -> Self {
        CATALOG_VERSION
    }
}

impl TryFrom<u32> for CurrentVersion {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        match version {
            CATALOG_VERSION => Ok(Self),
            other => Err(format!(
                "the layer's catalogue has version {other}, not {CATALOG_VERSION}"
            )),
        }
    }
}

struct Builder<'a> {
    limits: &'a Limits,
    is_time_up: &'a dyn Fn() -> bool,
    files: BTreeMap<String, Facts>,
    whiteouts: Vec<String>,
    opaque: Vec<String>,
    directories: Vec<u64>,
    covered: Vec<u64>,
    notes: Notes,
    entries: u64,
    kept_bytes: u64,
    /// The file that is being read.
    content: Vec<u8>,
}

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// Marks what the AUFS file system keeps for itself.
const AUFS: &str = ".wh..wh.";

impl<'a> Builder<'a> {
    fn new(limits: &'a Limits, is_time_up: &'a dyn Fn() -> bool) -> Self {
        Self {
            limits,
            is_time_up,
            files: BTreeMap::new(),
            whiteouts: Vec::new(),
            opaque: Vec::new(),
            directories: Vec::new(),
            covered: Vec::new(),
            notes: Notes::default(),
            entries: 0,
            kept_bytes: 0,
            content: Vec::new(),
        }
    }

    fn walk<R: Read>(&mut self, mut archive: Archive<'_, R>) -> Result<(), PartialCode> {
        let mut start = [0; START];
        while let Some(entry) = archive.next_entry()? {
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(PartialCode::Entries);
            }
            let start = archive.peek(&mut start)?;
            let raw = archive.path();
            let normal = normalise(raw).filter(|path| self.is_within_limits(path));
            let Some(path) = normal else {
                self.notes.add(
                    PartialCode::Path,
                    &String::from_utf8_lossy(&raw[..raw.len().min(64)]),
                );
                continue;
            };
            if let Some(hidden) = split(&path).1.strip_prefix(WHITEOUT) {
                self.add_whiteout(&path, hidden)?;
                continue;
            }
            if entry.kind == EntryKind::Directory {
                self.directories.push(fingerprint(&path));
                continue;
            }
            self.covered.push(fingerprint(&path));
            // The last of several entries in one place counts.
            self.files.remove(&*path);
            // Nearly every entry ends here, without having cost an allocation.
            if let Some(cataloguer) = wanted_by(&path) {
                let path = path.into_owned();
                self.add_wanted(path, entry, cataloguer, &mut archive)?;
            } else if entry.kind == EntryKind::File {
                if let Some(inspector) = inspected_by(&path, start) {
                    let path = path.into_owned();
                    self.inspect(path, inspector, &mut archive)?;
                }
            } else if entry.kind == EntryKind::SymbolicLink && link::is_kept(&path) {
                let path = path.into_owned();
                self.add_link(path, archive.link())?;
            }
        }
        Ok(())
    }

    fn is_within_limits(&self, path: &str) -> bool {
        path.len() <= self.limits.path_bytes && ancestors(path).count() < self.limits.path_depth
    }

    /// Adds what a file named `.wh.<hidden>` says.
    ///
    /// Source: OCI image specification, `layer.md`, "Whiteouts".
    fn add_whiteout(&mut self, path: &str, hidden: &str) -> Result<(), PartialCode> {
        let (folder, name) = split(path);
        if name == OPAQUE {
            self.keep(folder.len())?;
            self.opaque.push(folder.to_owned());
        } else if !name.starts_with(AUFS) && !["", ".", ".."].contains(&hidden) {
            self.keep(path.len())?;
            self.whiteouts.push(match folder {
                "" => hidden.to_owned(),
                folder => format!("{folder}/{hidden}"),
            });
        }
        Ok(())
    }

    fn add_wanted<R: Read>(
        &mut self,
        path: String,
        entry: Entry,
        cataloguer: &dyn Cataloguer,
        archive: &mut Archive<'_, R>,
    ) -> Result<(), PartialCode> {
        let limits = self.limits;
        let beside_window = limits.large_bytes.saturating_sub(archive.window_bytes());
        let budget = cataloguer.budget(limits).min(beside_window.max(LARGE));
        match entry.kind {
            EntryKind::File if entry.size > budget => {
                self.note(PartialCode::FileBytes, &path);
            }
            EntryKind::File => {
                let place = limits
                    .space
                    .file(entry.size, limits.large_bytes, self.is_time_up)?;
                archive.read_content(&mut self.content)?;
                let reading = cataloguer.read(&path, &self.content);
                if entry.size > LARGE {
                    self.content = Vec::new();
                }
                drop(place);
                self.add_reading(path, reading)?;
            }
            EntryKind::HardLink => {
                let target = normalise(archive.link()).unwrap_or_default().into_owned();
                match self.files.get(&target).cloned() {
                    Some(facts) => self.add_facts(path, facts)?,
                    // A target that was wanted, too, has been read and said nothing.
                    None if wanted_by(&target).is_some() => {}
                    None => self.note(PartialCode::Link, &path),
                }
            }
            EntryKind::SymbolicLink => self.add_link(path, archive.link())?,
            EntryKind::SparseFile => self.note(PartialCode::Sparse, &path),
            EntryKind::Special | EntryKind::Directory => {}
        }
        Ok(())
    }

    fn inspect<R: Read>(
        &mut self,
        path: String,
        inspector: &dyn Inspector,
        archive: &mut Archive<'_, R>,
    ) -> Result<(), PartialCode> {
        let mut content = archive.content();
        let reading = inspector.read(&path, &mut content, self.limits);
        content.end()?;
        self.add_reading(path, reading)
    }

    fn add_link(&mut self, path: String, written: &[u8]) -> Result<(), PartialCode> {
        match link::target(&path, written) {
            Some(target) => self.add_facts(path, Facts::Link(target)),
            None => Ok(()),
        }
    }

    fn add_reading(&mut self, path: String, reading: Reading) -> Result<(), PartialCode> {
        for flaw in reading.flaws {
            self.note(flaw, &path);
        }
        match reading.facts {
            Some(facts) => self.add_facts(path, facts),
            None => Ok(()),
        }
    }

    /// Notes what is wrong with a wanted file, unless it is one that only a link would make count.
    fn note(&mut self, code: PartialCode, path: &str) {
        if !link::is_stray(path) {
            self.notes.add(code, path);
        }
    }

    fn add_facts(&mut self, path: String, facts: Facts) -> Result<(), PartialCode> {
        self.keep(path.len() + facts.weight())?;
        self.files.insert(path, facts);
        Ok(())
    }

    fn keep(&mut self, bytes: usize) -> Result<(), PartialCode> {
        self.kept_bytes += bytes as u64;
        if self.kept_bytes > self.limits.kept_bytes {
            return Err(PartialCode::KeptBytes);
        }
        Ok(())
    }

    fn finish(self) -> LayerCatalog {
        LayerCatalog {
            version: CurrentVersion,
            files: self.files,
            whiteouts: self.whiteouts,
            opaque: self.opaque,
            directories: PathFingerprints::of(self.directories),
            covered: PathFingerprints::of(self.covered),
            partial: self.notes.into_vec(),
        }
    }
}
