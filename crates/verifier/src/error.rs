//! Why a request could not be worked on; each is worth another attempt, so the message goes back to the queue.

use portwarden_core::{
    announce::AnnounceError, object::ObjectError, purge::PurgeError, store::StoreError, work::QueueError,
};

/// Why a connection could not be tested, or its verdict not stored.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The verdict is stored, and the bus did not take the event about it.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// The verdict is stored, and the queue did not take the next attempt.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The bucket did not answer.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The integration was removed while it was tested.
    #[error("the integration was removed while it was tested")]
    Removed,
}

impl VerifyError {
    /// Returns the stable code that the log and alarms know.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_unavailable",
            Self::Announce(_) => "bus_unavailable",
            Self::Queue(_) => "queue_unavailable",
            Self::Object(_) => "bucket_unavailable",
            Self::Removed => "integration_removed",
        }
    }
}

impl From<PurgeError> for VerifyError {
    fn from(error: PurgeError) -> Self {
        match error {
            PurgeError::Store(error) => Self::Store(error),
            PurgeError::Object(error) => Self::Object(error),
        }
    }
}
