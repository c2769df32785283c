//! What a tenant's images hold: where each package is, what each image was matched with, and which images have a flaw.
//!
//! Everything lies in the tenant's own partitions. Nothing tells from an advisory which tenants it concerns: a rematch
//! asks each tenant's index for the packages that changed, and learns nothing that crosses tenants.

mod packages;
mod tags;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

pub use self::{
    packages::{Entry, Holder, PackageKey},
    tags::{TagPlace, Tagged},
};
use crate::{
    id::NotificationId,
    image::{self, ChangeCounts, Cursor, FindingCounts, ImageSummary, List, Location, Presence},
    notification::{self, Notification},
    scope::TenantScope,
    store::{
        Condition, Key, MAX_WRITES, Partition, Revision, Store, StoreError, Stored, Write, contended, prefix,
        try_write,
    },
};

/// The packages and findings of a tenant's images.
#[derive(Clone)]
pub struct Inventory {
    store: Arc<dyn Store>,
}

/// What an image was matched with, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matching {
    /// The version of the catalog that found the packages.
    pub catalog_version: u32,
    /// The edition of the advisory database; none if the image is not matched yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<u64>,
    /// Which scan of ECR's own was merged, by its stamp; none if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_scan: Option<String>,
    /// When.
    pub at: Timestamp,
    /// How many findings of each severity count.
    #[serde(default)]
    pub counts: BTreeMap<String, usize>,
    /// How many of those have a fix.
    #[serde(default)]
    pub fixable: usize,
    /// Whether the findings that belong to this are written, too.
    #[serde(default)]
    pub written: bool,
}

/// What is known of an image, by one read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageState {
    /// Where it lies or lay.
    pub locations: Vec<Location>,
    /// What it was matched with, if its packages are in the index.
    pub matching: Option<Matching>,
    /// What was noted about it and is not queued yet.
    pub untold: Vec<NotificationId>,
    revision: Option<Revision>,
    /// What lists show of it, and how often that was written.
    summary: Option<(Revision, ImageSummary)>,
}

impl Matching {
    /// Returns how many findings count, if the packages were compared with advisories.
    pub fn findings(&self) -> Option<FindingCounts> {
        self.edition.map(|_| FindingCounts {
            by_severity: self.counts.clone(),
            fixable: self.fixable,
        })
    }
}

impl ImageState {
    /// Tells whether the image is there, in some place, and not archived.
    pub fn is_live(&self) -> bool {
        self.live().next().is_some()
    }

    /// Tells whether a place is the one that lists show first.
    pub fn is_shown_first(&self, location: &Location) -> bool {
        let shown = self
            .summary
            .as_ref()
            .and_then(|(_, summary)| summary.places.first());
        shown.is_some_and(|place| {
            (&place.account, &place.region, &place.repository)
                == (&location.account, &location.region, &location.repository)
        })
    }

    /// The writes that let lists show how the image differs from the one before it.
    fn compared(&self, scope: &TenantScope, changes: ChangeCounts) -> Vec<Write> {
        let summary = self.summary.as_ref();
        summary.map_or_else(Vec::new, |(revision, summary)| {
            image::compared(scope, (*revision, summary), changes)
        })
    }

    /// Returns the places where the image is and can be used.
    pub fn live(&self) -> impl Iterator<Item = &Location> {
        let is_live =
            |location: &&Location| matches!(location.presence, Presence::Present { archived: false, .. });
        self.locations.iter().filter(is_live)
    }
}

/// How many items one read takes.
const PAGE: usize = 1000;

fn image_partition(scope: &TenantScope, digest: &Digest) -> Partition {
    scope.partition(&["image", &digest.to_string()])
}

fn matching_key(scope: &TenantScope, digest: &Digest) -> Key {
    image_partition(scope, digest).key(&["matching"])
}

fn unmatched_key(scope: &TenantScope, digest: &Digest) -> Key {
    scope.partition(&["unmatched"]).key(&[&digest.hex()])
}

fn finding_key(scope: &TenantScope, id: &str, digest: &Digest) -> Key {
    scope.partition(&["findings"]).key(&[id, &digest.hex()])
}

/// An id comes from an advisory; one that no key holds is none that anybody looks for.
fn is_indexed(id: &str) -> bool {
    id.len() <= 128
}

