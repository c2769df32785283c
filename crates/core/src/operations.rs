//! How Portwarden itself is, for the operator: each tenant in numbers, and the queues.
//!
//! Nothing here names anything that a tenant has: no account, no repository, no image, no package.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    id::TenantId,
    image::{ImageSummary, Images, ScanResult},
    integration::{Integrations, Light},
    scope::{TenantScope, TenantsScope},
    store::{Store, StoreError},
    tenant::{Tenant, Tenants},
    work::{KnownBy, MemoryQueues, QueueError},
};

/// How a tenant is, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantHealth {
    /// The tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// How many regions of its accounts stand in which way.
    pub regions: BTreeMap<Light, usize>,
    /// When something last came from any of its stacks.
    pub last_heartbeat: Option<Timestamp>,
    /// How many of its newest images wait for a report.
    pub waiting: usize,
    /// How many of its newest images cannot be scanned.
    pub refused: usize,
    /// How many seconds it took from the push of each of its newest images to its report, in the order of the pushes; only
    /// those that an event told of.
    pub seconds_to_report: Vec<u64>,
}

/// How many of a tenant's newest images count.
pub const NEWEST: usize = 50;

impl TenantHealth {
    /// Returns the time from push to report that half of the images do not exceed.
    pub fn median_seconds(&self) -> Option<u64> {
        let mut seconds = self.seconds_to_report.clone();
        seconds.sort_unstable();
        seconds.get(seconds.len().checked_sub(1)? / 2).copied()
    }
}

/// Looks at tenants from outside.
#[derive(Clone)]
pub struct Operations {
    tenants: Tenants,
    integrations: Integrations,
    images: Images,
}

impl Operations {
    /// Looks into a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            tenants: Tenants::new(store.clone()),
            integrations: Integrations::new(store.clone()),
            images: Images::new(store),
        }
    }

    /// Returns how tenants are, in the order of their ids, and whether there are more: two queries for each.
    pub async fn tenants(
        &self,
        scope: TenantsScope,
        after: Option<&TenantId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<TenantHealth>, bool), StoreError> {
        let (tenants, more) = self.tenants.page(scope, after, limit).await?;
        let healths = tenants.into_iter().map(|tenant| self.tenant(tenant, now));
        Ok((try_join_all(healths).await?, more))
    }

    async fn tenant(&self, tenant: Tenant, now: Timestamp) -> Result<TenantHealth, StoreError> {
        let scope = TenantScope::of(tenant.id.clone());
        let connections = self.integrations.list(&scope).await?;
        let images = self.images.newest(&scope, None, NEWEST).await?.items;
        let present = || {
            connections
                .iter()
                .filter(|connection| connection.integration.removed_at.is_none())
        };
        let mut regions: BTreeMap<Light, usize> = BTreeMap::new();
        let statuses = present().flat_map(|connection| {
            let names = connection.regions.keys();
            names.filter_map(move |region| connection.status(region, now))
        });
        for status in statuses {
            *regions.entry(status.light).or_default() += 1;
        }
        let is_refused = |image: &&ImageSummary| {
            let result = image.scan.as_ref().map(|scan| &scan.result);
            matches!(result, Some(ScanResult::Refused { .. }))
        };
        let mut seconds_to_report: Vec<u64> = images.iter().filter_map(seconds_to_report).collect();
        seconds_to_report.reverse();
        Ok(TenantHealth {
            last_heartbeat: present()
                .flat_map(|connection| connection.heartbeats.values())
                .max()
                .copied(),
            waiting: images.iter().filter(|image| image.scan.is_none()).count(),
            refused: images.iter().filter(is_refused).count(),
            tenant: tenant.id,
            name: tenant.name,
            regions,
            seconds_to_report,
        })
    }
}

/// An image that was there before says nothing about how fast events lead to reports.
fn seconds_to_report(image: &ImageSummary) -> Option<u64> {
    let scan = image.scan.as_ref().filter(|_| image.known_by == KnownBy::Event)?;
    u64::try_from(scan.at.duration_since(image.since).as_secs()).ok()
}

/// How a queue is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueHealth {
    /// What its messages are about, such as `scan`.
    pub name: String,
    /// How many messages wait.
    pub waiting: u64,
    /// How many messages are being worked on.
    pub in_flight: u64,
    /// How many messages are to be delivered later.
    pub delayed: u64,
    /// How many messages were given up; none if those lie with another queue's.
    pub dead: Option<u64>,
}

