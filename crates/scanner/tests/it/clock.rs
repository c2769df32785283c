use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_core::clock::{Clock, ManualClock};

/// A clock that others move: whoever sleeps on it waits for them.
#[derive(Clone)]
pub(crate) struct WaitingClock(pub(crate) ManualClock);

#[async_trait]
impl Clock for WaitingClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep(&self, duration: Duration) {
        let end = self.now() + duration;
        while self.now() < end {
            tokio::task::yield_now().await;
        }
    }
}
