//! Images that lie somewhere and whose scan was never finished, so that nobody has to look for them among all others.

use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName};
use serde::{Deserialize, Serialize};

use super::{Cursor, ImageSummary, Images, List};
use crate::{
    id::{IntegrationId, Region},
    scope::TenantScope,
    store::{Key, Partition, StoreError},
};

/// An image that waits for its scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingImage {
    /// The image.
    pub digest: Digest,
    /// A repository of the region from which it can be scanned.
    pub repository: RepositoryName,
    /// When it became known.
    pub known_at: Timestamp,
}

fn waiting(scope: &TenantScope, integration: &IntegrationId, region: &Region) -> Partition {
    scope.partition(&["waiting", integration.as_str(), region.as_str()])
}

/// The entry of an image that waits, in the list of the region from which it can be scanned; none where nothing waits, or all
/// places that lists show are archived.
pub(super) fn waiting_entry(scope: &TenantScope, summary: &ImageSummary) -> Option<(Key, WaitingImage)> {
    let place = summary.places.iter().find(|place| !place.archived)?;
    let entry = WaitingImage {
        digest: summary.digest,
        repository: place.repository.clone(),
        known_at: summary.known_at,
    };
    // Those that have waited longest are read first.
    let known_at = format!("{:020}", entry.known_at.as_millisecond().max(0));
    let partition = waiting(scope, &place.integration, &place.region);
    let key = partition.key(&[&known_at, &entry.digest.to_string()]);
    summary.scan.is_none().then_some((key, entry))
}

impl Images {
    /// Returns a page of the images of a region that wait for their scan, those that have waited longest first.
    pub async fn waiting(
        &self,
        scope: &TenantScope,
        (integration, region): (&IntegrationId, &Region),
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<WaitingImage>, StoreError> {
        self.list(&waiting(scope, integration, region), "", after, limit)
            .await
    }
}