/// Watches the queues.
#[async_trait]
pub trait WatchQueues: Send + Sync {
    /// Tells how each queue is.
    async fn queues(&self) -> Result<Vec<QueueHealth>, QueueError>;

    /// Puts messages that were given up back into their queue, at most [`REDRIVEN`], and tells how many; nothing if there is
    /// no such queue.
    async fn redrive(&self, name: &str) -> Result<Option<u64>, QueueError>;
}

/// How many messages are put back at a time.
pub const REDRIVEN: u64 = 100;

#[async_trait]
impl WatchQueues for MemoryQueues {
    async fn queues(&self) -> Result<Vec<QueueHealth>, QueueError> {
        Ok(vec![QueueHealth {
            name: "scan".to_owned(),
            waiting: 0,
            in_flight: 0,
            delayed: 0,
            dead: Some(self.dead()),
        }])
    }

    async fn redrive(&self, name: &str) -> Result<Option<u64>, QueueError> {
        Ok((name == "scan").then(|| self.revive(REDRIVEN)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::ToSpan as _;
    use portwarden_oci::Digest;

    use super::*;
    use crate::{
        id::RequestId,
        image::{Claimed, Location, Presence},
        integration::NewRegion,
        random::OsRandomness,
        scope::OperatorScope,
        store::MemoryStore,
        trace::TraceId,
    };

    #[tokio::test]
    async fn tenants_are_told_in_numbers() {
        let store = Arc::new(MemoryStore::default());
        let (operator, now) = (OperatorScope::of_this_process(), Timestamp::UNIX_EPOCH + 1.hour());
        let tenants = Tenants::new(store.clone());
        let busy = tenants
            .create(operator, "Busy", now, &OsRandomness)
            .await
            .unwrap();
        let idle = tenants
            .create(operator, "Idle", now, &OsRandomness)
            .await
            .unwrap();
        let scope = operator.tenant(busy.id.clone());
        let region = NewRegion::Quick {
            region: "eu-central-1".parse().unwrap(),
        };
        let made = Integrations::new(store.clone())
            .create(&scope, "secret-name", &[region], now, &OsRandomness)
            .await
            .unwrap();
        let images = Images::new(store.clone());
        for (number, known_by, took) in [
            (0_u8, KnownBy::Event, Some(30)),
            (1, KnownBy::Event, Some(10)),
            (2, KnownBy::Backfill, Some(1)),
            (3, KnownBy::Event, None),
        ] {
            let (digest, pushed_at) = (Digest::of(&[number]), now + i64::from(number).minutes());
            let location = Location {
                integration: made.integration.id.clone(),
                account: "111122223333".parse().unwrap(),
                region: "eu-central-1".parse().unwrap(),
                repository: "secret/repository".parse().unwrap(),
                presence: Presence::Present {
                    tags: BTreeSet::new(),
                    pushed_at: Some(pushed_at),
                    archived: false,
                },
                observed_at: pushed_at,
                known_by,
                known_at: pushed_at,
            };
            images.observe(&scope, &digest, &location).await.unwrap();
            let Some(took) = took else { continue };
            let request = RequestId::generate(&OsRandomness);
            let until = now + 1.hour();
            let claimed = images.claim_scan(&scope, &digest, 1, &request, now, until).await;
            let Claimed::Ours(lease) = claimed.unwrap() else {
                panic!("nobody else scans")
            };
            let result = ScanResult::Reported {
                packages: 1,
                partial: false,
                pulled_bytes: 0,
                spared_bytes: 0,
            };
            let (trace, at) = (
                TraceId::generate(now, &OsRandomness),
                pushed_at + i64::from(took).seconds(),
            );
            images
                .finish_scan(&scope, &lease, trace, at, result)
                .await
                .unwrap();
        }
        let (mut healths, more) = Operations::new(store)
            .tenants(operator.into(), None, 10, now)
            .await
            .unwrap();
        assert!(!more);
        healths.sort_by(|one, other| one.name.cmp(&other.name));
        let [busy, nothing] = &healths[..] else {
            panic!("two tenants: {healths:?}")
        };
        assert_eq!(
            (busy.seconds_to_report.as_slice(), busy.waiting),
            (&[30, 10][..], 1)
        );
        assert_eq!(busy.median_seconds(), Some(10));
        assert_eq!(busy.regions, BTreeMap::from([(Light::Pending, 1)]));
        assert_eq!((&nothing.tenant, nothing.median_seconds()), (&idle.id, None));
        let told = serde_json::to_string(&healths).unwrap();
        for secret in ["secret", "111122223333", made.integration.id.as_str()] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}
