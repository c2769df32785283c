//! Orphans on either side: stacks that send messages for an integration that is gone, or never was, and integrations whose
//! stack never came, or has long been silent.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Connection, Directory, NEVER_CONNECTED};
use crate::{
    id::IntegrationId,
    scope::OperatorScope,
    store::{Change, Key, Partition, StoreError, Stored, update},
};

/// A stack that somebody forgot to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanStack {
    /// The integration that it sends for.
    pub integration: IntegrationId,
    /// Whether there was ever such an integration here.
    pub known: bool,
    /// When a message came first.
    pub first: Timestamp,
    /// When a message came last.
    pub last: Timestamp,
    /// In how many minutes messages came: a flood counts once a minute.
    pub minutes: u64,
}

/// Why an integration counts as forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "orphan", rename_all = "snake_case")]
pub enum OrphanIntegration {
    /// It was made long ago, and no role was ever proven.
    NeverConnected {
        /// When it was made.
        since: Timestamp,
    },
    /// Nothing has come from any of its regions for long.
    Silent {
        /// When the last message came.
        since: Timestamp,
    },
}

/// For how long a connected integration may be silent before it counts as forgotten.
const LONG_SILENT: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Connection {
    /// Tells whether the integration seems to be forgotten.
    pub fn orphan(&self, now: Timestamp) -> Option<OrphanIntegration> {
        if self.integration.removed_at.is_some() {
            return None;
        }
        if self.regions.values().all(|region| region.last_proven.is_none()) {
            let since = self.integration.created_at;
            return (since + NEVER_CONNECTED <= now).then_some(OrphanIntegration::NeverConnected { since });
        }
        let is_silent = |region| {
            self.silent_from(region)
                .is_some_and(|from| from + LONG_SILENT <= now)
        };
        let proven = self
            .regions
            .values()
            .filter(|region| region.last_proven.is_some());
        let since = self.heartbeats.values().max().copied()?;
        proven
            .map(|region| &region.region)
            .all(is_silent)
            .then_some(OrphanIntegration::Silent { since })
    }
}

/// How many unknown integrations are remembered: strangers can make up any number of ids.
const UNKNOWN: u8 = 64;

impl Directory {
    /// Counts a message for an integration that is removed, or unknown.
    pub async fn note_orphan(
        &self,
        integration: &IntegrationId,
        known: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let is_same_minute = |a: Timestamp| a.as_second().div_euclid(60) == now.as_second().div_euclid(60);
        update(
            &*self.store,
            &key(integration, known),
            |before: Option<OrphanStack>| {
                let before = before.filter(|before| before.integration == *integration);
                if before.as_ref().is_some_and(|before| is_same_minute(before.last)) {
                    return Change::Keep(());
                }
                let orphan = OrphanStack {
                    integration: integration.clone(),
                    known,
                    first: before.as_ref().map_or(now, |before| before.first),
                    last: now,
                    minutes: before.map_or(0, |before| before.minutes).saturating_add(1),
                };
                Change::Put(orphan, ())
            },
        )
        .await
    }

    /// Lists the stacks that were forgotten, for the operator.
    pub async fn orphan_stacks(&self, _: OperatorScope) -> Result<Vec<OrphanStack>, StoreError> {
        let mut after: Option<Key> = None;
        let mut orphans = Vec::new();
        loop {
            let page = self.store.query(&partition(), "", after.as_ref(), 100).await?;
            let found: Result<Vec<OrphanStack>, _> = page.items.iter().map(Stored::parse).collect();
            orphans.extend(found?);
            after = page.items.last().map(|item| item.key.clone());
            if !page.more {
                return Ok(orphans);
            }
        }
    }
}

fn partition() -> Partition {
    Partition::directory(&["orphans"])
}

fn key(integration: &IntegrationId, known: bool) -> Key {
    if known {
        return partition().key(&["removed", integration.as_str()]);
    }
    let place = Sha256::digest(integration.as_str())[0] % UNKNOWN;
    partition().key(&["unknown", &place.to_string()])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{random::OsRandomness, store::MemoryStore};

    #[tokio::test]
    async fn orphans_are_counted_by_minutes_and_strangers_fill_nothing() {
        let directory = Directory::new(Arc::new(MemoryStore::default()));
        let operator = OperatorScope::of_this_process();
        let gone = IntegrationId::generate(&OsRandomness);
        let start: Timestamp = "2026-11-23T12:00:30Z".parse().unwrap();
        for seconds in [0, 1, 29, 30, 31, 90] {
            let now = start + SignedDuration::from_secs(seconds);
            directory.note_orphan(&gone, true, now).await.unwrap();
        }
        let orphans = directory.orphan_stacks(operator).await.unwrap();
        let [orphan] = &orphans[..] else {
            panic!("{orphans:?}")
        };
        assert_eq!(
            (&orphan.integration, orphan.known, orphan.minutes),
            (&gone, true, 3)
        );
        assert_eq!(
            (orphan.first, orphan.last),
            (start, start + SignedDuration::from_secs(90))
        );
        for _ in 0..1000 {
            let unknown = IntegrationId::generate(&OsRandomness);
            directory.note_orphan(&unknown, false, start).await.unwrap();
        }
        let orphans = directory.orphan_stacks(operator).await.unwrap();
        let ids: BTreeSet<_> = orphans.iter().map(|orphan| &orphan.integration).collect();
        assert!(
            ids.contains(&gone) && orphans.len() <= 65 && ids.len() == orphans.len(),
            "{}",
            orphans.len()
        );
    }
}
