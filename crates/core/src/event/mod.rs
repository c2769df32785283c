//! What EventBridge delivers: parsed once into our own types, then stored once.
//!
//! An event is a hint where to look; ECR itself is the truth. `resources` is never used: ECR leaves it empty.

mod claim;
mod log;

use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AccountId, EventId, Region};

pub use claim::Claim;
pub use log::{EventLog, Kept, Recorded, Settled};

/// An event as its sender states it: nothing in it is proven.
///
/// Source: EventBridge user guide, "AWS service event metadata".
#[derive(Debug, Clone, PartialEq)]
pub struct UnverifiedEvent {
    /// The id, which a redelivery keeps.
    pub id: EventId,
    /// The account that it says it comes from.
    pub account: AccountId,
    /// The region that it says it comes from.
    pub region: Region,
    /// When it says it happened.
    pub time: Timestamp,
    /// The service that it says it comes from.
    pub source: String,
    /// What happened.
    pub kind: EventKind,
    /// The digest of the body as it came, to tell a redelivery from another event under the same id.
    pub body: Digest,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// An image was pushed.
    ImagePushed(ImageHint),
    /// An image, or one of its tags, was deleted.
    ImageDeleted(ImageHint),
    /// An image was archived or restored.
    StorageClassChanged(ImageHint),
    /// An artifact that refers to an image (a signature, an SBOM) was pushed or deleted.
    ReferrerChanged(ImageHint),
    /// An image came by replication.
    Replicated(ImageHint),
    /// An image came through a pull-through cache.
    PulledThrough(ImageHint),
    /// A repository was deleted with all its images; only where a `CloudTrail` trail records it.
    RepositoryDeleted {
        /// The repository.
        repository: RepositoryName,
    },
    /// The tenant's stack changed its status.
    StackStatus {
        /// The status, such as `CREATE_COMPLETE`.
        status: String,
        /// What the stack says of itself, where its rule adds it.
        claim: Option<Claim>,
    },
    /// The tenant's stack says that it is there.
    Heartbeat {
        /// What the stack says of itself.
        claim: Claim,
    },
    /// A scan of ECR's own ended, and there is something to read of it.
    RegistryScanned(ImageHint),
    /// ECR's own scanning tells something else.
    RegistryScan,
    /// Anything else: stored and counted.
    Other,
}

/// Where to look in ECR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageHint {
    /// The repository.
    pub repository: RepositoryName,
    /// The image.
    pub digest: Digest,
    /// The tag, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
}

/// Where events of the rules of ours come from; anything else is refused.
pub const SOURCES: [&str; 4] = ["aws.ecr", "aws.cloudformation", "aws.events", "aws.inspector2"];

