use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portwarden_core::clock::{Clock, TimedOut, within};

/// The time by which some work must have stopped, if there is one.
#[derive(Clone)]
pub struct Deadline(Option<(Arc<dyn Clock>, Timestamp)>);

impl Deadline {
    /// Work must have stopped at `time`.
    pub fn at(clock: Arc<dyn Clock>, time: Timestamp) -> Self {
        Self(Some((clock, time)))
    }

    /// Work may take any time.
    pub fn never() -> Self {
        Self(None)
    }

    /// Tells whether the time has come.
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| !left.is_positive())
    }

    /// Waits for `work`, but not beyond the deadline.
    pub async fn cut<T>(&self, work: impl Future<Output = T> + Send) -> Result<T, TimedOut> {
        match (&self.0, self.left()) {
            (Some((clock, _)), Some(left)) => within(&**clock, left.unsigned_abs(), work).await,
            _ => Ok(work.await),
        }
    }

    fn left(&self) -> Option<SignedDuration> {
        let (clock, time) = self.0.as_ref()?;
        Some(time.duration_since(clock.now()).max(SignedDuration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use std::{future, time::Duration};

    use portwarden_core::clock::ManualClock;

    use super::*;

    #[tokio::test]
    async fn work_is_cut_at_the_deadline_and_not_before() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let time = Timestamp::from_second(10).unwrap();
        let deadline = Deadline::at(Arc::new(clock.clone()), time);
        clock.advance(Duration::from_secs(9));
        assert!(!deadline.is_over());
        assert_eq!(deadline.cut(future::ready(1)).await, Ok(1));
        assert_eq!(deadline.cut(future::pending::<()>()).await, Err(TimedOut));
        assert_eq!(clock.now(), time, "the rest of the time was waited for");
        assert!(deadline.is_over());
        clock.advance(Duration::from_secs(1));
        assert!(deadline.is_over());
        assert!(!Deadline::never().is_over());
    }
}
