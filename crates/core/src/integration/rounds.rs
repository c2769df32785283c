//! The warden's rounds: every few minutes a part of all connections is looked at, and once a day each one is tested.
//!
//! A region's slot in the day follows from its ids, so that ten thousand integrations do not meet, and a round asks the
//! table for the entries of one slot instead of looking at everything.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Directory;
use crate::{
    id::{IntegrationId, Region, TenantId},
    scope::TenantScope,
    store::{Change, Condition, Key, Partition, StoreError, Write, update},
};

/// A part of the day, in which the regions that belong to it are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

/// A region that rounds look at: its ids, and nothing of its tenant's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scheduled {
    /// Whose.
    pub tenant: TenantId,
    /// The integration.
    pub integration: IntegrationId,
    /// The region.
    pub region: Region,
}

/// The right to go round, until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The number of the first slot since the epoch that is still to be tested.
    first: i64,
    /// The number of the slot since the epoch in which the round began.
    now: i64,
    until: Timestamp,
}

/// What is kept between rounds.
#[derive(Serialize, Deserialize)]
struct Progress {
    /// The number of the last slot since the epoch that was tested.
    done: i64,
    /// Until when somebody is going round.
    held_until: Option<Timestamp>,
}

impl Slot {
    /// How long a slot lasts, and how often a round begins.
    pub const LENGTH: SignedDuration = SignedDuration::from_mins(5);

    /// How many slots a day has.
    pub const COUNT: u16 = 288;

    /// In how many rounds every connection is looked at once.
    const LOOKS: u16 = 3;

    /// Returns the slot of a region, which is the same for ever.
    pub fn of(integration: &IntegrationId, region: &Region) -> Self {
        let hash = Sha256::digest(format!("{integration} {region}"));
        let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        Self(u16::try_from(number % u32::from(Self::COUNT)).unwrap_or_default())
    }

    fn numbered(number: i64) -> Self {
        Self(u16::try_from(number.rem_euclid(i64::from(Self::COUNT))).unwrap_or_default())
    }

    fn number_at(time: Timestamp) -> i64 {
        time.as_second().div_euclid(Self::LENGTH.as_secs())
    }
}

impl Scheduled {
    /// Returns the scope of the tenant whose region it is.
    pub fn scope(&self) -> TenantScope {
        TenantScope::of(self.tenant.clone())
    }

    pub(super) fn new(scope: &TenantScope, integration: &IntegrationId, region: &Region) -> Self {
        Self {
            tenant: scope.tenant().clone(),
            integration: integration.clone(),
            region: region.clone(),
        }
    }

    /// The write that has the region looked at.
    pub(super) fn entry(&self) -> Write {
        Write::put(self.key(), self, Condition::None)
    }

    /// The write that has the region looked at no more.
    pub(super) fn no_entry(&self) -> Write {
        Write::Delete {
            key: self.key(),
            condition: Condition::None,
        }
    }

    fn key(&self) -> Key {
        partition(Slot::of(&self.integration, &self.region))
            .key(&[self.integration.as_str(), self.region.as_str()])
    }
}

impl Round {
    /// Returns the slots whose regions are to be tested, the oldest first: more than one if rounds were missed.
    pub fn due(&self) -> impl Iterator<Item = (i64, Slot)> + use<> {
        (self.first..=self.now).map(|number| (number, Slot::numbered(number)))
    }

    /// Returns the slots whose regions are to be looked at: each comes every 15 minutes.
    pub fn looks(&self) -> impl Iterator<Item = Slot> + use<> {
        let turn = self.now.rem_euclid(i64::from(Slot::LOOKS));
        (0..Slot::COUNT)
            .filter(move |slot| i64::from(slot % Slot::LOOKS) == turn)
            .map(Slot)
    }
}

impl Directory {
    /// Begins a round, unless one is under way: two at once would ask STS twice as often as they may.
    pub async fn begin_round(&self, now: Timestamp, until: Timestamp) -> Result<Option<Round>, StoreError> {
        let number = Slot::number_at(now);
        update(&*self.store, &progress_key(), |progress: Option<Progress>| {
            let done = progress.as_ref().map_or(number - 1, |progress| progress.done);
            let held = progress.and_then(|progress| progress.held_until);
            if held.is_some_and(|held| now < held) {
                return Change::Keep(None);
            }
            let round = Round {
                // What was missed for more than a day comes round again by itself.
                first: (done + 1).max(number + 1 - i64::from(Slot::COUNT)),
                now: number,
                until,
            };
            let held_until = Some(until);
            Change::Put(Progress { done, held_until }, Some(round))
        })
        .await
    }

    /// Notes that all regions of a slot were tested; tells whether the round may go on.
    pub async fn note_tested(&self, round: &Round, number: i64) -> Result<bool, StoreError> {
        self.change_round(round, |progress| progress.done = progress.done.max(number))
            .await
    }

    /// Ends a round before its time, so that the next one can begin.
    pub async fn end_round(&self, round: &Round) -> Result<(), StoreError> {
        self.change_round(round, |progress| progress.held_until = None)
            .await
            .map(drop)
    }

