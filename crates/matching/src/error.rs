use portwarden_advisories::DatabaseError;
use portwarden_core::{object::ObjectError, store::StoreError, work::QueueError};

/// Why an image was not matched; the same may pass later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatchError {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket failed.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The database in use is not there, damaged or of another format.
    #[error("the advisory database of edition {edition} cannot be used")]
    Database {
        /// The edition.
        edition: u64,
        /// Why.
        #[source]
        source: Option<DatabaseError>,
    },
    /// A report or what was found before is not what this program writes.
    #[error("the stored document {key} cannot be read")]
    Document {
        /// Which one.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The queue did not take what is to be told.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Somebody else matches the same image.
    #[error("somebody else matches the same image")]
    Overtaken,
}

impl MatchError {
    /// Returns the stable code that the log knows.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_unavailable",
            Self::Objects(_) => "bucket_unavailable",
            Self::Database { .. } => "advisories_unusable",
            Self::Document { .. } => "document_unreadable",
            Self::Queue(_) => "queue_unavailable",
            Self::Overtaken => "overtaken",
        }
    }
}
