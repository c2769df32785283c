//! The advisory database: public data that belongs to no tenant, where it comes from, and which edition is in use.
//!
//! The files lie in the bucket, below one prefix, and are never changed; which of them count is said by two items of the
//! table, so that an edition comes into use by one conditional write, or not at all.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    object::ObjectKey,
    store::{Condition, Key, Partition, Revision, Store, StoreError, Write, try_write},
};

/// A database that was built of all folders at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition {
    /// Counts editions, from 1.
    pub number: u64,
    /// The SHA-256 of the database's file.
    pub database: Digest,
    /// The size of the database's file in bytes.
    pub bytes: u64,
    /// How many advisories it holds.
    pub advisories: u64,
    /// The SHA-256 of the file that says about which packages it says something else than the one before it; none if
    /// there was none before it, so that everything is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Digest>,
    /// When it was built.
    pub built_at: Timestamp,
}

/// What is known of one folder of the feed, such as `Debian`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Folder {
    /// What was read of it the last time that it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<StoredCollection>,
    /// The source's own mark of its list's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_tag: Option<String>,
    /// When it was last compared with its source in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
    /// Why it could not be read the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<FolderProblem>,
}

/// A folder's records as they were stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCollection {
    /// The SHA-256 of the file.
    pub digest: Digest,
    /// How many records it holds.
    pub records: u64,
    /// When the newest of them was changed.
    pub newest: Option<Timestamp>,
}

/// Why a folder could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderProblem {
    /// The stable code.
    pub code: String,
    /// Since when.
    pub since: Timestamp,
}

impl Folder {
    /// Returns how long ago it was last compared with its source; nothing if it never was.
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        Some(now.duration_since(self.checked_at?))
    }
}

/// A file of the advisory database in the bucket; its name says its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdvisoryFile {
    /// The database of an edition.
    Database(u64, Digest),
    /// The packages about which an edition says something else than the one before it.
    Changes(u64, Digest),
    /// The records of a folder.
    Collection(String, Digest),
}

impl Edition {
    /// Names the file of the database.
    pub fn file(&self) -> AdvisoryFile {
        AdvisoryFile::Database(self.number, self.database)
    }

    /// Names the file of its changes.
    pub fn changes_file(&self) -> Option<AdvisoryFile> {
        Some(AdvisoryFile::Changes(self.number, self.changes?))
    }
}

impl AdvisoryFile {
    /// Returns the object's name: `advisories/` and what it is, which no tenant's object begins with.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::public(match self {
            Self::Database(number, digest) => format!("advisories/databases/{number}-{}.db", digest.hex()),
            Self::Changes(number, digest) => format!("advisories/changes/{number}-{}.json", digest.hex()),
            Self::Collection(folder, digest) => format!("advisories/folders/{folder}/{}.zst", digest.hex()),
        })
    }

    /// Tells whether this is the content that the name promises.
    pub fn is(&self, content: &[u8]) -> bool {
        let (Self::Database(_, digest) | Self::Changes(_, digest) | Self::Collection(_, digest)) = self;
        Digest::of(content) == *digest
    }
}

/// What is in use, and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shelf {
    /// The edition in use.
    pub edition: Option<Edition>,
    /// The folders that it was made from, by name.
    pub folders: BTreeMap<String, Folder>,
    /// Files that are not needed any more, and when nobody reads them any more.
    pub retired: Vec<(AdvisoryFile, Timestamp)>,
    /// An edition that images were not asked to be matched with yet.
    pub untold: Option<Edition>,
    revisions: (Option<Revision>, Option<Revision>),
}

#[derive(Default, Serialize, Deserialize)]
struct Sources {
    folders: BTreeMap<String, Folder>,
    retired: Vec<(AdvisoryFile, Timestamp)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    untold: Option<Edition>,
}

/// The editions of the advisory database.
#[derive(Clone)]
pub struct Editions {
    store: Arc<dyn Store>,
}

