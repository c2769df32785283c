//! Lambda: processes that serve one invocation at a time, and die.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use portwarden_aws::Metrics;
use portwarden_catalog::Limits;
use portwarden_core::{
    clock::Clock,
    endpoint::CredentialChecker,
    id::TenantId,
    integration::{Directory, Integrations},
    purge::Purge,
    receipt::AccessReceipts,
    reconcile::Inventories,
};
use portwarden_matching::Index;
use portwarden_notifier::{Context as Notifier, Outside as NotifierOutside};
use portwarden_receiver::context::{Context as Receiver, OperatorSettings, Outside as ReceiverOutside};
use portwarden_reconciler::{
    Answer as Reconciled, Context as Reconciler, Invocation, Outside as ReconcilerOutside,
};
use portwarden_scanner::{Context as Scanner, Inline, Outside as ScannerOutside};
use portwarden_verifier::{batch::verify_all, context::Context as Verifier, invocation, probe::PATIENCE};
use serde_json::{Value, json};

use crate::{
    agenda::WorldClock,
    chance::{Chance, Seeded},
    cloud::{connector_arn, operator_role},
    function::Function,
    outside::GivenUp,
    setup::webhook_key,
    wiring::Wiring,
    world::{Job, Process, Serving, Work, World},
};

/// All processes and what they work on.
pub(crate) struct Lambda {
    world: Arc<World>,
    wiring: Arc<dyn Wiring>,
    checker: Arc<CredentialChecker>,
    randomness: Arc<Seeded>,
    idle: BTreeMap<Function, Vec<Environment>>,
    tasks: BTreeMap<u64, Task>,
    ready: Arc<Ready>,
    started: u64,
    processes: u64,
    /// How many awaits an invocation had that lived to its end.
    awaits: BTreeMap<(Function, bool), u32>,
}

/// A process with what it remembers.
struct Environment {
    process: Process,
    context: Kept,
}

#[derive(Clone)]
enum Kept {
    Receiver(Arc<Receiver>),
    Verifier(Arc<Verifier>, Metrics),
    Scanner(Arc<Scanner>),
    Reconciler(Arc<Reconciler>),
    Notifier(Arc<Notifier>),
}

struct Task {
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
    waker: Waker,
    environment: Environment,
    /// Whether it goes round, for which a process makes many more awaits.
    is_round: bool,
    awaits: u32,
    /// At which await the process dies.
    dies_at: Option<u32>,
}

/// How an invocation ended.
pub(crate) enum Answer {
    /// The receiver answered.
    Http(Value),
    /// Whether the message is done.
    Batch(bool),
    /// The process died, or took too long.
    Died,
}

/// What became of a step.
pub(crate) enum Progress {
    /// All wait for something.
    Waiting,
    /// A task went on.
    Made,
    /// A task came to its end.
    Ended(Ended),
}

/// An invocation that ended.
pub(crate) struct Ended {
    pub(crate) process: u64,
    pub(crate) answer: Answer,
}

/// Tasks that can go on, in the order in which they were woken.
#[derive(Default)]
struct Ready(Mutex<VecDeque<u64>>);

struct Waking {
    task: u64,
    ready: Arc<Ready>,
}

impl Ready {
    fn push(&self, task: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(task);
    }

    fn pop(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.task);
    }
}

impl Function {
    /// How long an invocation may take, as in the operator's template.
    fn time_out(self) -> Duration {
        match self {
            Self::Receiver => Duration::from_secs(5),
            Self::Verifier => Duration::from_mins(5),
            Self::Scanner | Self::Reconciler => Duration::from_mins(15),
            Self::Notifier => Duration::from_secs(30),
        }
    }
}

impl Lambda {
    pub(crate) fn new(world: &Arc<World>, wiring: Arc<dyn Wiring>, chance: &mut Chance) -> Self {
        let randomness = Arc::new(Seeded::new(chance.fork()));
        Self {
            world: Arc::clone(world),
            wiring,
            // Shared by all processes of all functions, so that each password's hash is computed once in a run.
            checker: Arc::new(CredentialChecker::new(&*randomness)),
            randomness,
            idle: BTreeMap::new(),
            tasks: BTreeMap::new(),
            ready: Arc::default(),
            started: 0,
            processes: 0,
            awaits: BTreeMap::new(),
        }
    }

