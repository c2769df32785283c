//! What goes wrong: a folder that cannot be read costs that folder's news only; a failure ends the run.

use portwarden_advisories::{CollectionError, DatabaseError, ListError};
use portwarden_core::{advisory::FeedError, object::ObjectError, store::StoreError, work::QueueError};

/// Why a folder cannot be read; what was read of it before stays in use.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The source does not answer, or not in full.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The list of its records cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// Its archive cannot be used.
    #[error(transparent)]
    Archive(#[from] CollectionError),
    /// It has far fewer records than before: more likely the source is broken than so much was taken back.
    #[error("the source has {found} records, where it had {known}")]
    Shrunk {
        /// How many it has.
        found: usize,
        /// How many it had.
        known: usize,
    },
    /// The time was over before it was its turn.
    #[error("the time of this run was over")]
    TimeOver,
}

impl Broken {
    /// Returns the stable code that the log and metrics know.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Feed(FeedError::Missing(_)) => "source_file_missing",
            Self::Feed(FeedError::TooLarge(..)) => "source_file_too_large",
            Self::Feed(FeedError::Unreachable(..)) => "source_unreachable",
            Self::List(ListError::Empty) | Self::Archive(CollectionError::Empty) => "source_empty",
            Self::List(_) => "source_list_malformed",
            Self::Archive(_) => "source_archive_broken",
            Self::Shrunk { .. } => "source_shrunk",
            Self::TimeOver => "time_over",
        }
    }
}

/// Why a run ended early; the edition in use stays.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket failed.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The rematcher's queue failed; the edition is in use, and the next run tells of it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The folders cannot be stored.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// No database can be made of the folders.
    #[error("no database can be made of the advisories")]
    Build(#[from] DatabaseError),
    /// The database that was made is larger than the functions that read it have memory for.
    #[error("the database has {found} bytes, and functions read at most {limit}; follow fewer folders")]
    TooLarge {
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Another run was faster.
    #[error("another run published meanwhile")]
    Overtaken,
}

impl Failure {
    /// Returns the stable code that the log knows.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_unavailable",
            Self::Objects(_) => "bucket_unavailable",
            Self::Queue(_) => "queue_unavailable",
            Self::Collection(_) => "advisories_not_storable",
            Self::Build(_) => "advisories_unusable",
            Self::TooLarge { .. } => "advisories_too_large",
            Self::Overtaken => "overtaken",
        }
    }
}