impl Inventory {
    /// Opens the inventory in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Reads what is known of an image.
    pub async fn image(&self, scope: &TenantScope, digest: &Digest) -> Result<ImageState, StoreError> {
        let partition = image_partition(scope, digest);
        let mut state = ImageState::default();
        let mut after: Option<Key> = None;
        loop {
            let page = self.store.query(&partition, "", after.as_ref(), PAGE).await?;
            for item in &page.items {
                if item.key.sort().starts_with("location#") {
                    state.locations.push(item.parse()?);
                } else if item.key.sort() == "matching" {
                    state.matching = Some(item.parse()?);
                    state.revision = Some(item.revision);
                } else if item.key.sort() == image::SUMMARY {
                    state.summary = Some((item.revision, item.parse()?));
                } else {
                    state.untold.extend(notification::marked(item.key.sort()));
                }
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more {
                return Ok(state);
            }
        }
    }

    /// Keeps what an image was matched with, and shows it in lists, unless somebody else did or the image has changed since
    /// `state` was read; tells whether it did.
    ///
    /// An image without an edition waits for one: see [`Inventory::unmatched`]. `news` is what is told of it, if anything.
    pub async fn keep_matching(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        state: &ImageState,
        matching: &Matching,
        news: Option<&Notification>,
    ) -> Result<bool, StoreError> {
        let condition = state.revision.map_or(Condition::Absent, Condition::Unchanged);
        let mut writes = vec![Write::put(matching_key(scope, digest), matching, condition)];
        let was_unmatched = state
            .matching
            .as_ref()
            .is_none_or(|before| before.edition.is_none());
        if matching.edition.is_none() {
            let empty = serde_json::Map::new();
            writes.push(Write::put(unmatched_key(scope, digest), &empty, Condition::None));
        } else if was_unmatched {
            writes.push(delete(unmatched_key(scope, digest)));
        }
        if let Some((revision, summary)) = &state.summary {
            writes.extend(image::counted(scope, (*revision, summary), matching.findings()));
        }
        if let Some(news) = news {
            writes.extend(notification::note(scope, digest, news));
        }
        try_write(&*self.store, &writes).await
    }

    /// Marks that the findings are written that belong to a matching, which was kept just now upon `state`.
    ///
    /// Nothing is read for it; if somebody else has matched the image meanwhile, there is nothing to mark.
    pub async fn mark_written(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        state: &ImageState,
        matching: &Matching,
    ) -> Result<(), StoreError> {
        let kept = Revision(state.revision.map_or(1, |revision| revision.0 + 1));
        let written = Matching {
            written: true,
            ..matching.clone()
        };
        let write = Write::put(matching_key(scope, digest), &written, Condition::Unchanged(kept));
        try_write(&*self.store, &[write]).await.map(drop)
    }

    /// Returns images whose packages are known and that were matched with nothing yet.
    pub async fn unmatched(
        &self,
        scope: &TenantScope,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<Digest>, StoreError> {
        let partition = scope.partition(&["unmatched"]);
        self.list(&partition, "", after, limit, |item| digest_of(item.key.sort()))
            .await
    }

    /// Notes which flaws an image has now and which it has no longer, by every name that they have.
    pub async fn note_findings(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        new: &[&str],
        gone: &[&str],
    ) -> Result<(), StoreError> {
        let empty = serde_json::Map::new();
        let puts = new.iter().filter(|id| is_indexed(id));
        let puts = puts.map(|id| Write::put(finding_key(scope, id, digest), &empty, Condition::None));
        let deletes = gone.iter().filter(|id| is_indexed(id));
        let deletes = deletes.map(|id| delete(finding_key(scope, id, digest)));
        let writes: Vec<Write> = puts.chain(deletes).collect();
        self.write_all(&writes).await
    }

    /// Returns the images that have a flaw, by any of its names.
    pub async fn images_with_finding(
        &self,
        scope: &TenantScope,
        id: &str,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<Digest>, StoreError> {
        if !is_indexed(id) {
            return Ok(List::empty());
        }
        let partition = scope.partition(&["findings"]);
        self.list(&partition, &prefix(&[id]), after, limit, |item| {
            digest_of(item.key.sort())
        })
        .await
    }

    /// Takes an image out of the index: its packages and its flaws, and then that it was matched.
    pub async fn leave(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        packages: &[&PackageKey],
        findings: &[&str],
    ) -> Result<(), StoreError> {
        let packages = packages
            .iter()
            .filter_map(|key| packages::entry_key(scope, key, digest));
        let findings = findings.iter().filter(|id| is_indexed(id));
        let findings = findings.map(|id| finding_key(scope, id, digest));
        let own = [unmatched_key(scope, digest)];
        let writes: Vec<Write> = packages.chain(findings).chain(own).map(delete).collect();
        self.write_all(&writes).await?;
        // Last, so that whoever comes back after a crash finds that there is something to do.
        self.write_all(&[delete(matching_key(scope, digest))]).await
    }

    /// Makes writes that have no condition, a transaction after the other.
    async fn write_all(&self, writes: &[Write]) -> Result<(), StoreError> {
        for writes in writes.chunks(MAX_WRITES) {
            if !try_write(&*self.store, writes).await? {
                return Err(contended());
            }
        }
        Ok(())
    }

    async fn list<T>(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Cursor>,
        limit: usize,
        read: impl Fn(&Stored) -> Option<T> + Send,
    ) -> Result<List<T>, StoreError> {
        let after = after.map(|cursor| cursor.behind(partition));
        let page = self.store.query(partition, prefix, after.as_ref(), limit).await?;
        let next = page
            .items
            .last()
            .filter(|_| page.more)
            .map(|item| Cursor::at(&item.key));
        Ok(List {
            items: page.items.iter().filter_map(read).collect(),
            next,
        })
    }
}

fn delete(key: Key) -> Write {
    Write::Delete {
        key,
        condition: Condition::None,
    }
}

/// Reads the digest that a sort key ends with.
fn digest_of(sort: &str) -> Option<Digest> {
    let hex = sort.rsplit('#').next()?;
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests;
