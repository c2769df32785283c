//! Where the advisories of a local cloud come from: a directory, which becomes a bucket in the emulator, or an address.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Cursor, Read as _, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde_json::Value;
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{account::Account, deploy, error::LocalError};

/// A source of advisories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdvisoryChoice {
    /// None: reports have no findings.
    None,
    /// A folder for each ecosystem, with `all.zip` or single records.
    Directory(PathBuf),
    /// An address with the layout of OSV's public bucket, from where the advisories are read by HTTPS.
    Address(String),
}

/// OSV's public bucket.
///
/// Source: OSV's documentation, "Data Dumps".
const OSV: &str = "https://storage.googleapis.com/osv-vulnerabilities";

impl FromStr for AdvisoryChoice {
    type Err = std::convert::Infallible;

    /// Reads `none`, `osv`, an address or a directory.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "none" => Self::None,
            "osv" => Self::Address(OSV.to_owned()),
            address if address.starts_with("https://") => Self::Address(address.to_owned()),
            directory => Self::Directory(directory.into()),
        })
    }
}

impl fmt::Display for AdvisoryChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no source"),
            Self::Directory(directory) => write!(f, "{}", directory.display()),
            Self::Address(address) => f.write_str(address),
        }
    }
}

impl AdvisoryChoice {
    /// Provides what the advisor will read; returns the stack's parameters about it.
    pub(crate) async fn provide(
        &self,
        account: &Account,
    ) -> Result<BTreeMap<&'static str, String>, LocalError> {
        let mut parameters = BTreeMap::from([("AdvisorySource", String::new())]);
        match self {
            Self::None => {}
            Self::Address(address) => {
                parameters.insert("AdvisorySource", address.clone());
            }
            Self::Directory(directory) => {
                upload_feed(account, directory).await?;
                let names = folders(directory)?;
                let names: Vec<String> = names.iter().map(|folder| folder_name(folder)).collect();
                parameters.insert("AdvisorySourceBucket", feed_bucket(account));
                parameters.insert("AdvisoryFolders", names.join(","));
            }
        }
        Ok(parameters)
    }
}

fn folder_name(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Names the bucket that takes the place of OSV's.
fn feed_bucket(account: &Account) -> String {
    format!("portwarden-local-advisories-{}", account.id())
}

/// Writes a directory's folders to the bucket that takes the place of OSV's, in the place of what is there.
pub(crate) async fn upload_feed(account: &Account, directory: &Path) -> Result<(), LocalError> {
    let bucket = feed_bucket(account);
    deploy::create_bucket(account, &bucket).await?;
    for folder in folders(directory)? {
        let name = folder_name(&folder);
        for (file, content) in read_folder(&folder)? {
            deploy::put_object(account, &bucket, &format!("{name}/{file}"), content).await?;
        }
    }
    Ok(())
}

fn folders(directory: &Path) -> Result<Vec<PathBuf>, LocalError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let paths = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
        paths.collect()
    };
    let mut folders = list().map_err(|source| LocalError::file(directory, source))?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    Ok(folders)
}

/// Returns the files that OSV's bucket would have for a folder, by name.
fn read_folder(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, LocalError> {
    let fail = |source: io::Error| LocalError::file(folder, source);
    let mut records = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let content = fs::read(&path).map_err(|source| LocalError::file(&path, source))?;
            records.insert(
                record_of(&content).map_err(|source| LocalError::file(&path, source))?,
                content,
            );
        }
    }
    let [list, archive] = ["modified_id.csv", "all.zip"].map(|name| fs::read(folder.join(name)));
    if let (true, Ok(list), Ok(archive)) = (records.is_empty(), list, &archive) {
        return Ok(BTreeMap::from([
            ("modified_id.csv".to_owned(), list),
            ("all.zip".to_owned(), archive.clone()),
        ]));
    }
    if let Ok(archive) = archive {
        let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(|error| fail(error.into()))?;
        for index in 0..archive.len() {
            let mut content = Vec::new();
            let mut entry = archive.by_index(index).map_err(|error| fail(error.into()))?;
            entry.read_to_end(&mut content).map_err(fail)?;
            let key = record_of(&content).map_err(fail)?;
            records.entry(key).or_insert(content);
        }
    }
    files_of(records).map_err(fail)
}

/// Reads a record's id and when it was changed.
fn record_of(content: &[u8]) -> io::Result<(String, String)> {
    let record: Value = serde_json::from_slice(content)?;
    let text = |name: &str| {
        let value = record[name].as_str().map(str::to_owned);
        value.ok_or_else(|| io::Error::other(format!("a record has no {name}")))
    };
    Ok((text("id")?, text("modified")?))
}

/// Makes the list, the archive and the single files of records.
fn files_of(records: BTreeMap<(String, String), Vec<u8>>) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut lines: Vec<String> = records
        .keys()
        .map(|(id, modified)| format!("{modified},{id}\n"))
        .collect();
    lines.sort();
    lines.reverse();
    let mut files = BTreeMap::from([("modified_id.csv".to_owned(), lines.concat().into_bytes())]);
    for ((id, _), content) in records {
        let name = format!("{id}.json");
        archive.start_file(&name, SimpleFileOptions::default())?;
        archive.write_all(&content)?;
        files.insert(name, content);
    }
    files.insert("all.zip".to_owned(), archive.finish()?.into_inner());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_word_an_address_or_a_directory() {
        for (text, choice) in [
            ("none", AdvisoryChoice::None),
            ("osv", AdvisoryChoice::Address(OSV.to_owned())),
            (
                "https://osv.example/x",
                AdvisoryChoice::Address("https://osv.example/x".to_owned()),
            ),
            ("some/where", AdvisoryChoice::Directory("some/where".into())),
        ] {
            assert_eq!(text.parse(), Ok(choice));
        }
    }

    #[test]
    fn single_records_become_what_osvs_bucket_has() {
        let directory = std::env::temp_dir().join(format!("portwarden-feed-{}", std::process::id()));
        let folder = directory.join("npm");
        fs::create_dir_all(&folder).unwrap();
        for (id, day) in [("A-1", 1), ("A-2", 2)] {
            let record = format!(r#"{{"id":"{id}","modified":"2026-01-0{day}T00:00:00Z"}}"#);
            fs::write(folder.join(format!("{id}.json")), record).unwrap();
        }
        assert_eq!(folders(&directory).unwrap(), std::slice::from_ref(&folder));
        let files = read_folder(&folder).unwrap();
        assert_eq!(
            files["modified_id.csv"],
            b"2026-01-02T00:00:00Z,A-2\n2026-01-01T00:00:00Z,A-1\n"
        );
        let mut archive = ZipArchive::new(Cursor::new(files["all.zip"].clone())).unwrap();
        assert_eq!(archive.len(), 2);
        let mut content = Vec::new();
        archive
            .by_name("A-1.json")
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        assert_eq!(content, files["A-1.json"]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
