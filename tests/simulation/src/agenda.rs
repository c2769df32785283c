//! Simulated time: what is to happen when, and the clock that the functions read.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_core::clock::Clock;

use crate::world::{Job, World};

/// What is to happen, in the order of time; what is to happen at the same time, in the order in which it was noted.
pub(crate) struct Agenda {
    now: Timestamp,
    noted: u64,
    entries: BinaryHeap<Reverse<Entry>>,
}

pub(crate) enum Next {
    /// Somebody waited for this time.
    Wake(Waker),
    /// The world does something.
    Do(Job),
}

struct Entry {
    at: Timestamp,
    number: u64,
    next: Next,
}

impl Agenda {
    pub(crate) fn starting_at(now: Timestamp) -> Self {
        Self {
            now,
            noted: 0,
            entries: BinaryHeap::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn note(&mut self, at: Timestamp, next: Next) {
        self.noted += 1;
        let number = self.noted;
        self.entries.push(Reverse(Entry { at, number, next }));
    }

    pub(crate) fn after(&mut self, wait: Duration, job: Job) {
        self.note(self.now + wait, Next::Do(job));
    }

    /// Moves time forward to what comes next.
    pub(crate) fn advance(&mut self) -> Option<Next> {
        let Reverse(entry) = self.entries.pop()?;
        self.now = self.now.max(entry.at);
        Some(entry.next)
    }
}

impl Entry {
    fn place(&self) -> (Timestamp, u64) {
        (self.at, self.number)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Entry {}

/// Waits in simulated time.
pub(crate) struct Pause {
    world: Arc<World>,
    until: Timestamp,
    waker: Option<Waker>,
}

impl Pause {
    pub(crate) fn until(world: &Arc<World>, until: Timestamp) -> Self {
        Self {
            world: Arc::clone(world),
            until,
            waker: None,
        }
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = Arc::clone(&self.world);
        let agenda = &mut world.state().agenda;
        if agenda.now() >= self.until {
            return Poll::Ready(());
        }
        let waker = context.waker();
        if self.waker.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
            agenda.note(self.until, Next::Wake(waker.clone()));
            self.waker = Some(waker.clone());
        }
        Poll::Pending
    }
}

/// The clock of every function.
pub(crate) struct WorldClock(pub(crate) Arc<World>);

#[async_trait]
impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.state().agenda.now()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.now() + duration;
        Pause::until(&self.0, until).await;
    }
}
