//! Lists of images: all of a tenant with the newest first, those of a repository, and the repositories themselves.

use std::{collections::BTreeMap, fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Images, Location, Presence, ScanResult, ScanSummary, record::summary_key};
use crate::{
    ecr::RegistryId,
    id::{AccountId, IntegrationId, Region},
    scope::TenantScope,
    store::{Key, Partition, StoreError, prefix},
    work::KnownBy,
};

/// How many of an image's places a list shows.
const MAX_PLACES: usize = 5;

/// How many tags of a place a list shows; ECR allows a thousand.
const MAX_TAGS: usize = 10;

/// How many entries of a list are looked through for a page of those that are wanted.
const LOOKED_THROUGH: usize = 1000;

/// An image as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// The image.
    pub digest: Digest,
    /// When it was pushed last, as far as ECR says so, or else when it became known; lists begin with the newest.
    pub since: Timestamp,
    /// When it became known.
    pub known_at: Timestamp,
    /// How it became known.
    pub known_by: KnownBy,
    /// The first places where it lies, in the order in which they became known.
    pub places: Vec<PlaceSummary>,
    /// In how many places it lies.
    pub place_count: usize,
    /// How its scan by the newest catalog ended; none if it waits for one.
    pub scan: Option<LatestScan>,
    /// How many findings count; none if its packages were not compared with advisories yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<FindingCounts>,
    /// How it differed from the image before it when it came; none if a tag named it as its first, or if it was never told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<ChangeCounts>,
}

/// How an image differs from the one that a tag of it named before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCounts {
    /// The image before.
    pub before: Digest,
    /// How many findings count now and did not before.
    pub new: usize,
    /// How many counted before and are gone.
    pub fixed: usize,
}

/// How many findings of an image count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FindingCounts {
    /// How many there are of each severity.
    pub by_severity: BTreeMap<String, usize>,
    /// How many of them have a fix.
    pub fixable: usize,
}

/// A place where an image lies, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceSummary {
    /// The integration whose role opens it.
    pub integration: IntegrationId,
    /// The registry's account.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The first tags that point to it.
    pub tags: Vec<Tag>,
    /// How many tags point to it.
    pub tag_count: usize,
    /// Whether it is archived, so that its layers cannot be read.
    pub archived: bool,
}

/// How the newest scan of an image ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestScan {
    /// The version of the catalog.
    pub catalog_version: u32,
    /// When it ended.
    pub at: Timestamp,
    /// What it found, or why it could not.
    #[serde(flatten)]
    pub result: ScanResult,
}

/// An image in a repository where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The image.
    pub digest: Digest,
    /// Where, and with which tags.
    #[serde(flatten)]
    pub location: Location,
}

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepositoryId {
    /// The registry's account.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// Where a page of a list begins; only this module knows what it says.
///
/// It names a place within a list of the tenant that asks, so a foreign one shows nothing of anybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a cursor as it came with the page before")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl Cursor {
    /// Names the place of a list's last item.
    pub(crate) fn at(key: &Key) -> Self {
        Self(key.sort().to_owned())
    }

    /// Returns the key that a list goes on behind.
    pub(crate) fn behind(&self, partition: &Partition) -> Key {
        partition.stored_key(self.0.clone())
    }
}

impl<T> List<T> {
    /// Makes a list of nothing.
    pub(crate) fn empty() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let sort = String::from_utf8(bytes).map_err(|_| CursorError)?;
        // The table's limit for a sort key.
        if (1..=1024).contains(&sort.len()) {
            Ok(Self(sort))
        } else {
            Err(CursorError)
        }
    }
}