/// Why some bytes are not an event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The bytes are not JSON, or not an envelope of EventBridge.
    #[error("the body is not an event of EventBridge")]
    Envelope(#[source] serde_json::Error),
    /// A field of the envelope has the wrong form.
    #[error("the field {0:?} of the event has the wrong form")]
    Field(&'static str),
    /// The detail is not what its type documents.
    #[error("the detail of the event is not what AWS documents for {detail_type:?}")]
    Detail {
        /// The event's detail type, one of those that we know.
        detail_type: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    source: String,
    account: String,
    time: String,
    region: String,
    detail: Value,
}

impl UnverifiedEvent {
    /// Reads the body of a delivery.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let envelope: Envelope = serde_json::from_slice(body).map_err(EventError::Envelope)?;
        let kind = EventKind::parse(&envelope.source, &envelope.detail_type, envelope.detail)?;
        Ok(Self {
            id: envelope.id.parse().map_err(|_| EventError::Field("id"))?,
            account: envelope
                .account
                .parse()
                .map_err(|_| EventError::Field("account"))?,
            region: envelope.region.parse().map_err(|_| EventError::Field("region"))?,
            time: envelope.time.parse().map_err(|_| EventError::Field("time"))?,
            source: envelope.source,
            kind,
            body: Digest::of(body),
        })
    }
}

impl EventKind {
    /// Returns where to look in ECR, if the event says so.
    pub fn hint(&self) -> Option<&ImageHint> {
        match self {
            Self::ImagePushed(hint)
            | Self::ImageDeleted(hint)
            | Self::StorageClassChanged(hint)
            | Self::ReferrerChanged(hint)
            | Self::Replicated(hint)
            | Self::PulledThrough(hint)
            | Self::RegistryScanned(hint) => Some(hint),
            Self::RepositoryDeleted { .. }
            | Self::StackStatus { .. }
            | Self::Heartbeat { .. }
            | Self::RegistryScan
            | Self::Other => None,
        }
    }

    /// Tells whether something is queued for the event.
    pub fn leads_to_work(&self) -> bool {
        self.hint().is_some() || self.claim().is_some() || matches!(self, Self::RepositoryDeleted { .. })
    }

    /// Returns what the stack says of itself, if the event says so.
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            Self::StackStatus { claim, .. } => claim.as_ref(),
            Self::Heartbeat { claim } => Some(claim),
            _ => None,
        }
    }

    /// Returns a short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ImagePushed(_) => "image_pushed",
            Self::ImageDeleted(_) => "image_deleted",
            Self::StorageClassChanged(_) => "storage_class_changed",
            Self::ReferrerChanged(_) => "referrer_changed",
            Self::Replicated(_) => "replicated",
            Self::PulledThrough(_) => "pulled_through",
            Self::RepositoryDeleted { .. } => "repository_deleted",
            Self::StackStatus { .. } => "stack_status",
            Self::Heartbeat { .. } => "heartbeat",
            Self::RegistryScanned(_) => "registry_scanned",
            Self::RegistryScan => "registry_scan",
            Self::Other => "other",
        }
    }

    /// Source: Amazon ECR user guide, "Amazon ECR events and EventBridge".
    fn parse(source: &str, detail_type: &str, detail: Value) -> Result<Self, EventError> {
        match (source, detail_type) {
            ("aws.ecr", "ECR Image Action") => {
                let action: ImageAction = read("ECR Image Action", detail)?;
                let kind = match action.action_type.as_str() {
                    "PUSH" => Self::ImagePushed,
                    "DELETE" => Self::ImageDeleted,
                    "UPDATE_STORAGE_CLASS" => Self::StorageClassChanged,
                    _ => return Ok(Self::Other),
                };
                action.hint(kind)
            }
            ("aws.ecr", "ECR Referrer Action") => {
                read::<ImageAction>("ECR Referrer Action", detail)?.hint(Self::ReferrerChanged)
            }
            ("aws.ecr", "ECR Replication Action") => {
                read::<ImageAction>("ECR Replication Action", detail)?.hint(Self::Replicated)
            }
            ("aws.ecr", "ECR Pull Through Cache Action") => {
                read::<PullThrough>("ECR Pull Through Cache Action", detail).map(PullThrough::kind)
            }
            ("aws.ecr", "AWS API Call via CloudTrail")
                if detail["eventName"] == "DeleteRepository" && detail["errorCode"].is_null() =>
            {
                let DeleteRepository { request_parameters } = read("AWS API Call via CloudTrail", detail)?;
                Ok(Self::RepositoryDeleted {
                    repository: request_parameters.repository_name,
                })
            }
            ("aws.ecr", "ECR Image Scan") | ("aws.inspector2", "Inspector2 Scan") => {
                let scan = serde_json::from_value::<RegistryScan>(detail);
                Ok(scan
                    .ok()
                    .and_then(RegistryScan::hint)
                    .map_or(Self::RegistryScan, Self::RegistryScanned))
            }
            ("aws.inspector2", _) => Ok(Self::RegistryScan),
            ("aws.cloudformation", "CloudFormation Stack Status Change") => {
                let StackStatus { status_details } =
                    read("CloudFormation Stack Status Change", detail.clone())?;
                Ok(Self::StackStatus {
                    status: status_details.status,
                    claim: serde_json::from_value(detail).ok(),
                })
            }
            ("aws.events", "Portwarden Heartbeat") => {
                read("Portwarden Heartbeat", detail).map(|claim| Self::Heartbeat { claim })
            }
            _ => Ok(Self::Other),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(detail_type: &'static str, detail: Value) -> Result<T, EventError> {
    serde_json::from_value(detail).map_err(|source| EventError::Detail { detail_type, source })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ImageAction {
    #[serde(default)]
    action_type: String,
    /// Documented as `SUCCESS`; an open string, in which only `FAILED` is known to mean that nothing happened.
    #[serde(default)]
    result: String,
    repository_name: RepositoryName,
    /// Absent where a failed replication has none.
    image_digest: Option<Digest>,
    #[serde(default, deserialize_with = "tag_or_empty")]
    image_tag: Option<Tag>,
}

impl ImageAction {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "it ends the arms of a match that may fail"
    )]
    fn hint(self, kind: fn(ImageHint) -> EventKind) -> Result<EventKind, EventError> {
        let happened = self.result != "FAILED";
        let hint = self.image_digest.filter(|_| happened).map(|digest| ImageHint {
            repository: self.repository_name,
            digest,
            tag: self.image_tag,
        });
        Ok(hint.map_or(EventKind::Other, kind))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PullThrough {
    #[serde(default)]
    sync_status: String,
    repository_name: RepositoryName,
    image_digest: Option<Digest>,
    #[serde(default, deserialize_with = "tag_or_empty")]
    image_tag: Option<Tag>,
}

impl PullThrough {
    fn kind(self) -> EventKind {
        match self.image_digest {
            Some(digest) if self.sync_status != "FAILED" => EventKind::PulledThrough(ImageHint {
                repository: self.repository_name,
                digest,
                tag: self.image_tag,
            }),
            _ => EventKind::Other,
        }
    }
}

/// Source: Amazon ECR user guide, "Amazon ECR events and EventBridge". Basic and enhanced scanning tell the same in two ways:
/// `COMPLETE` and a repository's name, `INITIAL_SCAN_COMPLETE` and its ARN.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryScan {
    scan_status: String,
    repository_name: String,
    image_digest: Digest,
}

impl RegistryScan {
    fn hint(self) -> Option<ImageHint> {
        let name = self.repository_name;
        let name = name
            .split_once(":repository/")
            .map_or(name.as_str(), |(_, name)| name);
        let is_done = self.scan_status.ends_with("COMPLETE");
        Some(ImageHint {
            repository: name.parse().ok().filter(|_| is_done)?,
            digest: self.image_digest,
            tag: None,
        })
    }
}

/// Source: `CloudTrail` user guide, "CloudTrail record contents"; ECR's API reference, `DeleteRepository`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteRepository {
    request_parameters: DeletedRepository,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeletedRepository {
    repository_name: RepositoryName,
}

/// ECR leaves the tag of an untagged image out, or empty.
fn tag_or_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Tag>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StackStatus {
    status_details: StatusDetails,
}

#[derive(Deserialize)]
struct StatusDetails {
    #[serde(deserialize_with = "short_word")]
    status: String,
}

/// What is stored as it came must not fill the table.
fn short_word<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("expected a word of up to 64 characters"))
    }
}

#[cfg(test)]
mod tests;
