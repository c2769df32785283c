//! Folders in the layout of OSV's bulk files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use thiserror::Error;
use zip::result::ZipError;

use crate::{
    Advisory, EcosystemInfo,
    feed::{ArchiveError, MAX_RECORD, for_each_record},
    osv,
};

/// Reads every ecosystem of a directory: of each folder `all.zip`, and the single `*.json` beside it, which are newer.
///
/// Of two records with one id, the one that was changed later counts. Records that cannot be used are told and skipped;
/// a folder that cannot be read fails the whole. Times of change after `now` are the source's error, and do not count
/// for the age of its data.
pub fn read_bulk(directory: &Path, now: Timestamp) -> Result<Bulk, BulkError> {
    let mut bulk = Bulk::default();
    for folder in folders(directory)? {
        bulk.read_folder(&folder, now)?;
    }
    if bulk.ecosystems.is_empty() {
        return Err(BulkError::Empty(directory.to_owned()));
    }
    Ok(bulk)
}

/// What a directory holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bulk {
    /// The advisories by id.
    pub advisories: BTreeMap<String, Advisory>,
    /// What was read of each folder, by name.
    pub ecosystems: Vec<EcosystemInfo>,
    /// What could not be used, each with its file.
    pub flaws: Vec<String>,
}

/// Why a directory cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BulkError {
    /// A file or directory cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An archive is broken.
    #[error("{} is not a whole archive", path.display())]
    Archive {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: ZipError,
    },
    /// There is no folder with advisories.
    #[error("{} holds no folder with advisories", .0.display())]
    Empty(PathBuf),
}

impl Bulk {
    fn read_folder(&mut self, folder: &Path, now: Timestamp) -> Result<(), BulkError> {
        let mut info = EcosystemInfo {
            name: folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            records: 0,
            newest: None,
        };
        let archive_path = folder.join("all.zip");
        if archive_path.is_file() {
            let file = File::open(&archive_path).map_err(|source| unreadable(&archive_path, source))?;
            for_each_record(BufReader::new(file), |name, content| {
                self.add(&archive_path.join(name), content, now, &mut info);
                Ok(())
            })
            .map_err(|error| match error {
                ArchiveError::Archive(source) => BulkError::Archive {
                    path: archive_path.clone(),
                    source,
                },
                ArchiveError::Entry(name, source) => unreadable(&archive_path.join(name), source),
            })?;
        }
        for path in entries(folder)? {
            if has_extension(&path) && path.is_file() {
                let content = fs::read(&path).map_err(|source| unreadable(&path, source))?;
                let content = (content.len() as u64 <= MAX_RECORD).then_some(content.as_slice());
                self.add(&path, content, now, &mut info);
            }
        }
        if archive_path.is_file() || info.records > 0 {
            self.ecosystems.push(info);
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, content: Option<&[u8]>, now: Timestamp, info: &mut EcosystemInfo) {
        let mut flaw = |text: &str| self.flaws.push(format!("{}: {text}", path.display()));
        let Some(content) = content else {
            return flaw("the record is too large");
        };
        let advisory = match osv::parse(content) {
            Ok(advisory) => advisory,
            Err(error) => return flaw(&error.to_string()),
        };
        for text in &advisory.flaws {
            flaw(text);
        }
        info.records += 1;
        if advisory.modified <= now {
            info.newest = info.newest.max(Some(advisory.modified));
        }
        match self.advisories.get(&advisory.id) {
            Some(known) if known.modified >= advisory.modified => {}
            _ => drop(self.advisories.insert(advisory.id.clone(), advisory)),
        }
    }
}

fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

fn folders(directory: &Path) -> Result<Vec<PathBuf>, BulkError> {
    let mut folders = entries(directory)?;
    folders.retain(|path| path.is_dir());
    Ok(folders)
}

/// Lists a directory in the order of names, so that nothing depends on the disk.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, BulkError> {
    let list =
        || -> io::Result<Vec<PathBuf>> { fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect() };
    let mut entries = list().map_err(|source| unreadable(directory, source))?;
    entries.sort();
    Ok(entries)
}

fn unreadable(path: &Path, source: io::Error) -> BulkError {
    BulkError::Unreadable {
        path: path.to_owned(),
        source,
    }
}
