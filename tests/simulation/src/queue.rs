//! The queues, as SQS and Lambda keep them: at least once, again after a time, and to the dead letters after five times.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use portwarden_core::{
    id::IntegrationId,
    notification::NotifyRequest,
    work::{InventoryRequest, ScanRequest, VerifyRequest},
};

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum QueueName {
    Scan,
    Backfill,
    Verify,
    Inventory,
    Notify,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Scan(Box<ScanRequest>),
    Verify(Box<VerifyRequest>),
    Inventory(Box<InventoryRequest>),
    Notify(Box<NotifyRequest>),
}

/// All queues.
pub(crate) struct Queues {
    sent: u64,
    queues: BTreeMap<QueueName, Queue>,
}

/// One queue, its dead letters, and how many of its messages are worked on.
#[derive(Default)]
pub(crate) struct Queue {
    messages: BTreeMap<u64, Message>,
    ready: VecDeque<u64>,
    dead: Vec<u64>,
    running: usize,
}

struct Message {
    request: Request,
    received: u32,
}

/// How often a message is received before it is a dead letter, as in the operator's template.
const MOST_RECEIVED: u32 = 5;

impl QueueName {
    pub(crate) const ALL: [Self; 5] = [
        Self::Scan,
        Self::Backfill,
        Self::Verify,
        Self::Inventory,
        Self::Notify,
    ];

    /// How long a received message is hidden, as in the operator's template.
    pub(crate) fn visibility(self) -> Duration {
        match self {
            Self::Scan | Self::Backfill | Self::Inventory => Duration::from_mins(17),
            Self::Verify => Duration::from_mins(30),
            Self::Notify => Duration::from_mins(3),
        }
    }

    /// How many messages are worked on at the same time, as in the operator's template.
    fn concurrency(self) -> usize {
        match self {
            Self::Scan | Self::Notify => 20,
            Self::Backfill => 5,
            Self::Verify | Self::Inventory => 10,
        }
    }
}

impl Request {
    /// Returns the integration whose registry it needs, if it needs one.
    pub(crate) fn integration(&self) -> Option<&IntegrationId> {
        match self {
            Self::Scan(request) => Some(&request.integration),
            Self::Inventory(request) => Some(&request.integration),
            Self::Verify(_) | Self::Notify(_) => None,
        }
    }

    pub(crate) fn body(&self) -> String {
        let body = match self {
            Self::Scan(request) => serde_json::to_string(request),
            Self::Verify(request) => serde_json::to_string(request),
            Self::Inventory(request) => serde_json::to_string(request),
            Self::Notify(request) => serde_json::to_string(request),
        };
        body.expect("requests can be written as JSON")
    }
}

impl Queues {
    pub(crate) fn new() -> Self {
        let queues = QueueName::ALL.map(|name| (name, Queue::default()));
        Self {
            sent: 0,
            queues: queues.into(),
        }
    }

    fn queue(&mut self, name: QueueName) -> &mut Queue {
        self.queues.entry(name).or_default()
    }

    /// Takes a message, which can be received when it arrives.
    pub(crate) fn send(&mut self, name: QueueName, request: Request) -> u64 {
        self.sent += 1;
        let number = self.sent;
        let message = Message { request, received: 0 };
        self.queue(name).messages.insert(number, message);
        number
    }

    /// Makes a message one that can be received, if it is still there.
    pub(crate) fn arrive(&mut self, name: QueueName, message: u64) {
        let queue = self.queue(name);
        if queue.messages.contains_key(&message) {
            queue.ready.push_back(message);
        }
    }

    /// Hands out the next message if there is room for one more to be worked on.
    pub(crate) fn receive(&mut self, name: QueueName) -> Option<(u64, Request)> {
        let queue = self.queue(name);
        while queue.running < name.concurrency() {
            let number = queue.ready.pop_front()?;
            let Some(message) = queue.messages.get_mut(&number) else {
                continue;
            };
            if message.received >= MOST_RECEIVED {
                queue.dead.push(number);
                continue;
            }
            message.received += 1;
            queue.running += 1;
            return Some((number, message.request.clone()));
        }
        None
    }

    /// Ends the work on a message, and deletes it if it is done.
    pub(crate) fn end(&mut self, name: QueueName, message: u64, is_done: bool) {
        let queue = self.queue(name);
        queue.running -= 1;
        if is_done {
            queue.messages.remove(&message);
        }
    }

    /// Moves those dead letters back that may succeed now, and returns them.
    pub(crate) fn redrive(&mut self, name: QueueName, may_succeed: impl Fn(&Request) -> bool) -> Vec<u64> {
        let Queue { dead, messages, .. } = self.queue(name);
        let moved = dead.extract_if(.., |number| {
            let message = messages.get_mut(number);
            message.is_some_and(|message| {
                let moves = may_succeed(&message.request);
                message.received = if moves { 0 } else { message.received };
                moves
            })
        });
        moved.collect()
    }

    /// Returns the requests that are not done.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &Request> {
        self.queues
            .values()
            .flat_map(|queue| queue.messages.values().map(|message| &message.request))
    }
}
