//! Why a message goes back to the queue; all of it is ours, since what a webhook answers is noted and not thrown.

use portwarden_core::{
    announce::AnnounceError, notification::TellError, store::StoreError, webhook::WebhookKeyError,
    work::QueueError,
};

/// Why a message goes back to the queue.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The message is not a request to tell something; it will never be.
    #[error("the message is not a request to tell something")]
    Message(#[source] serde_json::Error),
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The bus did not answer.
    #[error(transparent)]
    Bus(#[from] AnnounceError),
    /// Nothing can be signed.
    #[error(transparent)]
    Key(#[from] WebhookKeyError),
}

impl Failure {
    /// Returns the stable code that the log and alarms know.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => "message_malformed",
            Self::Store(_) => "store_unavailable",
            Self::Queue(_) => "queue_unavailable",
            Self::Bus(_) => "bus_unavailable",
            Self::Key(_) => "webhook_key_unavailable",
        }
    }
}

impl From<TellError> for Failure {
    fn from(error: TellError) -> Self {
        match error {
            TellError::Store(error) => Self::Store(error),
            TellError::Queue(error) => Self::Queue(error),
        }
    }
}