impl Editions {
    /// Opens the editions in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Returns the edition in use.
    pub async fn current(&self) -> Result<Option<Edition>, StoreError> {
        let stored = self.store.get(&edition_key()).await?;
        stored.map(|stored| stored.parse()).transpose()
    }

    /// Returns everything, to be changed.
    pub async fn shelf(&self) -> Result<Shelf, StoreError> {
        let edition = self.store.get(&edition_key()).await?;
        let sources = self.store.get(&sources_key()).await?;
        let revisions = [&edition, &sources].map(|stored| stored.as_ref().map(|stored| stored.revision));
        let sources: Option<Sources> = sources.map(|stored| stored.parse()).transpose()?;
        let sources = sources.unwrap_or_default();
        Ok(Shelf {
            edition: edition.map(|stored| stored.parse()).transpose()?,
            folders: sources.folders,
            retired: sources.retired,
            untold: sources.untold,
            revisions: revisions.into(),
        })
    }

    /// Brings an edition into use, and keeps what it was made from; tells whether nobody else did so meanwhile.
    pub async fn publish(&self, known: &Shelf, edition: &Edition) -> Result<bool, StoreError> {
        let edition = Write::put(edition_key(), edition, unchanged(known.revisions.0));
        try_write(&*self.store, &[edition, sources(known)]).await
    }

    /// Keeps what was learned of the folders while the edition stays; tells whether nobody else did so meanwhile.
    pub async fn note(&self, known: &Shelf) -> Result<bool, StoreError> {
        try_write(&*self.store, &[sources(known)]).await
    }
}

fn sources(known: &Shelf) -> Write {
    let sources = Sources {
        folders: known.folders.clone(),
        retired: known.retired.clone(),
        untold: known.untold.clone(),
    };
    Write::put(sources_key(), &sources, unchanged(known.revisions.1))
}

fn unchanged(revision: Option<Revision>) -> Condition {
    revision.map_or(Condition::Absent, Condition::Unchanged)
}

fn edition_key() -> Key {
    Partition::directory(&["advisories"]).key(&["edition"])
}

fn sources_key() -> Key {
    Partition::directory(&["advisories"]).key(&["sources"])
}

/// Where advisories come from: a place with the layout of OSV's public bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedSource {
    /// Below an address, by HTTPS.
    Https(url::Url),
    /// Below a prefix of a bucket; the prefix is empty or ends with a slash.
    S3 {
        /// The bucket.
        bucket: String,
        /// The prefix.
        prefix: String,
    },
}

/// A text is not a place of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a source of advisories is https:// and an address, or s3:// and a bucket with an optional prefix")]
pub struct FeedSourceError;

impl FromStr for FeedSource {
    type Err = FeedSourceError;

    fn from_str(text: &str) -> Result<Self, FeedSourceError> {
        let url = url::Url::parse(text).map_err(|_| FeedSourceError)?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        match (url.scheme(), url.host_str()) {
            ("https", Some(_)) if is_plain => Ok(Self::Https(url)),
            ("s3", Some(bucket)) if is_plain && url.port().is_none() => {
                let prefix = url.path().trim_matches('/');
                Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    prefix: if prefix.is_empty() {
                        String::new()
                    } else {
                        format!("{prefix}/")
                    },
                })
            }
            _ => Err(FeedSourceError),
        }
    }
}

/// A file of a feed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FeedFile {
    /// Which records a folder has, and when each was changed.
    List {
        /// The folder.
        folder: String,
    },
    /// All records of a folder.
    Archive {
        /// The folder.
        folder: String,
    },
    /// One record of a folder.
    Record {
        /// The folder.
        folder: String,
        /// The record's id.
        id: String,
    },
}

impl FeedFile {
    /// Returns the two parts of its path: the folder, and the name in it.
    ///
    /// Source: OSV's documentation, "Data Dumps".
    pub fn path(&self) -> [String; 2] {
        match self {
            Self::List { folder } => [folder.clone(), "modified_id.csv".to_owned()],
            Self::Archive { folder } => [folder.clone(), "all.zip".to_owned()],
            Self::Record { folder, id } => [folder.clone(), format!("{id}.json")],
        }
    }
}

