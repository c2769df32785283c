use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;

use crate::RegistryError;

/// Waits, and says by how much a wait varies, so that tests need no real time.
#[async_trait]
pub trait Pacing: Send + Sync {
    /// Waits for `duration`.
    async fn pause(&self, duration: Duration);

    /// Picks a random duration from zero to `most`.
    fn jitter(&self, most: Duration) -> Duration;
}

/// Waits in real time, with the system's randomness.
#[derive(Debug, Clone, Copy)]
pub struct RealTime;

#[async_trait]
impl Pacing for RealTime {
    async fn pause(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn jitter(&self, most: Duration) -> Duration {
        // Without randomness the whole wait is taken, which is the careful end.
        let fraction = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        most.mul_f64(fraction)
    }
}

/// How often one request is sent at most.
const ATTEMPTS: u32 = 5;
/// The first wait is up to this long, and each later one up to twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// No wait is longer; a registry that asks for more patience gets it from the caller.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Counts the attempts of one request and waits between them: exponential back-off with full jitter.
pub(crate) struct Retries<'a> {
    pacing: &'a dyn Pacing,
    budget: &'a RetryBudget,
    attempts: u32,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(pacing: &'a dyn Pacing, budget: &'a RetryBudget) -> Self {
        budget.deposit();
        Self {
            pacing,
            budget,
            attempts: 1,
        }
    }

    /// Waits after `error`, or gives it back when another attempt makes no sense.
    pub(crate) async fn pause_after(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let least = error.retry_after().unwrap_or_default();
        let is_worth_it = error.is_transient() && self.attempts < ATTEMPTS && least <= LONGEST_WAIT;
        if !is_worth_it || !self.budget.withdraw() {
            return Err(error);
        }
        tracing::debug!(error = %error, attempt = self.attempts, "a request is tried again");
        back_off(self.pacing, self.attempts, least).await;
        self.attempts += 1;
        Ok(())
    }
}

/// Waits after the `failures`-th failure: a random time that may be twice as long each time, but not under `least`.
pub(crate) async fn back_off(pacing: &dyn Pacing, failures: u32, least: Duration) {
    let most = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    pacing
        .pause(least.max(pacing.jitter(most.min(LONGEST_WAIT))))
        .await;
}

/// Bounds what retries add to a registry in trouble: over time no more retries than requests.
pub(crate) struct RetryBudget(AtomicU32);

/// Retries that a fresh or a recovered registry has in hand.
const RESERVE: u32 = 16;

impl RetryBudget {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(RESERVE))
    }

    fn deposit(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left < RESERVE).then_some(left + 1)
        });
    }

    fn withdraw(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}
