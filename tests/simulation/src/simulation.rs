//! One run: from a seed to its end, or to the first violation.

mod seasons;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{object::MemoryObjects, store::MemoryStore};

use crate::{
    agenda::{Agenda, Next},
    breach::Violation,
    bridge::Bridge,
    chance::{Chance, Seeded},
    cloud::Cloud,
    ecr::Ecr,
    figures::Figures,
    function::Function,
    image::Warehouse,
    lambda::{Answer, Ended, Lambda, Payload, Progress},
    queue::{QueueName, Queues, Request},
    setup,
    trace::Trace,
    wiring::Wiring,
    world::{Job, State, Work, World},
};

/// What a run depends on, besides the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How many events are sent, copies and repetitions not counted.
    pub events: u64,
    /// How many tenants there are.
    pub tenants: usize,
    /// What goes wrong.
    pub faults: Faults,
    /// Part of the name of something, a digest say, whose every step is to be written to standard error.
    pub watch: Option<String>,
}

/// What goes wrong, in how many of a thousand cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// Events that are delivered once more.
    pub duplicated: u32,
    /// Calls to any service that are throttled.
    pub throttled: u32,
    /// Calls that have their effect and whose answer is lost.
    pub lost: u32,
    /// Uses of a session that find it expired or revoked.
    pub expired: u32,
    /// Invocations that die at one of their awaits.
    pub crash: u32,
    /// Layers that take much of an invocation's time.
    pub slow: u32,
    /// Messages of queues that come once more when they are done.
    pub redelivered: u32,
    /// Events of images that ECR never sends.
    pub unsent: u32,
    /// Messages that a webhook's receiver does not take.
    pub refused: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            duplicated: 200,
            throttled: 50,
            lost: 5,
            expired: 10,
            crash: 10,
            slow: 2,
            redelivered: 10,
            unsent: 5,
            refused: 50,
        }
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        duplicated: 0,
        throttled: 0,
        lost: 0,
        expired: 0,
        crash: 0,
        slow: 0,
        redelivered: 0,
        unsent: 0,
        refused: 0,
    };
}

/// A run that came to its end with nothing broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The digest of everything that happened, in its order.
    pub digest: String,
    /// How many steps that is.
    pub steps: u64,
    /// How much of everything there was.
    pub figures: Figures,
    /// How much time passed in the world.
    pub took: SignedDuration,
}

/// How often the owners of roles look at their connections.
const INSPECTION: Duration = Duration::from_mins(4);

/// Runs the functions in a world until everything has come to rest.
///
/// # Errors
///
/// The first thing that was seen not to be as it must always be.
pub fn run(settings: &Settings, wiring: Arc<dyn Wiring>) -> Result<Finished, Box<Violation>> {
    Run::new(settings, wiring).go()
}

struct Run {
    world: Arc<World>,
    lambda: Lambda,
    /// Makes the ids of requests of people.
    people: Seeded,
    started: Timestamp,
    last_event: Option<Timestamp>,
    is_calm: bool,
    is_at_rest: bool,
}

impl Run {
    fn new(settings: &Settings, wiring: Arc<dyn Wiring>) -> Self {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a constant time is valid");
        let mut chance = Chance::of(settings.seed);
        let store = Arc::new(MemoryStore::default());
        let mut cloud = Cloud::new(now);
        let mut model = setup::tenants(settings.tenants, &store, &mut cloud, now, &mut chance);
        let objects = MemoryObjects::default();
        setup::advisories(&store, &objects, now);
        setup::webhooks(&store, &mut model, now, &mut chance);
        let mut lambda_chance = chance.fork();
        let people = Seeded::new(chance.fork());
        let mut agenda = Agenda::starting_at(now);
        agenda.after(Duration::ZERO, Job::Inspect);
        // The first events come before everybody is connected.
        agenda.after(Duration::from_secs(20), Job::Act);
        agenda.after(seasons::REDRIVE, Job::Redrive);
        agenda.after(Duration::from_secs(40), Job::Round(0));
        agenda.after(Duration::from_mins(50), Job::Muzzle(true));
        let world = World::new(State {
            agenda,
            chance,
            faults: settings.faults.clone(),
            trace: Trace::watching(settings.watch.clone()),
            store,
            objects,
            cloud,
            ecr: Ecr::default(),
            warehouse: Warehouse::new(),
            bridge: Bridge::default(),
            queues: Queues::new(),
            model,
            wanted: settings.events,
            is_silent: false,
            serving: BTreeMap::new(),
            figures: Figures::default(),
            violation: None,
        });
        world.state().begin_lives();
        Self {
            lambda: Lambda::new(&world, wiring, &mut lambda_chance),
            world,
            people,
            started: now,
            last_event: None,
            is_calm: false,
            is_at_rest: false,
        }
    }

    fn go(mut self) -> Result<Finished, Box<Violation>> {
        loop {
            loop {
                match self.lambda.step() {
                    Progress::Waiting => break,
                    Progress::Made => {}
                    Progress::Ended(ended) => self.end(ended),
                }
                self.check()?;
            }
            let next = self.world.state().agenda.advance();
            match next {
                None => break,
                Some(Next::Wake(waker)) => waker.wake(),
                Some(Next::Do(job)) => self.perform(job),
            }
            self.check()?;
        }
        let ended = {
            let state = &mut *self.world.state();
            let checked = state.check_goodbyes();
            state.judge(checked);
            state.now()
        };
        self.check()?;
        let state = self.world.state();
        Ok(Finished {
            digest: state.trace.digest(),
            steps: state.trace.steps(),
            figures: state.figures.clone(),
            took: ended.duration_since(self.started),
        })
    }

