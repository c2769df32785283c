//! Why an event is not accepted: one variant for each way of the answer table that is not 202.
//!
//! Everything below the handler returns a [`Refusal`]; [`Answer`](crate::answer::Answer) turns it into what the sender
//! sees, and the handler writes it to the log, once, under the same code.

use std::time::Duration;

use portwarden_core::{clock::TimedOut, event::EventError, store::StoreError, work::QueueError};

/// Why an event is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The path is not that of an event endpoint.
    #[error("there is nothing at this path")]
    NoSuchPath,
    /// The path is that of an event endpoint, and the method is not POST.
    #[error("the method is not POST")]
    Method,
    /// The body is over [`MAX_BODY`](crate::request::MAX_BODY).
    #[error("the body is over 1 MiB")]
    TooLarge,
    /// The body is compressed, or encoded otherwise.
    #[error("the body is encoded")]
    Encoded,
    /// The content type is not JSON.
    #[error("the content type is not application/json")]
    ContentType,
    /// The one refusal, which never tells its reason.
    #[error("the sender is not accepted")]
    NotAccepted(Reason),
    /// The integration is removed, and these are its last credentials.
    #[error("the integration is removed")]
    Removed,
    /// The tenant sends more than its share.
    #[error("the tenant is over its budget")]
    OverBudget {
        /// When there will be room for one more event.
        retry_after: Duration,
    },
    /// The HTTP request is not one that an HTTP API hands on.
    #[error("the request cannot be read")]
    Unreadable,
    /// The body is not an event.
    ///
    /// What lies behind the error stays out of every message, since it quotes what the sender wrote.
    #[error("{0}")]
    Malformed(EventError),
    /// The event says that it comes from another account than the integration's.
    #[error("the event comes from another account")]
    OtherAccount,
    /// The event comes from a service that no rule of the tenants' template listens to.
    #[error("the event comes from a source that is not watched")]
    OtherSource,
    /// The event's claim carries another ExternalId, or a role in another account.
    #[error("the event's stack does not belong to this integration")]
    OtherStack,
    /// The event's region is not connected, and no more can be added.
    #[error("the event's region is not connected")]
    OtherRegion,
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The time in which an answer is worth something is over.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// Why a sender is not accepted; for the log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no such integration, or the credentials are missing, garbled or not its.
    Credentials,
    /// The credentials are right, and the role of their region is not proven.
    Unproven,
    /// The sender is not accepted, and what it claims is being looked at.
    Claimed,
}

impl Reason {
    /// Returns a short name for the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Unproven => "unproven",
            Self::Claimed => "claimed",
        }
    }
}

impl Refusal {
    /// Returns the stable code, for the answer, the log and alarms.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchPath => "no_such_path",
            Self::Method => "method_not_allowed",
            Self::TooLarge => "body_too_large",
            Self::Encoded => "body_encoded",
            Self::ContentType => "content_type",
            Self::NotAccepted(_) => "not_accepted",
            Self::Removed => "integration_removed",
            Self::OverBudget { .. } => "over_budget",
            Self::Unreadable => "request_unreadable",
            Self::Malformed(_) => "event_malformed",
            Self::OtherAccount => "other_account",
            Self::OtherSource => "other_source",
            Self::OtherStack => "other_stack",
            Self::OtherRegion => "other_region",
            Self::Store(_) | Self::Queue(_) | Self::TimedOut(_) => "unavailable",
        }
    }

    /// Returns the HTTP status: never 401 or 407, on which EventBridge gives up the tenant's credentials.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoSuchPath => 404,
            Self::Method => 405,
            Self::TooLarge => 413,
            Self::Encoded | Self::ContentType => 415,
            Self::NotAccepted(_) | Self::OverBudget { .. } => 429,
            Self::Removed => 410,
            Self::Unreadable | Self::Malformed(_) => 400,
            Self::OtherAccount | Self::OtherSource | Self::OtherStack | Self::OtherRegion => 422,
            Self::Store(_) | Self::Queue(_) | Self::TimedOut(_) => 503,
        }
    }

    /// Returns when to send again, where that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotAccepted(_) => Some(Duration::from_mins(1)),
            Self::OverBudget { retry_after } => Some(*retry_after),
            Self::Store(_) | Self::Queue(_) | Self::TimedOut(_) => Some(Duration::from_secs(10)),
            _ => None,
        }
    }

    /// Returns what the one refusal does not tell.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::NotAccepted(reason) => Some(*reason),
            _ => None,
        }
    }

    /// Tells whether it is our fault, not the sender's.
    pub fn is_ours(&self) -> bool {
        self.status() >= 500
    }
}
