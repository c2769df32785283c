//! All of one image, and what lists need of it.
//!
//! An image's partition holds its locations, its scans and its summary. The summary follows from the others, and its
//! revision guards them: whatever changes what it follows from writes it, too, so that of two changes at once one is made
//! again. The entries of the lists are copies, moved in the same transaction.

use portwarden_oci::Digest;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ChangeCounts, FindingCounts, ImageSummary, KnownPlace, LatestScan, Located, Location, RepositoryId,
    list::{newest_key, repository_key},
    place::Forgetting,
    scan::ScanRecord,
    waiting::waiting_entry,
};
use crate::{
    id::IntegrationId,
    inventory::Matching,
    scope::TenantScope,
    store::{Condition, Key, Partition, Revision, Store, StoreError, Stored, Write},
};

/// An image as it was read, with the revisions of its items.
pub(super) struct ImageRecord {
    digest: Digest,
    locations: Vec<Item<Location>>,
    scans: Vec<Item<ScanRecord>>,
    summary: Option<Item<ImageSummary>>,
    matching: Option<Matching>,
}

struct Item<T> {
    key: Key,
    revision: Revision,
    body: T,
}

fn partition(scope: &TenantScope, digest: &Digest) -> Partition {
    scope.partition(&["image", &digest.to_string()])
}

pub(super) fn scan_key(scope: &TenantScope, digest: &Digest, catalog_version: u32) -> Key {
    partition(scope, digest).key(&[SCAN, &catalog_version.to_string()])
}

pub(super) fn summary_key(scope: &TenantScope, digest: &Digest) -> Key {
    partition(scope, digest).key(&[SUMMARY])
}

fn location_key(scope: &TenantScope, digest: &Digest, location: &Location) -> Key {
    let Location {
        account,
        region,
        repository,
        ..
    } = location;
    partition(scope, digest).key(&[LOCATION, account.as_str(), region.as_str(), repository.as_str()])
}

const LOCATION: &str = "location";
const SCAN: &str = "scan";
pub(crate) const SUMMARY: &str = "summary";

/// What [`crate::inventory`] keeps beside them.
const MATCHING: &str = "matching";

impl<T: DeserializeOwned> Item<T> {
    fn of(stored: &Stored) -> Result<Self, StoreError> {
        Ok(Self {
            key: stored.key.clone(),
            revision: stored.revision,
            body: stored.parse()?,
        })
    }
}

impl<T> Item<T> {
    fn delete(&self) -> Write {
        Write::Delete {
            key: self.key.clone(),
            condition: Condition::Unchanged(self.revision),
        }
    }
}

