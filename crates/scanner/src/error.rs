//! Why a message goes back to the queue, to be delivered again and at last to the dead-letter queue.
//!
//! What ends a request for good is no error but an [`Outcome`](crate::Outcome): an image that cannot be scanned, an
//! integration that is gone.

use portwarden_aws::Fault;
use portwarden_core::{
    announce::AnnounceError, ecr::EcrError, image::FinishError, object::ObjectError, session::AssumeError,
    store::StoreError, work::QueueError,
};
use portwarden_matching::MatchError;
use portwarden_registry::RegistryError;

use crate::ScanError;

/// Why a message goes back to the queue.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The message is not a request for a scan; it will never be.
    #[error("the message is not a request for a scan")]
    Message(#[source] serde_json::Error),
    /// The role is not proven, or was found to be no good; both may change.
    #[error("the role of the integration's region is not proven")]
    Unproven,
    /// This invocation has no time left to begin anything.
    #[error("the time of this invocation is over")]
    TimeOver,
    /// The tenant's role does not open.
    #[error("the tenant's role does not open")]
    Assume(#[from] AssumeError),
    /// The tenant's ECR does not answer.
    #[error("the tenant's ECR does not answer")]
    Ecr(#[from] EcrError),
    /// The image could not be read.
    #[error("the image could not be read")]
    Scan(#[from] ScanError),
    /// Somebody else has taken over the scan, since we took too long.
    #[error("the lease on the scan was lost")]
    LeaseLost,
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket did not answer.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// What was found could not be kept; a database that cannot be used is no such failure.
    #[error("the image could not be matched")]
    Match(#[from] MatchError),
    /// A queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The scan is done, and the bus did not take the event about it.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
}

impl Failure {
    /// Returns the stable code that the log and alarms know.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => "message_malformed",
            Self::Unproven => "role_unproven",
            Self::TimeOver => "time_over",
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
            Self::Scan(ScanError::Refused(refusal)) => refusal.code(),
            Self::Scan(ScanError::Corrupt(_)) => "content_corrupt",
            Self::Scan(ScanError::Source(error)) => code_of_registry(error),
            Self::Scan(ScanError::Read(_)) => "layer_unreadable",
            Self::Scan(ScanError::Cache(_)) | Self::Object(_) => "bucket_unavailable",
            Self::LeaseLost => "lease_lost",
            Self::Store(_) => "store_unavailable",
            Self::Match(error) => error.code(),
            Self::Queue(_) => "queue_unavailable",
            Self::Announce(_) => "bus_unavailable",
        }
    }

    /// Tells whose fault it is: what a tenant's account, role, registry or image does is not ours.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Unproven | Self::Ecr(_) | Self::Scan(ScanError::Refused(_)) => Fault::Theirs,
            failure if failure.is_of_place() => Fault::Theirs,
            _ => Fault::Ours,
        }
    }

    /// Tells whether the tenant's side said no, so that the connection must be tested.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(
            self,
            Self::Assume(AssumeError::NotAllowed(_) | AssumeError::RegionDisabled(_))
                | Self::Ecr(EcrError::Denied { .. })
                | Self::Scan(ScanError::Source(
                    RegistryError::Denied { .. } | RegistryError::Unauthorized { .. }
                ))
        )
    }

    /// Tells whether a new session may help.
    pub(crate) fn is_expired(&self) -> bool {
        matches!(
            self,
            Self::Ecr(EcrError::Expired) | Self::Scan(ScanError::Source(RegistryError::Unauthorized { .. }))
        )
    }

    /// Tells whether another place of the image may do better: the failure is of the place and not ours.
    pub(crate) fn is_of_place(&self) -> bool {
        matches!(
            self,
            Self::Ecr(_)
                | Self::Assume(
                    AssumeError::NotAllowed(_)
                        | AssumeError::RegionDisabled(_)
                        | AssumeError::Throttled
                        | AssumeError::Unreachable(_)
                )
                | Self::Scan(ScanError::Corrupt(_) | ScanError::Source(_) | ScanError::Read(_))
        )
    }
}

fn code_of_registry(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::NotFound { .. } => "registry_not_found",
        RegistryError::Unauthorized { .. } | RegistryError::Denied { .. } => "registry_denied",
        RegistryError::Throttled { .. } => "registry_throttled",
        RegistryError::Unavailable { .. } => "registry_unavailable",
        RegistryError::Refused { .. } => "registry_host_refused",
        _ => "registry_protocol",
    }
}

impl From<FinishError> for Failure {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Lost => Self::LeaseLost,
            FinishError::Store(error) => Self::Store(error),
        }
    }
}
