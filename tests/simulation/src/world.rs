//! Everything outside of the functions, under one lock, and the one way in which a function reaches it.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use portwarden_core::{
    announce::AnnounceError,
    ecr::EcrError,
    id::TenantId,
    object::{MemoryObjects, ObjectError},
    session::AssumeError,
    store::{MemoryStore, StoreError, WriteError},
    tenant_account::ReadError,
    work::{InventoryRequest, QueueError, ScanRequest, VerifyRequest},
};
use portwarden_registry::{Outage as Unavailable, RegistryError};

use crate::{
    Faults,
    agenda::{Agenda, Pause},
    breach::{Breach, Violation},
    bridge::Bridge,
    chance::Chance,
    cloud::Cloud,
    ecr::Ecr,
    figures::Figures,
    function::Function,
    image::Warehouse,
    life::Life,
    model::Model,
    queue::{QueueName, Queues},
    trace::Trace,
};

/// The world, shared by everything that lives in it.
pub(crate) struct World(Mutex<State>);

/// What the world is made of.
pub(crate) struct State {
    pub(crate) agenda: Agenda,
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) objects: MemoryObjects,
    pub(crate) cloud: Cloud,
    pub(crate) ecr: Ecr,
    pub(crate) warehouse: Warehouse,
    pub(crate) bridge: Bridge,
    pub(crate) queues: Queues,
    pub(crate) model: Model,
    /// How many events are to be sent.
    pub(crate) wanted: u64,
    /// Whether all has come to rest, and stacks are silent from then on.
    pub(crate) is_silent: bool,
    /// What each process works on.
    pub(crate) serving: BTreeMap<u64, Serving>,
    pub(crate) figures: Figures,
    pub(crate) violation: Option<Violation>,
}

/// What the world does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Somebody does something to a registry, or sends something.
    Act,
    /// EventBridge, or somebody else, posts a delivery.
    Deliver(u64),
    /// A message can be received.
    Arrive(QueueName, u64),
    /// An invocation's time is over.
    TimeOut(u64),
    /// The operator moves dead letters back.
    Redrive,
    /// The owners of roles look at their connections.
    Inspect,
    /// The schedule invokes the verifier, this time and so many times more.
    Round(u32),
    /// A stack or its owner does something in its turn.
    Live(Life),
    /// A policy of our own gets, or no longer gets, in the way of negative probes.
    Muzzle(bool),
}

/// What a process works on.
pub(crate) struct Serving {
    pub(crate) started: Timestamp,
    pub(crate) work: Work,
    /// Whose work it is; nothing for an endpoint that does not exist, and for a round, which is everybody's.
    pub(crate) tenant: Option<TenantId>,
    /// How often the world failed it.
    pub(crate) troubles: u32,
    /// What STS told it.
    pub(crate) told: Vec<Told>,
    /// Whose role it asks for under a session's name.
    pub(crate) batches: BTreeMap<String, usize>,
    /// What it queued.
    pub(crate) queued: u32,
}

/// One invocation's work.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Delivery(u64),
    Scan {
        queue: QueueName,
        message: u64,
        request: Box<ScanRequest>,
    },
    Verify {
        message: u64,
        request: Box<VerifyRequest>,
    },
    Inventory {
        message: u64,
        request: Box<InventoryRequest>,
    },
    Notify {
        message: u64,
    },
    Round,
}

/// An answer of STS, as the function saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The name of the session, which all probes of one test share.
    pub(crate) session: String,
    pub(crate) asked: Asked,
    pub(crate) answer: StsAnswer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Role {
        role: String,
        external_id: Option<String>,
    },
    Canary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StsAnswer {
    Opened,
    Refused,
    Unknown,
}

/// A function's process, as the world sees it: every right of every function leads through here.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    pub(crate) id: u64,
    pub(crate) function: Function,
}

/// How a service fails.
pub(crate) trait Outage: Send {
    /// The service did nothing, since it is asked too much.
    fn throttled() -> Self;
    /// The service did what was asked, and its answer was lost.
    fn lost() -> Self;
}