    async fn change_round(
        &self,
        round: &Round,
        mut change: impl FnMut(&mut Progress) + Send,
    ) -> Result<bool, StoreError> {
        update(
            &*self.store,
            &progress_key(),
            |progress: Option<Progress>| match progress
                .filter(|progress| progress.held_until == Some(round.until))
            {
                Some(mut progress) => {
                    change(&mut progress);
                    Change::Put(progress, true)
                }
                None => Change::Keep(false),
            },
        )
        .await
    }

    /// Returns the next regions of a slot, at most a hundred, behind `after`; none at the end.
    pub async fn scheduled(
        &self,
        slot: Slot,
        after: Option<&Scheduled>,
    ) -> Result<Vec<Scheduled>, StoreError> {
        let after = after.map(Scheduled::key);
        let page = self
            .store
            .query(&partition(slot), "", after.as_ref(), 100)
            .await?;
        page.items.iter().map(crate::store::Stored::parse).collect()
    }
}

fn partition(slot: Slot) -> Partition {
    Partition::directory(&["rounds", &slot.0.to_string()])
}

fn progress_key() -> Key {
    Partition::directory(&["rounds"]).key(&["progress"])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{
        random::OsRandomness,
        store::{MemoryStore, try_write},
    };

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    #[test]
    fn ten_thousand_regions_are_spread_over_the_day() {
        let region: Region = "eu-central-1".parse().unwrap();
        let mut slots = [0_u32; Slot::COUNT as usize];
        for _ in 0..10_000 {
            let integration = IntegrationId::generate(&OsRandomness);
            let slot = Slot::of(&integration, &region);
            assert_eq!(slot, Slot::of(&integration, &region));
            slots[usize::from(slot.0)] += 1;
        }
        // 35 on average; with the hash of a hash function's quality, one in a billion runs sees 80.
        assert!(slots.iter().all(|count| (5..80).contains(count)), "{slots:?}");
    }

    #[tokio::test]
    async fn every_slot_comes_once_a_day_and_is_looked_at_every_15_minutes() {
        let directory = Directory::new(Arc::new(MemoryStore::default()));
        let (mut tested, mut looked) = (Vec::new(), Vec::new());
        for number in 0..i64::from(Slot::COUNT) {
            let now = at(number * 5);
            let round = directory
                .begin_round(now, now + Slot::LENGTH)
                .await
                .unwrap()
                .unwrap();
            for (number, slot) in round.due() {
                assert!(directory.note_tested(&round, number).await.unwrap());
                tested.push(slot);
            }
            looked.extend(round.looks());
            directory.end_round(&round).await.unwrap();
            if number == 2 {
                let all: BTreeSet<_> = looked.iter().collect();
                assert_eq!((all.len(), looked.len()), (288, 288), "after three rounds");
            }
        }
        tested.sort();
        assert_eq!(tested, (0..Slot::COUNT).map(Slot).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn two_rounds_never_meet_and_what_was_missed_is_made_up_for() {
        let directory = Directory::new(Arc::new(MemoryStore::default()));
        let begin = async |minutes: i64| {
            let until = at(minutes + 5);
            directory.begin_round(at(minutes), until).await.unwrap()
        };
        let first = begin(0).await.unwrap();
        assert_eq!(first.due().count(), 1);
        assert_eq!(begin(4).await, None, "one is under way");
        // It died without a word; the next one tests its slot, too.
        let second = begin(5).await.unwrap();
        assert_eq!(second.due().count(), 2);
        assert!(
            !directory.note_tested(&first, 0).await.unwrap(),
            "its time is over"
        );
        let (oldest, _) = second.due().next().unwrap();
        assert!(directory.note_tested(&second, oldest).await.unwrap());
        directory.end_round(&second).await.unwrap();
        let third = begin(6).await.unwrap();
        assert_eq!(
            third.due().count(),
            1,
            "the same five minutes, of which nothing was tested"
        );
        directory.end_round(&third).await.unwrap();
        let after_a_week = begin(7 * 24 * 60).await.unwrap();
        assert_eq!(after_a_week.due().count(), 288, "no slot twice");
    }

    #[tokio::test]
    async fn a_slots_regions_are_read_page_by_page() {
        let store: Arc<dyn crate::store::Store> = Arc::new(MemoryStore::default());
        let directory = Directory::new(store.clone());
        let scope = TenantScope::of(TenantId::generate(&OsRandomness));
        let integration = IntegrationId::generate(&OsRandomness);
        let regions: Vec<Region> = (0..99)
            .flat_map(|number| ["aa", "bb", "cc"].map(|area| format!("{area}-x-{number}").parse().unwrap()))
            .collect();
        let slot = Slot::of(&integration, &regions[0]);
        let mut expected = BTreeSet::new();
        for region in &regions {
            let write = Scheduled::new(&scope, &integration, region).entry();
            assert!(try_write(&*store, &[write]).await.unwrap());
            if Slot::of(&integration, region) == slot {
                expected.insert(region.clone());
            }
        }
        let mut found = BTreeSet::new();
        let mut after: Option<Scheduled> = None;
        loop {
            let page = directory.scheduled(slot, after.as_ref()).await.unwrap();
            let Some(last) = page.last().cloned() else { break };
            found.extend(page.into_iter().map(|scheduled| scheduled.region));
            after = Some(last);
        }
        assert_eq!(found, expected);
        let gone = after.unwrap();
        assert!(try_write(&*store, &[gone.no_entry()]).await.unwrap());
        assert!(!directory.scheduled(slot, None).await.unwrap().contains(&gone));
    }
}
