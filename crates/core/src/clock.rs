//! Where time comes from, so that tests and the simulation can own it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::{self, Either};
use jiff::Timestamp;

/// Tells the time and lets it pass.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the present time.
    fn now(&self) -> Timestamp;

    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}

/// The time given to some work was over before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time for this work is over")]
pub struct TimedOut;

/// Waits for `work`, but not longer than `duration`.
pub async fn within<T>(
    clock: &dyn Clock,
    duration: Duration,
    work: impl Future<Output = T> + Send,
) -> Result<T, TimedOut> {
    match future::select(std::pin::pin!(work), clock.sleep(duration)).await {
        Either::Left((result, _)) => Ok(result),
        Either::Right(((), _)) => Err(TimedOut),
    }
}

/// A clock that stands still until it is moved; sleeping on it moves it and takes no time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Starts at `now`, with a precision of milliseconds.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.as_millisecond())))
    }

    /// Moves the time forward by `duration`.
    ///
    /// # Panics
    ///
    /// When `duration` has more milliseconds than an `i64` holds.
    pub fn advance(&self, duration: Duration) {
        let milliseconds = i64::try_from(duration.as_millis()).expect("a duration of less than an age");
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).expect("a time that was valid stays valid")
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}