impl ImageRecord {
    /// Reads all of an image.
    pub(super) async fn read(
        store: &dyn Store,
        scope: &TenantScope,
        digest: &Digest,
    ) -> Result<Self, StoreError> {
        let partition = partition(scope, digest);
        let mut image = Self {
            digest: *digest,
            locations: Vec::new(),
            scans: Vec::new(),
            summary: None,
            matching: None,
        };
        let mut after: Option<Key> = None;
        loop {
            let page = store.query(&partition, "", after.as_ref(), 100).await?;
            for item in &page.items {
                match item.key.sort().split('#').next() {
                    Some(LOCATION) => image.locations.push(Item::of(item)?),
                    Some(SCAN) => image.scans.push(Item::of(item)?),
                    Some(SUMMARY) => image.summary = Some(Item::of(item)?),
                    Some(MATCHING) => image.matching = Some(item.parse()?),
                    _ => {}
                }
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more {
                return Ok(image);
            }
        }
    }

    pub(super) fn into_locations(self) -> Vec<Location> {
        self.locations.into_iter().map(|item| item.body).collect()
    }

    /// Returns a scan with the condition that nobody wrote it in the meantime.
    pub(super) fn scan(&self, key: &Key) -> Option<(&ScanRecord, Condition)> {
        let item = self.scans.iter().find(|item| item.key == *key)?;
        Some((&item.body, Condition::Unchanged(item.revision)))
    }

    /// The writes that note an observation; none if it says nothing new.
    pub(super) fn observe(mut self, scope: &TenantScope, observed: &Location) -> Vec<Write> {
        let key = location_key(scope, &self.digest, observed);
        let index = self.locations.iter().position(|item| item.key == key);
        let before = index.map(|index| self.locations.swap_remove(index));
        let location = match &before {
            Some(before) => before.body.clone().merge(observed.clone()),
            None => observed.clone(),
        };
        if before.as_ref().is_some_and(|before| before.body == location) {
            return Vec::new();
        }
        let condition = condition(before.as_ref());
        let mut writes = vec![Write::put(key.clone(), &location, condition)];
        if before.is_none() {
            let repository = RepositoryId::of(&location);
            writes.push(Write::put(repository.key(scope), &repository, Condition::None));
        }
        if before
            .as_ref()
            .is_none_or(|before| before.body.integration != location.integration)
        {
            let place = KnownPlace::of(self.digest, &location);
            writes.push(Write::put(
                place.key(scope, &location.integration),
                &place,
                Condition::None,
            ));
        }
        let old = before.as_ref().and_then(|before| self.entry(scope, &before.body));
        push_moved(&mut writes, old.as_ref(), self.entry(scope, &location).as_ref());
        // Nothing but its content counts from here on.
        self.locations.push(Item {
            key,
            revision: Revision(0),
            body: location,
        });
        self.push_summary(scope, &mut writes);
        writes
    }

    /// The entry of a place in the list of its repository, if the image lies there.
    fn entry(&self, scope: &TenantScope, location: &Location) -> Option<(Key, Located)> {
        let entry = Located {
            digest: self.digest,
            location: location.clone(),
        };
        location
            .is_present()
            .then(|| (repository_key(scope, &entry), entry))
    }

    /// The writes that forget the image in a place of an integration, and all of it if no place is left.
    pub(super) fn forget(
        mut self,
        scope: &TenantScope,
        integration: &IntegrationId,
        place: &RepositoryId,
    ) -> Forgetting {
        let mut writes = Vec::new();
        let is_it = |item: &Item<Location>| {
            RepositoryId::of(&item.body) == *place && item.body.integration == *integration
        };
        let Some(index) = self.locations.iter().position(is_it) else {
            return Forgetting {
                writes,
                last_of: None,
                was_there: false,
            };
        };
        let location = self.locations.swap_remove(index);
        let old = self.entry(scope, &location.body);
        push_moved(&mut writes, old.as_ref(), None);
        writes.push(location.delete());
        if !self.locations.is_empty() {
            self.push_summary(scope, &mut writes);
            return Forgetting {
                writes,
                last_of: None,
                was_there: true,
            };
        }
        if let Some(summary) = &self.summary {
            if summary.body.place_count > 0 {
                let (key, condition) = (newest_key(scope, &summary.body), Condition::None);
                writes.push(Write::Delete { key, condition });
            }
            push_moved(&mut writes, waiting_entry(scope, &summary.body).as_ref(), None);
            writes.push(summary.delete());
        }
        writes.extend(self.scans.iter().map(Item::delete));
        let version = |item: &Item<ScanRecord>| item.key.sort().rsplit('#').next()?.parse().ok();
        Forgetting {
            writes,
            last_of: Some(self.scans.iter().filter_map(version).collect()),
            was_there: true,
        }
    }

    /// The writes that note that a scan is done, apart from the scan itself.
    pub(super) fn scanned(mut self, scope: &TenantScope, key: &Key, record: ScanRecord) -> Vec<Write> {
        let mut writes = Vec::new();
        self.scans.retain(|item| item.key != *key);
        self.scans.push(Item {
            key: key.clone(),
            revision: Revision(0),
            body: record,
        });
        self.push_summary(scope, &mut writes);
        writes
    }

    fn push_summary(&self, scope: &TenantScope, writes: &mut Vec<Write>) {
        let locations = self.locations.iter().map(|item| &item.body);
        let findings = self.matching.as_ref().and_then(Matching::findings);
        let changes = self.summary.as_ref().and_then(|before| before.body.changes);
        let Some(summary) = ImageSummary::of(self.digest, locations, self.latest_scan(), findings, changes)
        else {
            return;
        };
        writes.push(Write::put(
            summary_key(scope, &self.digest),
            &summary,
            condition(self.summary.as_ref()),
        ));
        let entry = |summary: &ImageSummary| {
            let is_listed = summary.place_count > 0;
            is_listed.then(|| (newest_key(scope, summary), summary.clone()))
        };
        let old = self.summary.as_ref().and_then(|before| entry(&before.body));
        push_moved(writes, old.as_ref(), entry(&summary).as_ref());
        let before = self.summary.as_ref();
        let waited = before.and_then(|before| waiting_entry(scope, &before.body));
        push_moved(writes, waited.as_ref(), waiting_entry(scope, &summary).as_ref());
    }

    fn latest_scan(&self) -> Option<LatestScan> {
        let done = self.scans.iter().filter_map(|item| {
            let version = item.key.sort().rsplit('#').next()?.parse().ok()?;
            match &item.body {
                ScanRecord::Done(summary) => Some(LatestScan::of(version, summary)),
                ScanRecord::Running { .. } | ScanRecord::Open => None,
            }
        });
        done.max_by_key(|scan| scan.catalog_version)
    }
}

/// The writes that let lists show how many findings of an image count, if `summary` is what they show now.
pub(crate) fn counted(
    scope: &TenantScope,
    (revision, summary): (Revision, &ImageSummary),
    findings: Option<FindingCounts>,
) -> Vec<Write> {
    let now = ImageSummary {
        findings,
        ..summary.clone()
    };
    shown(scope, (revision, summary), &now)
}

/// The writes that let lists show how an image differs from the one before it.
pub(crate) fn compared(
    scope: &TenantScope,
    (revision, summary): (Revision, &ImageSummary),
    changes: ChangeCounts,
) -> Vec<Write> {
    let now = ImageSummary {
        changes: Some(changes),
        ..summary.clone()
    };
    shown(scope, (revision, summary), &now)
}

/// The writes that let lists show something else of an image that stays where it is in them.
fn shown(
    scope: &TenantScope,
    (revision, before): (Revision, &ImageSummary),
    now: &ImageSummary,
) -> Vec<Write> {
    if now == before {
        return Vec::new();
    }
    let key = summary_key(scope, &now.digest);
    let mut writes = vec![Write::put(key, now, Condition::Unchanged(revision))];
    if now.place_count > 0 {
        writes.push(Write::put(newest_key(scope, now), now, Condition::None));
    }
    writes
}

fn condition<T>(before: Option<&Item<T>>) -> Condition {
    before.map_or(Condition::Absent, |before| Condition::Unchanged(before.revision))
}

/// Puts an entry of a list in its place, and takes the old one away if that lay elsewhere.
fn push_moved<T: PartialEq + Serialize>(
    writes: &mut Vec<Write>,
    old: Option<&(Key, T)>,
    new: Option<&(Key, T)>,
) {
    if old == new {
        return;
    }
    if let Some((key, _)) = old.filter(|(key, _)| new.is_none_or(|(new, _)| new != key)) {
        let (key, condition) = (key.clone(), Condition::None);
        writes.push(Write::Delete { key, condition });
    }
    if let Some((key, entry)) = new {
        writes.push(Write::put(key.clone(), entry, Condition::None));
    }
}
