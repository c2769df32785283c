//! How a command ends: what the shell is told, and what the person is.

use std::{error::Error, fmt, process::ExitCode};

use portwarden_core::{notification::TellError, problem::Problem, store::StoreError, work::QueueError};

use crate::text::printable;

/// How a command ended that did what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Status 0.
    Done,
    /// Status 1: the connection was tested, and its role is not trusted.
    NotTrusted,
    /// Status 3: the image was scanned, but packages may be missing.
    Partial,
    /// Status 4: there are findings of the severity that was asked for, or worse.
    Found,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0,
            Ending::NotTrusted => 1,
            Ending::Partial => 3,
            Ending::Found => 4,
        })
    }
}

/// Why a command did not do what it was asked to, as the person at the terminal is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    problem: Problem,
    /// What lies behind it, the nearest cause first.
    causes: Vec<String>,
}

impl Failure {
    /// Describes a failure.
    pub(crate) fn new(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::new(code, message, fix).into()
    }

    /// Adds an error and everything behind it.
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        self.causes.push(error.to_string());
        self.because_of_source(error)
    }

    /// Adds what is behind an error that is itself said already.
    pub(crate) fn because_of_source(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            self.causes.push(cause.to_string());
            source = cause.source();
        }
        // A transparent error says what its source says.
        self.causes.dedup();
        self
    }

    #[cfg(test)]
    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            causes: Vec::new(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let fix = match &error {
            StoreError::Throttled => "wait a minute and run the command again",
            StoreError::Unavailable(_) => {
                "check that AWS can be reached and run the command again; with --local, that `make run` still runs"
            }
            StoreError::Denied(_) => {
                "use credentials of the operator's account that may read and write the stack's table"
            }
            _ => "make sure that this program is as new as the stack, then run the command again",
        };
        Self::new("store_failed", error.to_string(), fix).because_of_source(&error)
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let fix = "use credentials of the operator's account that may send to the stack's queues, and run the \
                   command again";
        Self::new("queue_failed", error.to_string(), fix).because_of_source(&error)
    }
}

impl From<TellError> for Failure {
    fn from(error: TellError) -> Self {
        match error {
            TellError::Store(error) => error.into(),
            TellError::Queue(error) => error.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", printable(&self.problem.message))?;
        for cause in &self.causes {
            writeln!(f, "cause: {}", printable(cause))?;
        }
        writeln!(f, "fix: {}", printable(&self.problem.fix))?;
        writeln!(f, "code: {}", self.problem.code)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let inner = io::Error::other("no route to host");
        let failure = Failure::new("it_failed", "it failed", "mend it").because(&inner);
        assert_eq!(
            failure.to_string(),
            "error: it failed\ncause: no route to host\nfix: mend it\ncode: it_failed\n"
        );
    }

    #[test]
    fn the_chain_is_said_once() {
        let failure = Failure::from(StoreError::Unavailable("no route to host".into()));
        let text = failure.to_string();
        assert!(
            text.starts_with("error: the table is unavailable\ncause: no route to host\nfix: "),
            "{text}"
        );
    }

    #[test]
    fn a_strangers_text_cannot_steer_the_terminal() {
        let failure = Failure::new("x", "\u{1b}[2Jall is well", "\r\nfix");
        let text = failure.to_string();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_eq!(text.lines().count(), 3);
    }
}
