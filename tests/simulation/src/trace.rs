//! Everything that happened, as one digest, and the last of it in words.

use std::{
    collections::VecDeque,
    fmt::{self, Display, Write as _},
};

use jiff::Timestamp;
use portwarden_oci::DigestHasher;

/// The record of a run.
pub(crate) struct Trace {
    hasher: DigestHasher,
    steps: u64,
    recent: VecDeque<Step>,
    watched: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// To whom: a function's process, or 0 for the world itself.
    pub process: u64,
    /// What.
    pub what: &'static str,
    /// Of what.
    pub subject: String,
    /// How it ended.
    pub outcome: &'static str,
}

/// How many steps are kept in words.
const RECENT: usize = 400;

impl Trace {
    /// Starts a record; steps of what has `watched` in its name are written to standard error.
    pub(crate) fn watching(watched: Option<String>) -> Self {
        Self {
            watched,
            hasher: DigestHasher::default(),
            steps: 0,
            recent: VecDeque::with_capacity(RECENT),
        }
    }

    pub(crate) fn note(
        &mut self,
        at: Timestamp,
        process: u64,
        what: &'static str,
        subject: impl Display,
        outcome: &'static str,
    ) {
        // The oldest step's place is taken, with its text: there are millions of steps.
        let oldest = (self.recent.len() == RECENT).then(|| self.recent.pop_front());
        let mut text = oldest.flatten().map_or_else(String::new, |step| step.subject);
        text.clear();
        write!(text, "{subject}").expect("a text takes everything");
        let step = Step {
            at,
            process,
            what,
            subject: text,
            outcome,
        };
        self.steps += 1;
        self.hasher.update(&step.at.as_nanosecond().to_le_bytes());
        self.hasher.update(&step.process.to_le_bytes());
        for text in [step.what, &step.subject, step.outcome] {
            self.hasher.update(text.as_bytes());
            self.hasher.update(&[0]);
        }
        if let Some(watched) = &self.watched
            && step.subject.contains(watched)
        {
            eprintln!("{step}");
        }
        self.recent.push_back(step);
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns the digest of everything so far, in hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        self.hasher.clone().finish().hex()
    }

    /// Returns the last steps, oldest first.
    pub(crate) fn recent(&self, most: usize) -> Vec<Step> {
        let skipped = self.recent.len().saturating_sub(most);
        self.recent.iter().skip(skipped).cloned().collect()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:>4} {} {}: {}",
            self.at, self.process, self.what, self.subject, self.outcome
        )
    }
}
