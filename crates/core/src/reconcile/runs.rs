use std::sync::Arc;

use jiff::Timestamp;
use portwarden_oci::RepositoryName;
use serde::{Deserialize, Serialize};

use super::{Findings, Finished, MissedPushes, RepositoryCoverage, Run, elsewhere::elsewhere_key};
use crate::{
    id::{IntegrationId, Region, RequestId},
    scope::TenantScope,
    store::{
        Change, Condition, Key, MAX_WRITES, Partition, Store, StoreError, Write, prefix, try_write, update,
    },
    work::{InventoryReason, InventoryRequest, KnownBy},
};

/// The inventories of tenants' regions.
#[derive(Clone)]
pub struct Inventories {
    pub(super) store: Arc<dyn Store>,
}

/// What became of an attempt to begin a run, or to go on with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The run is ours.
    Ours(Box<Run>),
    /// Somebody else works on one.
    Held {
        /// Until when at most.
        until: Timestamp,
    },
    /// The same work came to its end before or was taken over, or there was a run not long ago.
    Done,
}

/// Why nothing is stored of a run's progress.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Somebody else took the run over, since we took too long.
    #[error("the run was taken over")]
    Lost,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is stored of a region's inventory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) run: Option<Run>,
    pub(super) last: Option<Finished>,
}

/// What is stored of pushes that no event told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FindingRecord {
    pub(super) at: Timestamp,
    pub(super) missed: MissedPushes,
}

/// How long after a sweep began the next one may: a round that died is repeated.
const PAUSE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

pub(super) fn partition(scope: &TenantScope, integration: &IntegrationId, region: &Region) -> Partition {
    scope.partition(&["inventory", integration.as_str(), region.as_str()])
}

pub(super) fn run_key(scope: &TenantScope, integration: &IntegrationId, region: &Region) -> Key {
    partition(scope, integration, region).key(&["run"])
}

pub(super) fn finding_key(scope: &TenantScope, integration: &IntegrationId, region: &Region) -> Key {
    partition(scope, integration, region).key(&["missed"])
}

pub(super) const REPOSITORY: &str = "repository";

