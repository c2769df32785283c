//! Images: where each lies, and the one scan that each gets for a version of the catalog.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};

use crate::{
    id::{AccountId, IntegrationId, Region, RequestId},
    problem::Problem,
    scope::TenantScope,
    store::{Change, Key, Partition, Store, StoreError, update},
    trace::TraceId,
    work::KnownBy,
};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// What became of an attempt to take up a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The scan is ours until the lease ends.
    Ours(ScanLease),
    /// Somebody else is at it, who may die or give up: whoever needs the scan comes again.
    Held {
        /// When the other's lease ends.
        until: Timestamp,
    },
    /// The scan is done.
    Done(ScanSummary),
}

/// The right to finish a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanLease {
    digest: Digest,
    catalog_version: u32,
    holder: RequestId,
    until: Timestamp,
}

/// How a scan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSummary {
    /// When it ended.
    pub at: Timestamp,
    /// The work that did it.
    pub request: RequestId,
    /// What that work belonged to.
    pub trace: TraceId,
    /// What it found, or why it could not.
    #[serde(flatten)]
    pub result: ScanResult,
    /// Whether the event on the bus was sent.
    pub announced: bool,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ScanResult {
    /// The report is there.
    Reported {
        /// How many packages were found.
        packages: usize,
        /// Whether some part could not be read; the report says which.
        partial: bool,
        /// How many bytes of layers were pulled.
        pulled_bytes: u64,
        /// How many bytes of layers were known already.
        spared_bytes: u64,
    },
    /// The content cannot be scanned, wherever it lies.
    Refused {
        /// Why.
        problem: Problem,
    },
}

/// What is stored of a scan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum ScanRecord {
    /// Somebody is at it.
    Running { holder: RequestId, until: Timestamp },
    /// Nobody is at it: no location could be read.
    Open,
    /// It is done.
    Done(ScanSummary),
}

/// What became of a scan that was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// The scan is open again.
    Open,
    /// The lease had ended and somebody else has the scan.
    Lost,
}

/// The lease had ended, and somebody else has the scan, or did it.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Somebody else has the scan, or did it.
    #[error("the lease on the scan was lost")]
    Lost,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn partition(scope: &TenantScope, digest: &Digest) -> Partition {
    scope.partition(&["image", &digest.to_string()])
}

fn scan_key(scope: &TenantScope, digest: &Digest, catalog_version: u32) -> Key {
    partition(scope, digest).key(&["scan", &catalog_version.to_string()])
}

fn location_key(scope: &TenantScope, digest: &Digest, location: &Location) -> Key {
    let Location {
        account,
        region,
        repository,
        ..
    } = location;
    partition(scope, digest).key(&["location", account.as_str(), region.as_str(), repository.as_str()])
}

impl ScanLease {
    fn running(&self) -> ScanRecord {
        ScanRecord::Running {
            holder: self.holder.clone(),
            until: self.until,
        }
    }

    /// Tells whether the scan is still held under this lease.
    fn holds(&self, record: Option<&ScanRecord>) -> bool {
        matches!(
            record,
            Some(ScanRecord::Running { holder, until }) if *holder == self.holder && *until == self.until
        )
    }
}

impl Images {
    /// Opens the images in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Notes what ECR said of an image at a time; an earlier answer changes nothing.
    ///
    /// How and when the location first became known is kept.
    pub async fn observe(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        location: &Location,
    ) -> Result<(), StoreError> {
        let key = location_key(scope, digest, location);
        update(&*self.store, &key, |before: Option<Location>| {
            let mut location = location.clone();
            if let Some(before) = before {
                if before.observed_at >= location.observed_at {
                    return Change::Keep(());
                }
                (location.known_by, location.known_at) = (before.known_by, before.known_at);
            }
            Change::Put(location, ())
        })
        .await
    }

