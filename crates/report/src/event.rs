//! What is told when the findings of an image change: the event on the bus, and what webhooks are sent.

use jiff::Timestamp;
use portwarden_core::{
    id::{AccountId, IntegrationId, NotificationId, Region, TenantId},
    image::{Location, Presence},
    trace::TraceId,
};
use portwarden_oci::{RepositoryName, Tag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ChangesEvent;

/// What is wrong with an image is not the same as before.
///
/// It may come more than once, under the same id and with the same content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingsChanged {
    /// Its id, also the `webhook-id`.
    pub id: NotificationId,
    /// When it changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Whose image.
    pub tenant: TenantId,
    /// What led to the change.
    pub reason: ChangeReason,
    /// Where the image lies: the place whose tags moved, or the first of all places.
    pub places: Vec<ChangedPlace>,
    /// What led to the scan, if a scan led to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// What changed.
    #[serde(flatten)]
    pub changes: ChangesEvent,
}

/// What led to a change of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeReason {
    /// Tags name another image now; the one before is compared with the one now, by the same database.
    TagMoved,
    /// The image is the same, and the database is another.
    AdvisoriesChanged,
    /// The image is the same, and ECR's own scanning found something else than before.
    RegistryScanned,
}

/// A place where an image lies, with the first of its tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedPlace {
    /// The integration whose role opens it.
    pub integration: IntegrationId,
    /// The registry's account.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The first tags that name the image, or that moved.
    pub tags: Vec<Tag>,
}

impl FindingsChanged {
    /// How many places are listed.
    pub const MAX_PLACES: usize = 5;
}

impl ChangedPlace {
    /// How many tags are listed; ECR allows a thousand.
    const MAX_TAGS: usize = 10;

    /// Takes a place with all its tags.
    pub fn of(location: &Location) -> Self {
        match &location.presence {
            Presence::Present { tags, .. } => Self::with_tags(location, tags),
            Presence::Deleted => Self::with_tags(location, []),
        }
    }

    /// Takes a place with some of its tags.
    pub fn with_tags<'a>(location: &Location, tags: impl IntoIterator<Item = &'a Tag>) -> Self {
        let Location {
            integration,
            account,
            region,
            repository,
            ..
        } = location.clone();
        Self {
            integration,
            account,
            region,
            repository,
            tags: tags.into_iter().take(Self::MAX_TAGS).cloned().collect(),
        }
    }
}
