//! Which image each tag named last, of those that were matched, and which one it named before: what an image is compared
//! with, wherever what changed is told or shown.

use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};

use super::{ImageState, Inventory};
use crate::{
    id::{IntegrationId, Region},
    image::{ChangeCounts, Location, Presence},
    notification::{self, Notification},
    scope::TenantScope,
    store::{Condition, Key, Partition, Revision, StoreError, Write, try_write},
};

/// A tag of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPlace {
    /// The integration whose role opens the repository.
    pub integration: IntegrationId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// What was there when it was read.
    revision: Option<Revision>,
    before: Option<Tagged>,
}

/// The image that a tag named last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagged {
    /// The image.
    pub digest: Digest,
    /// The version of the catalog that its report is of.
    pub catalog_version: u32,
    /// When ECR said so; what it says later wins.
    pub observed_at: Timestamp,
}

/// What is stored of a tag.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The image that it names.
    #[serde(flatten)]
    now: Tagged,
    /// The one that it named before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Tagged>,
}

/// So many tags are moved in one transaction, besides what is told and shown of it.
const AT_ONCE: usize = 90;

/// Of so many of its tags it is looked up what they named before an image: people look at one, and most have a few.
const LOOKED_AT: usize = 20;

fn partition(scope: &TenantScope, integration: &IntegrationId) -> Partition {
    scope.partition(&["tags", integration.as_str()])
}

impl TagPlace {
    fn key(&self, scope: &TenantScope) -> Key {
        partition(scope, &self.integration).key(&[
            self.region.as_str(),
            self.repository.as_str(),
            self.tag.as_str(),
        ])
    }
}

impl Inventory {
    /// Returns the tags of an image in a place that named another one before, or none, each with what it named.
    pub async fn moved_tags(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        location: &Location,
    ) -> Result<Vec<(TagPlace, Option<Tagged>)>, StoreError> {
        let Presence::Present { tags, .. } = &location.presence else {
            return Ok(Vec::new());
        };
        let mut moved = Vec::new();
        for tag in tags {
            let (mut place, record) = self.tag(scope, location, tag).await?;
            let before = record.map(|record| record.now);
            place.before = before;
            if before
                .is_none_or(|before| before.digest != *digest && before.observed_at < location.observed_at)
            {
                moved.push((place, before));
            }
        }
        Ok(moved)
    }

    /// Reads what is known of a tag in a place.
    async fn tag(
        &self,
        scope: &TenantScope,
        location: &Location,
        tag: &Tag,
    ) -> Result<(TagPlace, Option<Record>), StoreError> {
        let mut place = TagPlace {
            integration: location.integration.clone(),
            region: location.region.clone(),
            repository: location.repository.clone(),
            tag: tag.clone(),
            revision: None,
            before: None,
        };
        let stored = self.store.get(&place.key(scope)).await?;
        place.revision = stored.as_ref().map(|stored| stored.revision);
        let record = stored.map(|stored| stored.parse()).transpose()?;
        Ok((place, record))
    }

    /// Returns the image before one in a place: what a tag of it named until it named this one; of several, the newest.
    ///
    /// What a tag names for the first time has none, and neither has what its tags do not name any more.
    pub async fn before(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        location: &Location,
    ) -> Result<Option<(Tag, Tagged)>, StoreError> {
        let Presence::Present { tags, .. } = &location.presence else {
            return Ok(None);
        };
        let mut newest: Option<(Tag, Tagged)> = None;
        for tag in tags.iter().take(LOOKED_AT) {
            let (place, record) = self.tag(scope, location, tag).await?;
            let before = record
                .filter(|record| record.now.digest == *digest)
                .and_then(|record| record.before);
            if let Some(before) = before
                && newest
                    .as_ref()
                    .is_none_or(|(_, newest)| newest.observed_at < before.observed_at)
            {
                newest = Some((place.tag, before));
            }
        }
        Ok(newest)
    }

    /// Notes that tags name another image now, together with what is told and shown of it, unless somebody else did
    /// meanwhile or the image has changed since its state was read; tells whether it did.
    pub async fn move_tags(
        &self,
        scope: &TenantScope,
        places: &[&TagPlace],
        to: &Tagged,
        mut news: Option<&Notification>,
        mut shown: Option<(&ImageState, ChangeCounts)>,
    ) -> Result<bool, StoreError> {
        for some in places.chunks(AT_ONCE) {
            let put = |place: &&TagPlace| {
                let condition = place.revision.map_or(Condition::Absent, Condition::Unchanged);
                let record = Record {
                    now: *to,
                    before: place.before,
                };
                Write::put(place.key(scope), &record, condition)
            };
            let mut writes: Vec<Write> = some.iter().map(put).collect();
            if let Some(news) = news.take() {
                writes.extend(notification::note(scope, &to.digest, news));
            }
            if let Some((state, changes)) = shown.take() {
                writes.extend(state.compared(scope, changes));
            }
            if !try_write(&*self.store, &writes).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets some of what an integration's tags named, at most `limit`; tells whether there was any.
    pub(crate) async fn forget_tags(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        limit: usize,
    ) -> Result<bool, StoreError> {
        let page = self
            .store
            .query(&partition(scope, integration), "", None, limit)
            .await?;
        let writes: Vec<Write> = page
            .items
            .iter()
            .map(|item| super::delete(item.key.clone()))
            .collect();
        self.write_all(&writes).await?;
        Ok(!writes.is_empty())
    }
}
