//! Images: where each lies, the one scan that each gets for a version of the catalog, and the lists of them.
//!
//! All of one image lies in one partition of its tenant. What lists need is written in the same transaction as what it
//! follows from, so that a list never tells anything else than the image itself: see [`record`].

mod list;
mod place;
mod record;
mod scan;
mod waiting;

#[cfg(test)]
mod tests;

use std::{cmp::max_by_key, collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};

use self::record::ImageRecord;
use crate::{
    id::{AccountId, IntegrationId, Region},
    scope::TenantScope,
    store::{ATTEMPTS, Store, StoreError, contended, try_write},
    work::KnownBy,
};

pub use list::{
    ChangeCounts, Cursor, CursorError, FindingCounts, ImageSummary, LatestScan, List, Located, PlaceSummary,
    RepositoryId,
};
pub(crate) use place::KnownPlace;
pub(crate) use record::{SUMMARY, compared, counted};
pub use scan::{Claimed, FinishError, Released, ScanLease, ScanResult, ScanSummary};
pub use waiting::WaitingImage;

/// The images of tenants.
#[derive(Clone)]
pub struct Images {
    store: Arc<dyn Store>,
}

/// A place where an image lies, or lay: a repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The integration whose role opens it.
    pub integration: IntegrationId,
    /// The registry's account.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// What ECR said.
    pub presence: Presence,
    /// When ECR was asked; a later answer wins over an earlier one, whichever is stored first.
    pub observed_at: Timestamp,
    /// How we first knew of it.
    pub known_by: KnownBy,
    /// When we first knew of it.
    pub known_at: Timestamp,
}

/// What ECR said of an image in a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Presence {
    /// It is there.
    Present {
        /// The tags that point to it.
        tags: BTreeSet<Tag>,
        /// When it was pushed.
        pushed_at: Option<Timestamp>,
        /// Whether it is archived, so that its layers cannot be read.
        archived: bool,
    },
    /// ECR itself said that it is not there.
    Deleted,
}

impl Location {
    /// Returns whether the image is there.
    pub fn is_present(&self) -> bool {
        matches!(self.presence, Presence::Present { .. })
    }

    /// Returns when it was pushed, as far as ECR says so, or else when it became known.
    pub fn since(&self) -> Timestamp {
        match self.presence {
            Presence::Present {
                pushed_at: Some(pushed_at),
                ..
            } => pushed_at,
            Presence::Present { pushed_at: None, .. } | Presence::Deleted => self.known_at,
        }
    }

    /// Returns what is known after two observations of one place, whichever came first.
    ///
    /// The later answer of ECR counts, and the earlier of the ways in which the place became known. Of two answers at the
    /// same time one wins that does not depend on their order.
    fn merge(self, other: Self) -> Self {
        let (known_at, known_by) = (self.known_at, self.known_by).min((other.known_at, other.known_by));
        let rank = |location: &Self| {
            let Self {
                observed_at,
                presence,
                integration,
                ..
            } = location.clone();
            (observed_at, presence, integration)
        };
        Self {
            known_by,
            known_at,
            ..max_by_key(self, other, rank)
        }
    }
}

impl Images {
    /// Opens the images in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Notes what ECR said of an image at a time; an earlier answer changes nothing of a later one.
    ///
    /// The lists are written in the same transaction.
    pub async fn observe(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        location: &Location,
    ) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let image = ImageRecord::read(&*self.store, scope, digest).await?;
            let writes = image.observe(scope, location);
            if writes.is_empty() || try_write(&*self.store, &writes).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Returns every place where the image lies or lay.
    pub async fn locations(&self, scope: &TenantScope, digest: &Digest) -> Result<Vec<Location>, StoreError> {
        let image = ImageRecord::read(&*self.store, scope, digest).await?;
        Ok(image.into_locations())
    }
}