    /// Returns every place where the image lies or lay.
    pub async fn locations(&self, scope: &TenantScope, digest: &Digest) -> Result<Vec<Location>, StoreError> {
        let partition = partition(scope, digest);
        let prefix = crate::store::prefix(&["location"]);
        let mut after: Option<Key> = None;
        let mut locations = Vec::new();
        loop {
            let page = self.store.query(&partition, &prefix, after.as_ref(), 100).await?;
            for item in &page.items {
                locations.push(item.parse()?);
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more {
                return Ok(locations);
            }
        }
    }

    /// Returns how the scan of an image ended, if it did.
    pub async fn scan(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<Option<ScanSummary>, StoreError> {
        let stored = self.store.get(&scan_key(scope, digest, catalog_version)).await?;
        Ok(match stored.map(|stored| stored.parse()).transpose()? {
            Some(ScanRecord::Done(summary)) => Some(summary),
            Some(ScanRecord::Running { .. } | ScanRecord::Open) | None => None,
        })
    }

    /// Takes up the scan of an image until `until`, unless it is done or somebody else is at it.
    pub async fn claim_scan(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
        holder: &RequestId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let key = scan_key(scope, digest, catalog_version);
        update(&*self.store, &key, |record| match record {
            Some(ScanRecord::Done(summary)) => Change::Keep(Claimed::Done(summary)),
            // The holder itself comes again when its message was delivered again after a crash.
            Some(ScanRecord::Running { holder: other, until }) if other != *holder && until > now => {
                Change::Keep(Claimed::Held { until })
            }
            Some(ScanRecord::Running { .. } | ScanRecord::Open) | None => {
                let lease = ScanLease {
                    digest: *digest,
                    catalog_version,
                    holder: holder.clone(),
                    until,
                };
                Change::Put(lease.running(), Claimed::Ours(lease))
            }
        })
        .await
    }

    /// Ends a scan; those who came while it ran are served by the same result.
    ///
    /// An end whose answer was lost on the way is found again, and counts.
    pub async fn finish_scan(
        &self,
        scope: &TenantScope,
        lease: &ScanLease,
        trace: TraceId,
        at: Timestamp,
        result: ScanResult,
    ) -> Result<ScanSummary, FinishError> {
        let key = scan_key(scope, &lease.digest, lease.catalog_version);
        let finished = update(&*self.store, &key, |record| {
            if let Some(ScanRecord::Done(summary)) = &record
                && (&summary.request, summary.at, &summary.result) == (&lease.holder, at, &result)
            {
                return Change::Keep(Some(summary.clone()));
            }
            if !lease.holds(record.as_ref()) {
                return Change::Keep(None);
            }
            let request = lease.holder.clone();
            let summary = ScanSummary {
                at,
                request,
                trace,
                result: result.clone(),
                announced: false,
            };
            Change::Put(ScanRecord::Done(summary.clone()), Some(summary))
        });
        finished.await?.ok_or(FinishError::Lost)
    }

    /// Gives a scan back because no location could be read.
    pub async fn release_scan(&self, scope: &TenantScope, lease: &ScanLease) -> Result<Released, StoreError> {
        let key = scan_key(scope, &lease.digest, lease.catalog_version);
        update(&*self.store, &key, |record| {
            if lease.holds(record.as_ref()) {
                Change::Put(ScanRecord::Open, Released::Open)
            } else {
                Change::Keep(Released::Lost)
            }
        })
        .await
    }

    /// Marks that the event about a scan was sent.
    pub async fn mark_announced(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<(), StoreError> {
        let key = scan_key(scope, digest, catalog_version);
        update(&*self.store, &key, |record| match record {
            Some(ScanRecord::Done(summary)) if !summary.announced => {
                let announced = true;
                Change::Put(ScanRecord::Done(ScanSummary { announced, ..summary }), ())
            }
            Some(ScanRecord::Done(_) | ScanRecord::Running { .. } | ScanRecord::Open) | None => {
                Change::Keep(())
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    use super::*;
    use crate::{id::TenantId, random::OsRandomness, store::MemoryStore};

    const VERSION: u32 = 1;

    struct World {
        images: Images,
        scope: TenantScope,
        digest: Digest,
        now: Timestamp,
    }

    impl World {
        fn new() -> Self {
            let images = Images::new(Arc::new(MemoryStore::default()));
            let scope = TenantScope::of(TenantId::generate(&OsRandomness));
            Self {
                images,
                scope,
                digest: Digest::of(b"image"),
                now: Timestamp::UNIX_EPOCH,
            }
        }

        async fn claim(&self, holder: &RequestId, minutes: i64) -> Claimed {
            let now = self.now + minutes.minutes();
            let until = now + 15.minutes();
            self.images
                .claim_scan(&self.scope, &self.digest, VERSION, holder, now, until)
                .await
                .unwrap()
        }

        async fn lease(&self, holder: &RequestId, minutes: i64) -> ScanLease {
            match self.claim(holder, minutes).await {
                Claimed::Ours(lease) => lease,
                other => panic!("expected a lease, got {other:?}"),
            }
        }

        fn location(&self, seconds: i64, presence: Presence) -> Location {
            let at = self.now + seconds.seconds();
            Location {
                integration: IntegrationId::generate(&OsRandomness),
                account: "111122223333".parse().unwrap(),
                region: "us-east-1".parse().unwrap(),
                repository: "shop/web".parse().unwrap(),
                presence,
                observed_at: at,
                known_by: KnownBy::Event,
                known_at: at,
            }
        }
    }

    fn request() -> RequestId {
        RequestId::generate(&OsRandomness)
    }

    fn trace() -> TraceId {
        TraceId::generate(Timestamp::UNIX_EPOCH, &OsRandomness)
    }

    fn reported() -> ScanResult {
        ScanResult::Reported {
            packages: 1,
            partial: false,
            pulled_bytes: 1,
            spared_bytes: 0,
        }
    }

    #[tokio::test]
    async fn one_scan_however_many_come() {
        let world = World::new();
        let [first, second] = [request(), request()];
        let lease = world.lease(&first, 0).await;
        let until = world.now + 15.minutes();
        assert_eq!(world.claim(&second, 1).await, Claimed::Held { until });
        let summary = world
            .images
            .finish_scan(&world.scope, &lease, trace(), world.now, reported())
            .await
            .unwrap();
        // The table answers once more, to a retry whose first attempt had its effect.
        let again = world
            .images
            .finish_scan(&world.scope, &lease, summary.trace, world.now, reported())
            .await;
        assert_eq!(again.unwrap(), summary);
        let later = world
            .images
            .finish_scan(
                &world.scope,
                &lease,
                summary.trace,
                world.now + 1.second(),
                reported(),
            )
            .await;
        assert!(matches!(later, Err(FinishError::Lost)), "{later:?}");
        assert_eq!(world.claim(&second, 2).await, Claimed::Done(summary.clone()));
        assert!(!summary.announced);
        world
            .images
            .mark_announced(&world.scope, &world.digest, VERSION)
            .await
            .unwrap();
        let stored = world
            .images
            .scan(&world.scope, &world.digest, VERSION)
            .await
            .unwrap()
            .unwrap();
        assert!(stored.announced);
        // Another version of the catalog is another scan.
        assert_eq!(
            world
                .images
                .scan(&world.scope, &world.digest, VERSION + 1)
                .await
                .unwrap(),
            None
        );
    }

    #[tokio::test]
    async fn a_crashed_holder_is_followed_by_its_own_redelivery_or_by_anybody_later() {
        let world = World::new();
        let [first, second] = [request(), request()];
        let lost = world.lease(&first, 0).await;
        let again = world.lease(&first, 1).await;
        assert!(matches!(
            world
                .images
                .finish_scan(&world.scope, &lost, trace(), world.now, reported())
                .await,
            Err(FinishError::Lost)
        ));
        world.lease(&second, 17).await;
        assert!(matches!(
            world
                .images
                .finish_scan(&world.scope, &again, trace(), world.now, reported())
                .await,
            Err(FinishError::Lost)
        ));
        assert_eq!(
            world.images.release_scan(&world.scope, &again).await.unwrap(),
            Released::Lost
        );
    }

    #[tokio::test]
    async fn a_scan_that_was_given_back_can_be_taken_up() {
        let world = World::new();
        let [first, second] = [request(), request()];
        let lease = world.lease(&first, 0).await;
        assert!(matches!(world.claim(&second, 1).await, Claimed::Held { .. }));
        assert_eq!(
            world.images.release_scan(&world.scope, &lease).await.unwrap(),
            Released::Open
        );
        world.lease(&second, 2).await;
    }

    proptest! {
        #[test]
        fn the_latest_observation_wins_in_any_order(order in Just(vec![0i64, 1, 2, 3, 3]).prop_shuffle()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let world = World::new();
                for seconds in order {
                    let tags = BTreeSet::from([format!("v{seconds}").parse().unwrap()]);
                    let presence = Presence::Present { tags, pushed_at: None, archived: false };
                    let presence = if seconds == 3 { Presence::Deleted } else { presence };
                    let location = world.location(seconds, presence);
                    world.images.observe(&world.scope, &world.digest, &location).await.unwrap();
                }
                let locations = world.images.locations(&world.scope, &world.digest).await.unwrap();
                assert_eq!(locations.len(), 1);
                assert_eq!(locations[0].presence, Presence::Deleted);
            });
        }
    }
}
