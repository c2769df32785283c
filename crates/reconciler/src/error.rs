//! Why a message goes back to the queue, to be delivered again and at last to the dead-letter queue.

use portwarden_aws::Fault;
use portwarden_core::{
    announce::AnnounceError, ecr::EcrError, reconcile::SaveError, session::AssumeError, store::StoreError,
    work::QueueError,
};

/// Why a message goes back to the queue.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The message is not a request for a comparison; it will never be.
    #[error("the message is not a request for a comparison")]
    Message(#[source] serde_json::Error),
    /// The tenant's role does not open.
    #[error("the tenant's role does not open")]
    Assume(#[from] AssumeError),
    /// The tenant's ECR does not answer.
    #[error("the tenant's ECR does not answer")]
    Ecr(#[from] EcrError),
    /// Somebody else has taken the run over, since we took too long.
    #[error("the run was taken over")]
    RunLost,
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The bus did not take an event.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
}

impl Failure {
    /// Returns the stable code that the log and alarms know.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => "message_malformed",
            Self::Assume(AssumeError::NotAllowed(_)) => "role_not_assumable",
            Self::Assume(AssumeError::Connector(_)) => "connector_not_assumable",
            Self::Assume(AssumeError::RegionDisabled(_)) => "sts_region_disabled",
            Self::Assume(AssumeError::Throttled) => "sts_throttled",
            Self::Assume(AssumeError::Unreachable(_)) => "sts_unavailable",
            Self::Ecr(EcrError::Denied { .. }) => "ecr_denied",
            Self::Ecr(EcrError::KeyClosed(_)) => "kms_key_closed",
            Self::Ecr(EcrError::Expired) => "session_expired",
            Self::Ecr(EcrError::Throttled) => "ecr_throttled",
            Self::Ecr(EcrError::Unreachable(_)) => "ecr_unavailable",
            Self::RunLost => "run_lost",
            Self::Store(_) => "store_unavailable",
            Self::Queue(_) => "queue_unavailable",
            Self::Announce(_) => "bus_unavailable",
        }
    }

    /// Tells whose fault it is: what a tenant's account or role does is not ours.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Ecr(_) | Self::Assume(AssumeError::NotAllowed(_) | AssumeError::RegionDisabled(_)) => {
                Fault::Theirs
            }
            _ => Fault::Ours,
        }
    }

    /// Tells whether the tenant's side said no, so that the connection must be tested.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(
            self,
            Self::Assume(AssumeError::NotAllowed(_) | AssumeError::RegionDisabled(_))
                | Self::Ecr(EcrError::Denied { .. })
        )
    }

    /// Tells whether somebody is asked too much, so that it helps to go on later.
    pub(crate) fn is_throttled(&self) -> bool {
        matches!(
            self,
            Self::Assume(AssumeError::Throttled)
                | Self::Ecr(EcrError::Throttled)
                | Self::Store(StoreError::Throttled)
        )
    }
}

impl From<SaveError> for Failure {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Lost => Self::RunLost,
            SaveError::Store(error) => Self::Store(error),
        }
    }
}