impl ImageSummary {
    /// Sums an image up; none if nobody ever saw it anywhere.
    pub(super) fn of<'a>(
        digest: Digest,
        locations: impl Iterator<Item = &'a Location> + Clone,
        scan: Option<LatestScan>,
        findings: Option<FindingCounts>,
        changes: Option<ChangeCounts>,
    ) -> Option<Self> {
        let (known_at, known_by) = locations
            .clone()
            .map(|location| (location.known_at, location.known_by))
            .min()?;
        let mut present: Vec<&Location> = locations.filter(|location| location.is_present()).collect();
        present.sort_by_key(|location| {
            let Location {
                account,
                region,
                repository,
                ..
            } = location;
            (location.known_at, account, region, repository)
        });
        let since = present.iter().map(|location| location.since()).max();
        Some(Self {
            digest,
            since: since.unwrap_or(known_at),
            known_at,
            known_by,
            places: present
                .iter()
                .take(MAX_PLACES)
                .filter_map(|location| PlaceSummary::of(location))
                .collect(),
            place_count: present.len(),
            scan,
            findings,
            changes,
        })
    }
}

impl PlaceSummary {
    fn of(location: &Location) -> Option<Self> {
        let Presence::Present { tags, archived, .. } = &location.presence else {
            return None;
        };
        Some(Self {
            integration: location.integration.clone(),
            account: location.account.clone(),
            region: location.region.clone(),
            repository: location.repository.clone(),
            tags: tags.iter().take(MAX_TAGS).cloned().collect(),
            tag_count: tags.len(),
            archived: *archived,
        })
    }
}

impl LatestScan {
    pub(super) fn of(catalog_version: u32, summary: &ScanSummary) -> Self {
        Self {
            catalog_version,
            at: summary.at,
            result: summary.result.clone(),
        }
    }
}

impl RepositoryId {
    pub(super) fn of(location: &Location) -> Self {
        Self {
            account: location.account.clone(),
            region: location.region.clone(),
            repository: location.repository.clone(),
        }
    }

    /// Names a repository of a registry.
    pub fn in_registry(registry: &RegistryId, repository: RepositoryName) -> Self {
        Self {
            account: registry.account.clone(),
            region: registry.region.clone(),
            repository,
        }
    }

    pub(super) fn key(&self, scope: &TenantScope) -> Key {
        let parts = [
            self.account.as_str(),
            self.region.as_str(),
            self.repository.as_str(),
        ];
        repositories(scope).key(&parts)
    }

    /// The images that lie in the repository.
    fn images(&self, scope: &TenantScope) -> Partition {
        let (account, region) = (self.account.as_str(), self.region.as_str());
        scope.partition(&["repository", account, region, self.repository.as_str()])
    }
}

fn repositories(scope: &TenantScope) -> Partition {
    scope.partition(&["repositories"])
}

/// All images of a tenant that lie anywhere.
///
/// One partition a tenant: its newest images are written and read at one end whatever it is divided by, and `DynamoDB`
/// itself divides a large one.
fn images(scope: &TenantScope) -> Partition {
    scope.partition(&["images"])
}

/// The key of an image's entry in its tenant's list.
pub(super) fn newest_key(scope: &TenantScope, summary: &ImageSummary) -> Key {
    newest_first(&images(scope), summary.since, &summary.digest)
}

/// The key of an image's entry in the list of a repository.
pub(super) fn repository_key(scope: &TenantScope, entry: &Located) -> Key {
    let images = RepositoryId::of(&entry.location).images(scope);
    newest_first(&images, entry.location.since(), &entry.digest)
}

/// Keys are read in ascending order, so time is counted backwards.
fn newest_first(partition: &Partition, time: Timestamp, digest: &Digest) -> Key {
    let backwards = i64::MAX - time.as_millisecond();
    partition.key(&[&format!("{backwards:020}"), &digest.to_string()])
}

/// Tells whether a tag has a text in it that is written in lower case.
fn contains(tag: &Tag, text: &str) -> bool {
    tag.as_str().to_ascii_lowercase().contains(text)
}