    /// Invokes a function: in a process that is idle, or in a new one.
    pub(crate) fn invoke(
        &mut self,
        function: Function,
        work: Work,
        tenant: Option<TenantId>,
        payload: Payload,
    ) {
        let environment = self.environment(function);
        let is_round = matches!(work, Work::Round);
        self.started += 1;
        let number = self.started;
        let dies_at = {
            let state = &mut *self.world.state();
            state.figures.invocations += 1;
            let serving = Serving {
                started: state.now(),
                work,
                tenant,
                troubles: 0,
                told: Vec::new(),
                batches: BTreeMap::new(),
                queued: 0,
            };
            state.serving.insert(environment.process.id, serving);
            state.agenda.after(function.time_out(), Job::TimeOut(number));
            let awaits = self.awaits.get(&(function, is_round)).copied().unwrap_or(8);
            let crash = state.faults.crash;
            let dies = state.chance.per_mille(crash);
            dies.then(|| 1 + u32::try_from(state.chance.below(awaits as usize)).unwrap_or(0))
        };
        let waking = Waking {
            task: number,
            ready: Arc::clone(&self.ready),
        };
        let task = Task {
            future: start(
                environment.context.clone(),
                payload,
                self.world.state().now() + function.time_out(),
            ),
            waker: Waker::from(Arc::new(waking)),
            environment,
            is_round,
            awaits: 0,
            dies_at,
        };
        self.tasks.insert(number, task);
        self.ready.push(number);
    }

    /// Lets the next task that can go on do so.
    pub(crate) fn step(&mut self) -> Progress {
        let Some(number) = self.ready.pop() else {
            return Progress::Waiting;
        };
        self.go_on(number).map_or(Progress::Made, Progress::Ended)
    }

    /// Lets a task go on; returns its end if it came to it.
    fn go_on(&mut self, number: u64) -> Option<Ended> {
        // It may have ended, and be woken by what it waited for.
        let task = self.tasks.get_mut(&number)?;
        let waker = task.waker.clone();
        match task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                task.awaits += 1;
                if task.dies_at != Some(task.awaits) {
                    return None;
                }
                self.world.state().figures.crashes += 1;
                self.kill(number)
            }
            Poll::Ready(answer) => {
                let task = self.tasks.remove(&number)?;
                let function = task.environment.process.function;
                self.awaits.insert((function, task.is_round), task.awaits.max(1));
                let process = task.environment.process.id;
                // A process is recycled now and then.
                if !self.world.state().chance.per_mille(10) {
                    self.idle.entry(function).or_default().push(task.environment);
                }
                let answer = match answer {
                    Answer::Http(answer) => Answer::Http(self.wiring.answer(answer)),
                    other => other,
                };
                Some(Ended { process, answer })
            }
        }
    }

    /// Ends an invocation that takes too long.
    pub(crate) fn time_out(&mut self, number: u64) -> Option<Ended> {
        let ended = self.kill(number)?;
        self.world.state().figures.time_outs += 1;
        Some(ended)
    }

    fn kill(&mut self, number: u64) -> Option<Ended> {
        let task = self.tasks.remove(&number)?;
        let process = task.environment.process.id;
        self.world.state().note(process, "process", number, "died");
        drop(task);
        Some(Ended {
            process,
            answer: Answer::Died,
        })
    }

    fn environment(&mut self, function: Function) -> Environment {
        let idle = self.idle.entry(function).or_default();
        if !idle.is_empty() {
            let place = self.world.state().chance.below(idle.len());
            return idle.swap_remove(place);
        }
        self.processes += 1;
        let process = Process {
            world: Arc::clone(&self.world),
            id: self.processes,
            function,
        };
        let context = self.start_process(&process);
        Environment { process, context }
    }

    fn start_process(&self, process: &Process) -> Kept {
        let rights = Arc::new(process.clone());
        let clock: Arc<dyn Clock> = Arc::new(WorldClock(Arc::clone(&self.world)));
        let metrics = || {
            let process = process.clone();
            Metrics::written_by(Arc::clone(&clock), move |line| {
                process.world.state().note(process.id, "metric", line, "ok");
            })
        };
        match process.function {
            Function::Receiver => {
                let outside = ReceiverOutside {
                    store: rights.clone(),
                    scans: rights.clone(),
                    verifications: rights.clone(),
                    inventories: rights.clone(),
                    clock,
                    randomness: self.randomness.clone(),
                    counts: rights,
                };
                let outside = self.wiring.receiver(outside);
                let checker = Arc::clone(&self.checker);
                Kept::Receiver(Arc::new(Receiver::with_checker(outside, operator(), checker)))
            }
            Function::Verifier => {
                let metrics = metrics();
                let context = Verifier {
                    integrations: Integrations::new(rights.clone()).remembering(Arc::clone(&self.checker)),
                    directory: Directory::new(rights.clone()),
                    inventories: Inventories::new(rights.clone()),
                    comparisons: rights.clone(),
                    roles: rights.clone(),
                    policies: rights.clone(),
                    sessions: rights.clone(),
                    receipts: AccessReceipts::new(rights.clone()),
                    calls: Arc::default(),
                    purge: Purge::new(
                        rights.clone(),
                        self.wiring.purged_objects(rights.clone()),
                        Arc::new(Index::new(rights.clone(), rights.clone())),
                    ),
                    secrets: rights.clone(),
                    again: rights.clone(),
                    ecr: rights.clone(),
                    bus: rights,
                    clock,
                    randomness: self.randomness.clone(),
                    connector: connector_arn(),
                    patience: PATIENCE.to_vec(),
                };
                Kept::Verifier(Arc::new(self.wiring.verifier(context)), metrics)
            }
            Function::Scanner => {
                let metrics = metrics();
                let outside = ScannerOutside {
                    store: rights.clone(),
                    objects: rights.clone(),
                    documents: rights.clone(),
                    roles: rights.clone(),
                    calls: Arc::default(),
                    ecr: rights.clone(),
                    registry_scans: rights.clone(),
                    registries: rights.clone(),
                    scans: rights.clone(),
                    verifications: rights.clone(),
                    notifies: rights.clone(),
                    bus: rights,
                    cataloguing: Arc::new(Inline),
                    metrics,
                    clock,
                    limits: Limits::default(),
                    parallel: NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN),
                };
                Kept::Scanner(Arc::new(Scanner::new(self.wiring.scanner(outside))))
            }
            Function::Reconciler => {
                let metrics = metrics();
                let outside = ReconcilerOutside {
                    store: rights.clone(),
                    roles: rights.clone(),
                    calls: Arc::default(),
                    ecr: rights.clone(),
                    scans: rights.clone(),
                    // Nothing lies there.
                    launch_regions: BTreeSet::new(),
                    inventories: rights.clone(),
                    verifications: rights.clone(),
                    bus: rights,
                    metrics,
                    clock,
                    randomness: self.randomness.clone(),
                };
                Kept::Reconciler(Arc::new(Reconciler::new(self.wiring.reconciler(outside))))
            }
            Function::Notifier => Kept::Notifier(self.start_notifier(process, metrics(), clock)),
        }
    }

    fn start_notifier(&self, process: &Process, metrics: Metrics, clock: Arc<dyn Clock>) -> Arc<Notifier> {
        let rights = Arc::new(process.clone());
        let outside = NotifierOutside {
            store: rights.clone(),
            queue: rights.clone(),
            dead_letters: Arc::new(GivenUp(process.clone())),
            bus: rights.clone(),
            post: rights,
            key: Arc::new(webhook_key()),
            metrics,
            clock,
            randomness: self.randomness.clone(),
        };
        Arc::new(Notifier::new(self.wiring.notifier(outside)))
    }
}