impl Inventories {
    /// Opens the inventories in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Begins a run, goes on with the one that this work began, or takes over one that nobody works on.
    ///
    /// What is taken over begins with the first repository again, since the dead run may have seen it long ago; what that
    /// found counts as found by this one. Whoever's run was taken over does not take it back.
    pub async fn begin(
        &self,
        request: &InventoryRequest,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Begun, StoreError> {
        let key = run_key(&request.scope(), &request.integration, &request.region);
        update(&*self.store, &key, |record: Option<Record>| {
            let mut record = record.unwrap_or_default();
            let (is_done, is_too_early) = record.last.as_ref().map_or((false, false), |last| {
                let is_scheduled = request.reason == InventoryReason::Schedule;
                (
                    last.request == request.request,
                    is_scheduled && now < last.started_at + PAUSE,
                )
            });
            let run = match record.run.take() {
                _ if is_done => return Change::Keep(Begun::Done),
                Some(run) if run.request == request.request => Run {
                    held_until: until,
                    ..run
                },
                Some(run) if run.held_until > now => {
                    let until = run.held_until;
                    return Change::Keep(Begun::Held { until });
                }
                _ if request.continuation > 0 => return Change::Keep(Begun::Done),
                Some(run) => Run {
                    request: request.request.clone(),
                    held_until: until,
                    done: None,
                    found: Findings::default(),
                    ..run
                },
                None if is_too_early => return Change::Keep(Begun::Done),
                None => Run {
                    kind: match request.reason {
                        InventoryReason::Connected => KnownBy::Backfill,
                        _ if record.last.is_none() => KnownBy::Backfill,
                        _ => KnownBy::Reconcile,
                    },
                    started_at: now,
                    request: request.request.clone(),
                    held_until: until,
                    done: None,
                    found: Findings::default(),
                },
            };
            record.run = Some(run.clone());
            Change::Put(record, Begun::Ours(Box::new(run)))
        })
        .await
    }

    /// Stores how far a run came, with what is known of the repository that it came to: nothing if it is no more.
    pub async fn save(
        &self,
        request: &InventoryRequest,
        run: &Run,
        name: &RepositoryName,
        coverage: Option<&RepositoryCoverage>,
    ) -> Result<(), SaveError> {
        let (scope, integration, region) = (request.scope(), &request.integration, &request.region);
        let key = run_key(&scope, integration, region);
        let Some(stored) = self.store.get(&key).await? else {
            return Err(SaveError::Lost);
        };
        let mut record: Record = stored.parse()?;
        if record.run.as_ref().is_none_or(|held| !is_same(held, run)) {
            return Err(SaveError::Lost);
        }
        record.run = Some(run.clone());
        let writes = [
            Write::put(key, &record, Condition::Unchanged(stored.revision)),
            repository_write(request, name, coverage),
        ];
        if try_write(&*self.store, &writes).await? {
            Ok(())
        } else {
            Err(SaveError::Lost)
        }
    }

    /// Stores what is known of one repository, outside of a run; nothing if there is no such repository any more.
    pub async fn save_repository(
        &self,
        request: &InventoryRequest,
        name: &RepositoryName,
        coverage: Option<&RepositoryCoverage>,
    ) -> Result<(), StoreError> {
        let write = repository_write(request, name, coverage);
        try_write(&*self.store, &[write]).await.map(drop)
    }

    /// Ends a run.
    pub async fn finish(
        &self,
        request: &InventoryRequest,
        run: &Run,
        now: Timestamp,
    ) -> Result<(), SaveError> {
        let key = run_key(&request.scope(), &request.integration, &request.region);
        let is_ours = update(&*self.store, &key, |record: Option<Record>| {
            let record = record.unwrap_or_default();
            // Its own end whose answer was lost on the way is found again, and counts.
            if record
                .last
                .as_ref()
                .is_some_and(|last| last.request == run.request)
            {
                return Change::Keep(true);
            }
            if record.run.as_ref().is_none_or(|held| !is_same(held, run)) {
                return Change::Keep(false);
            }
            let last = Finished {
                kind: run.kind,
                started_at: run.started_at,
                at: now,
                request: run.request.clone(),
                found: run.found.clone(),
            };
            Change::Put(
                Record {
                    run: None,
                    last: Some(last),
                },
                true,
            )
        })
        .await?;
        if is_ours { Ok(()) } else { Err(SaveError::Lost) }
    }

    /// Returns the pushes of a region that no event told of, if there are any.
    pub async fn missed(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        region: &Region,
    ) -> Result<Option<MissedPushes>, StoreError> {
        let stored = self.store.get(&finding_key(scope, integration, region)).await?;
        let record = stored.map(|stored| stored.parse::<FindingRecord>()).transpose()?;
        Ok(record.map(|record| record.missed))
    }

    /// Stores the pushes of a region that no event told of.
    pub async fn note_missed(
        &self,
        request: &InventoryRequest,
        missed: &MissedPushes,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = finding_key(&request.scope(), &request.integration, &request.region);
        let missed = missed.clone();
        let write = Write::put(key, &FindingRecord { at: now, missed }, Condition::None);
        try_write(&*self.store, &[write]).await.map(drop)
    }

    /// Forgets the pushes of a region that no event told of.
    pub async fn forget_missed(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        region: &Region,
    ) -> Result<(), StoreError> {
        let key = finding_key(scope, integration, region);
        let condition = Condition::None;
        try_write(&*self.store, &[Write::Delete { key, condition }])
            .await
            .map(drop)
    }

    /// Tells whether pushes were found that no event told of, before the event that came at `at`.
    pub async fn is_heard(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        region: &Region,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let stored = self.store.get(&finding_key(scope, integration, region)).await?;
        let record = stored.map(|stored| stored.parse::<FindingRecord>()).transpose()?;
        Ok(record.is_some_and(|record| record.at < at))
    }

    /// Tells whether a region was never compared, and nobody is at it.
    pub async fn is_untouched(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        region: &Region,
    ) -> Result<bool, StoreError> {
        let record = self.record(scope, integration, region).await?;
        Ok(record.run.is_none() && record.last.is_none())
    }

    /// Reads a region's inventory.
    pub(super) async fn record(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        region: &Region,
    ) -> Result<Record, StoreError> {
        let stored = self.store.get(&run_key(scope, integration, region)).await?;
        Ok(stored
            .map(|stored| stored.parse())
            .transpose()?
            .unwrap_or_default())
    }

    /// Returns the last run of a region that came to its end.
    pub async fn last(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        region: &Region,
    ) -> Result<Option<Finished>, StoreError> {
        Ok(self.record(scope, integration, region).await?.last)
    }

    /// Deletes a part of what is kept of a region's inventory; tells whether there was any.
    pub(crate) async fn forget(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        region: &Region,
    ) -> Result<bool, StoreError> {
        let partition = partition(scope, integration, region);
        let page = self.store.query(&partition, "", None, MAX_WRITES - 1).await?;
        let keys = page.items.iter().map(|item| item.key.clone());
        let deletes = keys.chain([elsewhere_key(scope, integration)]).map(|key| {
            let condition = Condition::None;
            Write::Delete { key, condition }
        });
        try_write(&*self.store, &deletes.collect::<Vec<_>>()).await?;
        Ok(!page.items.is_empty())
    }

    /// Reads what is known of a region's repositories.
    pub(super) async fn repositories(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        region: &Region,
    ) -> Result<Vec<RepositoryCoverage>, StoreError> {
        let partition = partition(scope, integration, region);
        let prefix = prefix(&[REPOSITORY]);
        let mut after: Option<Key> = None;
        let mut repositories = Vec::new();
        loop {
            let page = self.store.query(&partition, &prefix, after.as_ref(), 500).await?;
            for item in &page.items {
                repositories.push(item.parse()?);
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more {
                return Ok(repositories);
            }
        }
    }
}

fn repository_write(
    request: &InventoryRequest,
    name: &RepositoryName,
    coverage: Option<&RepositoryCoverage>,
) -> Write {
    let partition = partition(&request.scope(), &request.integration, &request.region);
    let key = partition.key(&[REPOSITORY, name.as_str()]);
    let condition = Condition::None;
    match coverage {
        Some(coverage) => Write::put(key, coverage, condition),
        None => Write::Delete { key, condition },
    }
}

/// Tells whether a run is still held as it was begun.
fn is_same(held: &Run, run: &Run) -> bool {
    let ids = |run: &Run| -> (RequestId, Timestamp) { (run.request.clone(), run.held_until) };
    ids(held) == ids(run)
}
