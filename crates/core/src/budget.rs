//! How much of a process one tenant may take.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::id::TenantId;

/// A token bucket for each tenant, in this process only: enough to keep one tenant's flood from the others.
///
/// A bucket is one time, the one at which it will be full again: each request moves it one interval on, and there is room
/// while it is less than a burst ahead.
#[derive(Debug)]
pub struct Budgets {
    interval: SignedDuration,
    burst: i32,
    full_at: Mutex<HashMap<TenantId, Timestamp>>,
}

impl Budgets {
    /// How many buckets are kept before full ones are dropped.
    const KEPT: usize = 1024;

    /// Makes buckets that hold `burst` requests and get one more each `interval`.
    pub fn new(interval: SignedDuration, burst: i32) -> Self {
        Self {
            interval,
            burst,
            full_at: Mutex::default(),
        }
    }

    /// Takes one request from a tenant's bucket, or tells when there will be one.
    pub fn take(&self, tenant: &TenantId, now: Timestamp) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= Self::KEPT {
            full_at.retain(|_, full_at| *full_at > now);
        }
        let before = full_at.get(tenant).copied().unwrap_or(now).max(now);
        let after = before.saturating_add(self.interval).unwrap_or(Timestamp::MAX);
        let excess = after.duration_since(now) - self.interval * self.burst;
        if excess.is_positive() {
            return Err(excess.unsigned_abs());
        }
        full_at.insert(tenant.clone(), after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandomness;

    const BURST: i32 = 400;

    fn budgets() -> Budgets {
        Budgets::new(SignedDuration::from_millis(50), BURST)
    }

    fn taken(budgets: &Budgets, tenant: &TenantId, now: Timestamp) -> i32 {
        let mut count = 0;
        while budgets.take(tenant, now).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn a_flood_ends_at_the_burst_and_hurts_nobody_else() {
        let budgets = budgets();
        let [flooder, other] = [(), ()].map(|()| TenantId::generate(&OsRandomness));
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(taken(&budgets, &flooder, now), BURST);
        assert_eq!(budgets.take(&flooder, now), Err(Duration::from_millis(50)));
        assert_eq!(taken(&budgets, &other, now), BURST);
        // A second fills twenty, an hour no more than the burst.
        assert_eq!(taken(&budgets, &flooder, now + SignedDuration::from_secs(1)), 20);
        assert_eq!(
            taken(&budgets, &flooder, now + SignedDuration::from_hours(1)),
            BURST
        );
    }

    #[test]
    fn full_buckets_are_dropped_and_empty_ones_kept() {
        let budgets = budgets();
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
        let budgets = budgets();
        let tenant = TenantId::generate(&OsRandomness);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(taken(&budgets, &tenant, now), BURST);
        assert_eq!(
            budgets.take(&tenant, now - SignedDuration::from_secs(5)),
            Err(Duration::from_millis(5050))
        );
    }
}
