//! How much of a process one tenant may take.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use portwarden_core::id::TenantId;

/// A token bucket for each tenant, in this process only: enough to keep one tenant's flood from the others.
///
/// A bucket is one time, the one at which it will be full again: each event moves it one interval on, and there is room
/// while it is less than a burst ahead.
pub(crate) struct Budgets {
    full_at: Mutex<HashMap<TenantId, Timestamp>>,
}

impl Budgets {
    /// How fast a bucket fills: 20 events a second, about a third of what one process can receive.
    const INTERVAL: SignedDuration = SignedDuration::from_millis(50);

    /// What a full bucket holds: the images of a busy hour, pushed at once.
    pub(crate) const BURST: i32 = 400;

    /// How many buckets are kept before full ones are dropped.
    const KEPT: usize = 1024;

    pub(crate) fn new() -> Self {
        Self {
            full_at: Mutex::default(),
        }
    }

    /// Takes one event from a tenant's bucket, or tells when there will be one.
    pub(crate) fn take(&self, tenant: &TenantId, now: Timestamp) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= Self::KEPT {
            full_at.retain(|_, full_at| *full_at > now);
        }
        let before = full_at.get(tenant).copied().unwrap_or(now).max(now);
        let after = before.saturating_add(Self::INTERVAL).unwrap_or(Timestamp::MAX);
        let excess = after.duration_since(now) - Self::INTERVAL * Self::BURST;
        if excess.is_positive() {
            return Err(excess.unsigned_abs());
        }
        full_at.insert(tenant.clone(), after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portwarden_core::random::OsRandomness;

    use super::*;

    fn taken(budgets: &Budgets, tenant: &TenantId, now: Timestamp) -> i32 {
        let mut count = 0;
        while budgets.take(tenant, now).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn a_flood_ends_at_the_burst_and_hurts_nobody_else() {
        let budgets = Budgets::new();
        let [flooder, other] = [(), ()].map(|()| TenantId::generate(&OsRandomness));
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(taken(&budgets, &flooder, now), Budgets::BURST);
        assert_eq!(budgets.take(&flooder, now), Err(Duration::from_millis(50)));
        assert_eq!(taken(&budgets, &other, now), Budgets::BURST);
        // A second fills twenty, an hour no more than the burst.
        assert_eq!(taken(&budgets, &flooder, now + SignedDuration::from_secs(1)), 20);
        assert_eq!(
            taken(&budgets, &flooder, now + SignedDuration::from_hours(1)),
            Budgets::BURST
        );
    }

    #[test]
    fn full_buckets_are_dropped_and_empty_ones_kept() {
        let budgets = Budgets::new();
        let now = Timestamp::UNIX_EPOCH;
        let later = now + SignedDuration::from_millis(50);
        for _ in 0..Budgets::KEPT {
            assert_eq!(budgets.take(&TenantId::generate(&OsRandomness), now), Ok(()));
        }
        let flooder = TenantId::generate(&OsRandomness);
        taken(&budgets, &flooder, later);
        assert_eq!(budgets.full_at.lock().unwrap().len(), 1);
        assert_eq!(budgets.take(&TenantId::generate(&OsRandomness), later), Ok(()));
        assert_eq!(taken(&budgets, &flooder, later), 0);
    }

    #[test]
    fn a_clock_that_goes_back_opens_nothing() {
        let budgets = Budgets::new();
        let tenant = TenantId::generate(&OsRandomness);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(taken(&budgets, &tenant, now), Budgets::BURST);
        assert_eq!(
            budgets.take(&tenant, now - SignedDuration::from_secs(5)),
            Err(Duration::from_millis(5050))
        );
    }
}