impl World {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Self(Mutex::new(state)))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn now(&self) -> Timestamp {
        self.agenda.now()
    }

    /// Remembers the first violation; a run ends with it.
    pub(crate) fn judge(&mut self, checked: Result<(), Breach>) {
        if let (Err((invariant, what)), None) = (checked, &self.violation) {
            let steps = self.trace.recent(60);
            self.violation = Some(Violation {
                invariant,
                what,
                steps,
            });
        }
    }

    pub(crate) fn note(
        &mut self,
        process: u64,
        what: &'static str,
        subject: impl Display,
        outcome: &'static str,
    ) {
        let at = self.agenda.now();
        self.trace.note(at, process, what, subject, outcome);
    }

    /// Returns how long a message takes one way: some milliseconds, and now and then much longer.
    fn latency(&mut self) -> Duration {
        let (low, high) = match self.chance.below(1000) {
            0..4 => (500, 3_000),
            4..60 => (20, 200),
            _ => (1, 20),
        };
        Duration::from_micros(self.chance.between(low * 1000, high * 1000))
    }
}

impl Process {
    /// Makes a call: the request travels, something happens or is refused, and the answer travels back.
    ///
    /// An invocation that ends on either way has died before or after the effect.
    pub(crate) async fn call<T: Send, E: Outage>(
        &self,
        what: &'static str,
        subject: impl Display + Send,
        effect: impl FnOnce(&mut State) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        self.travel().await;
        let answer = {
            let state = &mut *self.world.state();
            let (throttled, lost) = (state.faults.throttled, state.faults.lost);
            state.figures.calls += 1;
            if state.chance.per_mille(throttled) {
                self.trouble(state, what, subject, "throttled");
                Err(E::throttled())
            } else {
                let answer = effect(state);
                if state.chance.per_mille(lost) {
                    self.trouble(state, what, subject, "lost");
                    Err(E::lost())
                } else {
                    state.note(
                        self.id,
                        what,
                        subject,
                        if answer.is_ok() { "ok" } else { "refused" },
                    );
                    answer
                }
            }
        };
        self.travel().await;
        answer
    }

    /// Lets time pass as one way to a service or back takes.
    async fn travel(&self) {
        let until = {
            let mut state = self.world.state();
            let latency = state.latency();
            state.now() + latency
        };
        Pause::until(&self.world, until).await;
    }

    fn trouble(&self, state: &mut State, what: &'static str, subject: impl Display, outcome: &'static str) {
        if let Some(serving) = state.serving.get_mut(&self.id) {
            serving.troubles += 1;
        }
        state.figures.troubles += 1;
        state.note(self.id, what, subject, outcome);
    }
}

impl Outage for StoreError {
    fn throttled() -> Self {
        Self::Throttled
    }

    fn lost() -> Self {
        Self::Unavailable("the answer was lost".into())
    }
}

impl Outage for WriteError {
    fn throttled() -> Self {
        StoreError::throttled().into()
    }

    fn lost() -> Self {
        StoreError::lost().into()
    }
}

impl Outage for QueueError {
    fn throttled() -> Self {
        Self("throttled".into())
    }

    fn lost() -> Self {
        Self("the answer was lost".into())
    }
}

impl Outage for ObjectError {
    fn throttled() -> Self {
        Self("throttled".into())
    }

    fn lost() -> Self {
        Self("the answer was lost".into())
    }
}

impl Outage for AnnounceError {
    fn throttled() -> Self {
        Self("throttled".into())
    }

    fn lost() -> Self {
        Self("the answer was lost".into())
    }
}

impl Outage for AssumeError {
    fn throttled() -> Self {
        Self::Throttled
    }

    fn lost() -> Self {
        Self::Unreachable("the answer was lost".into())
    }
}

impl Outage for ReadError {
    fn throttled() -> Self {
        Self::Throttled
    }

    fn lost() -> Self {
        Self::Unreachable("the answer was lost".into())
    }
}

impl Outage for EcrError {
    fn throttled() -> Self {
        Self::Throttled
    }

    fn lost() -> Self {
        Self::Unreachable("the answer was lost".into())
    }
}

impl Outage for RegistryError {
    fn throttled() -> Self {
        Self::Throttled {
            host: "registry".to_owned(),
            retry_after: None,
        }
    }

    fn lost() -> Self {
        Self::Unavailable {
            host: "registry".to_owned(),
            source: Unavailable::Connection("the answer was lost".into()),
        }
    }
}