impl Images {
    /// Returns a page of a tenant's images that lie anywhere, the newest first: one query of the table.
    pub async fn newest(
        &self,
        scope: &TenantScope,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<ImageSummary>, StoreError> {
        self.list(&images(scope), "", after, limit).await
    }

    /// Returns a page of the images that lie in a repository, the newest first.
    pub async fn in_repository(
        &self,
        scope: &TenantScope,
        repository: &RepositoryId,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<Located>, StoreError> {
        self.list(&repository.images(scope), "", after, limit).await
    }

    /// Returns images that have a tag with this text in it, the newest first, of the next thousand images: one query of the
    /// table.
    ///
    /// There may be none among them and more behind them. Of an image, the tags count that the list shows.
    pub async fn newest_tagged(
        &self,
        scope: &TenantScope,
        text: &str,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<ImageSummary>, StoreError> {
        let text = text.to_ascii_lowercase();
        let is_wanted = |image: &ImageSummary| {
            let mut tags = image.places.iter().flat_map(|place| &place.tags);
            tags.any(|tag| contains(tag, &text))
        };
        self.look_through(&images(scope), after, limit, is_wanted).await
    }

    /// Does the same within a repository, where all tags count.
    pub async fn in_repository_tagged(
        &self,
        scope: &TenantScope,
        repository: &RepositoryId,
        text: &str,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<Located>, StoreError> {
        let text = text.to_ascii_lowercase();
        let is_wanted = |located: &Located| match &located.location.presence {
            Presence::Present { tags, .. } => tags.iter().any(|tag| contains(tag, &text)),
            Presence::Deleted => false,
        };
        self.look_through(&repository.images(scope), after, limit, is_wanted)
            .await
    }

    /// Returns a page of a tenant's repositories, or of one registry's, in the order of their names: all in which an image
    /// lies or lay.
    pub async fn repositories(
        &self,
        scope: &TenantScope,
        registry: Option<&RegistryId>,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<RepositoryId>, StoreError> {
        let prefix = registry.map(|registry| prefix(&[registry.account.as_str(), registry.region.as_str()]));
        self.list(&repositories(scope), &prefix.unwrap_or_default(), after, limit)
            .await
    }

    /// Returns an image as lists show it, wherever it lies or lay.
    pub async fn summary(
        &self,
        scope: &TenantScope,
        digest: &Digest,
    ) -> Result<Option<ImageSummary>, StoreError> {
        let stored = self.store.get(&summary_key(scope, digest)).await?;
        stored.map(|stored| stored.parse()).transpose()
    }

    async fn look_through<T: DeserializeOwned>(
        &self,
        partition: &Partition,
        after: Option<&Cursor>,
        limit: usize,
        is_wanted: impl Fn(&T) -> bool + Send,
    ) -> Result<List<T>, StoreError> {
        let after = after.map(|cursor| cursor.behind(partition));
        let page = self
            .store
            .query(partition, "", after.as_ref(), LOOKED_THROUGH)
            .await?;
        let mut found = List::empty();
        let mut last = None;
        for item in &page.items {
            let entry = item.parse()?;
            if !is_wanted(&entry) {
                continue;
            }
            if found.items.len() == limit {
                found.next = last.map(Cursor::at);
                return Ok(found);
            }
            found.items.push(entry);
            last = Some(&item.key);
        }
        let looked_at = page.items.last().filter(|_| page.more);
        found.next = looked_at.map(|item| Cursor::at(&item.key));
        Ok(found)
    }

    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<T>, StoreError> {
        // A cursor of another list names no place in this one, and the table refuses it.
        let after = after
            .filter(|cursor| cursor.0.starts_with(prefix))
            .map(|cursor| partition.stored_key(cursor.0.clone()));
        let page = self.store.query(partition, prefix, after.as_ref(), limit).await?;
        let last = page.items.last().filter(|_| page.more);
        Ok(List {
            next: last.map(|item| Cursor(item.key.sort().to_owned())),
            items: page
                .items
                .iter()
                .map(crate::store::Stored::parse)
                .collect::<Result<_, _>>()?,
        })
    }
}