    fn check(&self) -> Result<(), Box<Violation>> {
        match self.world.state().violation.take() {
            Some(violation) => Err(Box::new(violation)),
            None => Ok(()),
        }
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Act => self.act(),
            Job::Deliver(delivery) => self.deliver(delivery),
            Job::Arrive(queue, message) => {
                self.world.state().queues.arrive(queue, message);
                self.receive(queue);
            }
            Job::TimeOut(task) => {
                if let Some(ended) = self.lambda.time_out(task) {
                    self.end(ended);
                }
            }
            Job::Redrive => self.redrive(),
            Job::Inspect => self.inspect(),
            Job::Round(more) => self.go_round(more),
            Job::Live(life) => self.world.state().live(life, &self.people),
            Job::Muzzle(on) => {
                let state = &mut *self.world.state();
                state.cloud.is_muzzled = on && !self.is_calm;
                let (low, high) = if on { (60, 600) } else { (1800, 7200) };
                let wait = Duration::from_secs(state.chance.between(low, high));
                if !self.is_calm {
                    state.agenda.after(wait, Job::Muzzle(!on));
                }
            }
        }
    }

    fn act(&mut self) {
        let state = &mut *self.world.state();
        if state.figures.events < state.wanted {
            state.act();
        } else {
            self.last_event = Some(state.now());
        }
    }

    fn deliver(&mut self, delivery: u64) {
        let (request, tenant) = {
            let state = &mut *self.world.state();
            let Some((request, integration)) = state.request(delivery) else {
                return;
            };
            state.figures.deliveries += 1;
            let party = state.model.party_of(&integration);
            (
                request,
                party.map(|party| state.model.parties[party].tenant.clone()),
            )
        };
        let payload = Payload::Http(request);
        self.lambda
            .invoke(Function::Receiver, Work::Delivery(delivery), tenant, payload);
    }

    /// Hands out messages as long as there is somebody to work on them.
    fn receive(&mut self, queue: QueueName) {
        loop {
            let Some((message, request)) = self.world.state().queues.receive(queue) else {
                return;
            };
            let payload = Payload::Message(request.body());
            match request {
                Request::Scan(request) => {
                    let tenant = Some(request.tenant.clone());
                    let work = Work::Scan {
                        queue,
                        message,
                        request,
                    };
                    self.lambda.invoke(Function::Scanner, work, tenant, payload);
                }
                Request::Verify(request) => {
                    let tenant = Some(request.tenant.clone());
                    let work = Work::Verify { message, request };
                    self.lambda.invoke(Function::Verifier, work, tenant, payload);
                }
                Request::Notify(request) => {
                    let tenant = Some(request.scope().tenant().clone());
                    let work = Work::Notify { message };
                    self.lambda.invoke(Function::Notifier, work, tenant, payload);
                }
                Request::Inventory(request) => {
                    let tenant = Some(request.tenant.clone());
                    let work = Work::Inventory { message, request };
                    self.lambda.invoke(Function::Reconciler, work, tenant, payload);
                }
            }
        }
    }

    fn end(&mut self, ended: Ended) {
        let Ended { process, answer } = ended;
        let queue = {
            let state = &mut *self.world.state();
            let work = state.serving.get(&process).map(|serving| serving.work.clone());
            let queue = match (work, answer) {
                (Some(Work::Delivery(delivery)), answer) => {
                    state.end_delivery(process, delivery, answer);
                    None
                }
                (Some(Work::Scan { queue, message, .. }), answer) => {
                    state.end_message(queue, message, &answer);
                    Some(queue)
                }
                (Some(Work::Inventory { message, .. }), answer) => {
                    state.end_message(QueueName::Inventory, message, &answer);
                    Some(QueueName::Inventory)
                }
                (Some(Work::Notify { message }), answer) => {
                    let is_done = matches!(answer, Answer::Batch(true));
                    state.model.told.end(process, is_done);
                    state.end_message(QueueName::Notify, message, &answer);
                    Some(QueueName::Notify)
                }
                (Some(Work::Verify { message, .. }), answer) => {
                    state.end_message(QueueName::Verify, message, &answer);
                    Some(QueueName::Verify)
                }
                (Some(Work::Round) | None, _) => None,
            };
            state.serving.remove(&process);
            queue
        };
        if let Some(queue) = queue {
            self.receive(queue);
        }
    }
}

impl State {
    fn end_delivery(&mut self, process: u64, delivery: u64, answer: Answer) {
        let Answer::Http(answer) = answer else {
            return self.delivered(delivery, None, None);
        };
        let status = answer["statusCode"].as_u64().unwrap_or_default();
        let retry_after = answer["headers"]["retry-after"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let body: Option<serde_json::Value> = answer["body"]
            .as_str()
            .and_then(|body| serde_json::from_str(body).ok());
        let code = body.as_ref().and_then(|body| body["code"].as_str());
        if status == 202 {
            self.figures.accepted += 1;
        }
        self.note(process, "answer", status, "sent");
        let checked = self.check_answer(process, delivery, status, code);
        self.judge(checked);
        self.delivered(delivery, Some(status), retry_after);
    }

    fn end_message(&mut self, name: QueueName, message: u64, answer: &Answer) {
        let is_done = matches!(answer, Answer::Batch(true));
        let comes_again = !is_done || self.chance.per_mille(self.faults.redelivered);
        self.queues.end(name, message, !comes_again);
        if comes_again {
            self.agenda.after(name.visibility(), Job::Arrive(name, message));
        }
    }
}