/// What an invocation is given.
pub(crate) enum Payload {
    Http(Value),
    Message(String),
    /// As the schedule's rule has it.
    Round,
}

fn start(
    context: Kept,
    payload: Payload,
    ends: jiff::Timestamp,
) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    match (context, payload) {
        (Kept::Receiver(context), Payload::Http(request)) => Box::pin(async move {
            let answer = portwarden_receiver::handler::handle(&context, &request, None).await;
            answer.map_or(Answer::Died, Answer::Http)
        }),
        (Kept::Verifier(context, metrics), Payload::Message(body)) => {
            Box::pin(async move { is_done(&verify_all(&context, &metrics, batch(body)).await) })
        }
        (Kept::Verifier(context, metrics), Payload::Round) => Box::pin(async move {
            let round = json!({"do": invocation::ROUND});
            let made = invocation::handle(&context, &metrics, round, ends).await;
            Answer::Batch(made.is_ok())
        }),
        (Kept::Scanner(context), Payload::Message(body)) => {
            Box::pin(async move { is_done(&portwarden_scanner::handle(&context, batch(body), ends).await) })
        }
        (Kept::Notifier(context), Payload::Message(body)) => {
            Box::pin(async move { is_done(&portwarden_notifier::handle(&context, batch(body)).await) })
        }
        (Kept::Reconciler(context), Payload::Message(body)) => Box::pin(async move {
            let batch = Invocation::Messages(batch(body));
            match portwarden_reconciler::handle(&context, batch, ends).await {
                Ok(Reconciled::Messages(response)) => is_done(&response),
                Err(_) => Answer::Batch(false),
            }
        }),
        _ => unreachable!(
            "requests are for the receiver, rounds for the verifier, and messages for all but the receiver"
        ),
    }
}

/// One message, as the template's event sources hand them on.
fn batch(body: String) -> SqsEvent {
    let mut message = SqsMessage::default();
    message.message_id = Some("m-1".to_owned());
    message.body = Some(body);
    let mut event = SqsEvent::default();
    event.records.push(message);
    event
}

fn is_done(response: &SqsBatchResponse) -> Answer {
    Answer::Batch(response.batch_item_failures.is_empty())
}

/// The operator's own registries, of which no event tells here.
fn operator() -> OperatorSettings {
    OperatorSettings {
        role: operator_role("portwarden-operator"),
        external_id: "pw-5f0d1c20-c2a1-11f0-9d53-0a1b2c3d4e5f"
            .parse()
            .expect("a constant id is valid"),
        region: "eu-west-1".parse().expect("a constant region is valid"),
    }
}