impl fmt::Display for FeedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path().join("/"))
    }
}

/// What a source answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedAnswer {
    /// The file has the state that the asker knows.
    Unchanged,
    /// The file.
    File {
        /// The whole content.
        content: Vec<u8>,
        /// The source's own mark of this state.
        tag: Option<String>,
    },
}

/// Reads a feed.
#[async_trait]
pub trait ReadFeed: Send + Sync {
    /// Reads a file of at most `limit` bytes, unless its state is the `known` one.
    async fn read_feed(
        &self,
        file: &FeedFile,
        known: Option<&str>,
        limit: u64,
    ) -> Result<FeedAnswer, FeedError>;
}

/// Why a file of a feed was not read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The source does not have it.
    #[error("the source has no {0}")]
    Missing(FeedFile),
    /// It has more bytes than any such file.
    #[error("{0} has more than {1} bytes")]
    TooLarge(FeedFile, u64),
    /// The source does not answer, or not in full.
    #[error("{0} cannot be read")]
    Unreachable(FeedFile, #[source] Box<dyn std::error::Error + Send + Sync>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn edition(number: u64) -> Edition {
        Edition {
            number,
            database: Digest::of(b"database"),
            bytes: 8,
            advisories: 1,
            changes: None,
            built_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn an_edition_and_its_sources_come_into_use_together_or_not_at_all() {
        let editions = Editions::new(Arc::new(MemoryStore::default()));
        let [mut first, second] = [editions.shelf().await.unwrap(), editions.shelf().await.unwrap()];
        assert_eq!(first, Shelf::default());
        first.folders.insert("Debian".to_owned(), Folder::default());
        first.retired.push((edition(1).file(), Timestamp::UNIX_EPOCH));
        assert!(editions.publish(&first, &edition(1)).await.unwrap());
        assert!(!editions.publish(&second, &edition(2)).await.unwrap());
        assert!(!editions.note(&second).await.unwrap());
        assert_eq!(editions.current().await.unwrap(), Some(edition(1)));

        let [third, late] = [editions.shelf().await.unwrap(), editions.shelf().await.unwrap()];
        assert_eq!((&third.folders, &third.retired), (&first.folders, &first.retired));
        assert!(editions.note(&third).await.unwrap());
        assert!(
            !editions.publish(&late, &edition(2)).await.unwrap(),
            "its sources were changed"
        );
        assert_eq!(editions.current().await.unwrap(), Some(edition(1)));
    }

    #[test]
    fn files_have_names_that_no_tenants_object_has() {
        let digest = Digest::of(b"x");
        for file in [
            AdvisoryFile::Database(3, digest),
            AdvisoryFile::Changes(3, digest),
            AdvisoryFile::Collection("Rocky Linux".to_owned(), digest),
        ] {
            let key = file.key().to_string();
            assert!(
                key.starts_with("advisories/") && key.contains(&digest.hex()),
                "{key}"
            );
            assert!(file.is(b"x") && !file.is(b"y"));
        }
    }

    #[test]
    fn a_source_is_reached_by_https_or_lies_in_a_bucket() {
        let s3 = |bucket: &str, prefix: &str| {
            Ok(FeedSource::S3 {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            })
        };
        assert_eq!("s3://osv".parse(), s3("osv", ""));
        assert_eq!("s3://osv/".parse(), s3("osv", ""));
        assert_eq!("s3://osv/a/b".parse(), s3("osv", "a/b/"));
        assert!(matches!(
            "https://osv.example/x".parse(),
            Ok(FeedSource::Https(_))
        ));
        for text in [
            "",
            "osv",
            "/etc",
            "file:///etc",
            "http://osv.example",
            "https://user@osv.example",
            "https://osv.example/?a",
            "s3:///a",
            "ftp://osv.example",
        ] {
            assert_eq!(text.parse::<FeedSource>(), Err(FeedSourceError), "{text:?}");
        }
    }
}
