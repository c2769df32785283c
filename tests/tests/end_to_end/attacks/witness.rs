//! What the functions ask of AWS, seen on its way: which role is opened with what, and what is done in its session.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard},
};

use aws_sdk_ecr::config::Credentials;
use bytes::Bytes;
use portwarden_core::arn::RoleArn;
use portwarden_testkit::proxy::{Call, Fault, Tap};
use reqwest::Url;

/// Stands between the functions and the emulator.
#[derive(Default)]
pub(super) struct Witness {
    seen: Mutex<Vec<Seen>>,
    /// By the id of the access key.
    sessions: Mutex<BTreeMap<String, Session>>,
    meddling: Mutex<Option<Meddling>>,
}

/// How a test changes what STS says.
pub(super) enum Meddling {
    /// What openings meet on their way.
    Fault(Meet),
    /// What the answers become.
    Answer(Change),
}

type Meet = Box<dyn Fn(&Opening) -> Option<Fault> + Send + Sync>;
type Change = Box<dyn Fn(&Opening, String) -> String + Send + Sync>;

/// That STS is asked for a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) role: String,
    pub(super) external_id: Option<String>,
    /// The session's name: the function's, with the work's id.
    pub(super) name: String,
    /// The id of the access key with which it is asked.
    pub(super) by: String,
}

/// What was opened, and what opens now.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) opening: Opening,
    pub(super) credentials: Credentials,
}

struct Seen {
    call: Call,
    opening: Option<Opening>,
}

/// From where on a test looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(usize);

/// What leaves something behind: all that the functions do of this kind.
const EFFECTS: [(&str, &str); 8] = [
    ("dynamodb", "PutItem"),
    ("dynamodb", "UpdateItem"),
    ("dynamodb", "DeleteItem"),
    ("dynamodb", "TransactWriteItems"),
    ("dynamodb", "BatchWriteItem"),
    ("sqs", "SendMessage"),
    ("sqs", "SendMessageBatch"),
    ("events", "PutEvents"),
];

impl Witness {
    /// Looks from now on.
    pub(super) fn mark(&self) -> Mark {
        Mark(lock(&self.seen).len())
    }

    pub(super) fn meddle(&self, meddling: Option<Meddling>) {
        *lock(&self.meddling) = meddling;
    }

    /// Returns what was asked of STS in the name of the connector role, which is all that tenants' accounts see.
    pub(super) fn openings(&self, since: Mark) -> Vec<Opening> {
        let seen = lock(&self.seen);
        let openings = seen[since.0..].iter().filter_map(|seen| seen.opening.clone());
        // The functions' own credentials open the connector role and nothing else.
        openings
            .filter(|opening| self.session(&opening.by).is_some())
            .collect()
    }

    /// Returns the calls that were made in sessions of a role.
    pub(super) fn calls_of(&self, role: &RoleArn, since: Mark) -> Vec<Call> {
        self.calls(since)
            .filter(|(session, _)| session.opening.role == role.as_str())
            .map(|(_, call)| call)
            .collect()
    }

    /// Returns the calls that were made in sessions, each with its session.
    pub(super) fn calls(&self, since: Mark) -> impl Iterator<Item = (Session, Call)> {
        let seen = lock(&self.seen);
        let calls: Vec<_> = seen[since.0..].iter().map(|seen| seen.call.clone()).collect();
        let sessions = lock(&self.sessions).clone();
        calls
            .into_iter()
            .filter_map(move |call| Some((sessions.get(&call.access_key_id)?.clone(), call)))
    }

    /// Returns what was written, queued or told of something, by its id.
    pub(super) fn effects(&self, of: &str, since: Mark) -> Vec<String> {
        let seen = lock(&self.seen);
        let calls = seen[since.0..].iter().map(|seen| &seen.call);
        calls
            .filter(|call| EFFECTS.contains(&(call.service.as_str(), call.operation.as_str())))
            .filter(|call| String::from_utf8_lossy(&call.body).contains(of))
            .map(|call| format!("{} {}", call.operation, String::from_utf8_lossy(&call.body)))
            .collect()
    }

    /// Counts what was queued for something, by its id.
    pub(super) fn queued(&self, queue: &str, of: &str, since: Mark) -> usize {
        let seen = lock(&self.seen);
        let calls = seen[since.0..].iter().map(|seen| &seen.call);
        let is_wanted = |call: &&Call| {
            let body = String::from_utf8_lossy(&call.body);
            call.operation == "SendMessage" && body.contains(queue) && body.contains(of)
        };
        calls.filter(is_wanted).count()
    }

    /// Returns the last session that was opened as demanded.
    pub(super) fn last_session(&self, is_wanted: impl Fn(&Opening) -> bool) -> Option<Session> {
        let (seen, sessions) = (lock(&self.seen), lock(&self.sessions));
        let openings = seen.iter().rev().filter_map(|seen| seen.opening.as_ref());
        let mut wanted = openings.filter(|opening| is_wanted(opening));
        wanted.find_map(|opening| {
            let session = sessions.values().find(|session| session.opening == *opening);
            session.cloned()
        })
    }

    /// Tells whether what was asked for was opened.
    pub(super) fn is_open(&self, opening: &Opening) -> bool {
        let sessions = lock(&self.sessions);
        sessions.values().any(|session| session.opening == *opening)
    }

    pub(super) fn session(&self, access_key_id: &str) -> Option<Session> {
        lock(&self.sessions).get(access_key_id).cloned()
    }
}

impl Tap for Witness {
    fn fault(&self, call: &Call) -> Option<Fault> {
        let opening = Opening::of(call);
        lock(&self.seen).push(Seen {
            call: call.clone(),
            opening: opening.clone(),
        });
        match &*lock(&self.meddling) {
            Some(Meddling::Fault(fault)) => fault(&opening?),
            Some(Meddling::Answer(_)) | None => None,
        }
    }

    fn answer(&self, call: &Call, content: Bytes) -> Bytes {
        let Some(opening) = Opening::of(call) else {
            return content;
        };
        let text = String::from_utf8_lossy(&content).into_owned();
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            Some(rest.split_once("</")?.0.to_owned())
        };
        let keys = ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(element);
        if let [Some(id), Some(secret), Some(token)] = keys {
            let session = Session {
                opening: opening.clone(),
                credentials: Credentials::new(&id, secret, Some(token), None, "session"),
            };
            lock(&self.sessions).insert(id, session);
        }
        match &*lock(&self.meddling) {
            Some(Meddling::Answer(change)) => change(&opening, text).into(),
            Some(Meddling::Fault(_)) | None => content,
        }
    }
}

impl Opening {
    fn of(call: &Call) -> Option<Self> {
        if (call.service.as_str(), call.operation.as_str()) != ("sts", "AssumeRole") {
            return None;
        }
        let form = Url::parse(&format!("form:?{}", std::str::from_utf8(&call.body).ok()?)).ok()?;
        let field = |name: &str| {
            let mut pairs = form.query_pairs();
            Some(pairs.find(|(field, _)| field == name)?.1.into_owned())
        };
        Some(Self {
            role: field("RoleArn")?,
            external_id: field("ExternalId"),
            name: field("RoleSessionName")?,
            by: call.access_key_id.clone(),
        })
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
