//! Why a message goes back to the queue; all of it is ours, since no tenant's account is asked.

use portwarden_core::{object::ObjectError, store::StoreError, work::QueueError};
use portwarden_matching::MatchError;

/// Why a message goes back to the queue.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The message is not a request for a rematch; it will never be.
    #[error("the message is not a request for a rematch")]
    Message(#[source] serde_json::Error),
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket did not answer.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The changes of the edition cannot be read.
    #[error("the changes of edition {0} cannot be read")]
    Changes(u64),
    /// Some images could not be matched; the others were.
    #[error("{failed} of {all} images could not be matched")]
    Images {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
        /// Why the first of them could not.
        #[source]
        first: MatchError,
    },
    /// Nothing can be matched.
    #[error(transparent)]
    Match(#[from] MatchError),
}

impl Failure {
    /// Returns the stable code that the log and alarms know.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => "message_malformed",
            Self::Store(_) => "store_unavailable",
            Self::Objects(_) => "bucket_unavailable",
            Self::Queue(_) => "queue_unavailable",
            Self::Changes(_) => "changes_unreadable",
            Self::Images { first: error, .. } | Self::Match(error) => error.code(),
        }
    }
}
