//! What can go wrong with the local cloud, as a sentence and the fix.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use portwarden_core::problem::Problem;

/// Why the local cloud is not up, or why something in it failed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Another program listens on the port.
    #[error("port {port} on 127.0.0.1 is in use by another program")]
    PortBusy {
        /// The port.
        port: u16,
    },
    /// Another local cloud has its files in the same directory.
    #[error("another local cloud uses {}", state.display())]
    StateInUse {
        /// The directory.
        state: PathBuf,
    },
    /// No local cloud has its files in the directory.
    #[error("no local cloud runs with {}", state.display())]
    NotRunning {
        /// The directory.
        state: PathBuf,
    },
    /// The emulator, or a part of it, is not installed.
    #[error("the AWS emulator is not, or not completely, installed in {}", venv.display())]
    EmulatorMissing {
        /// Where it was looked for.
        venv: PathBuf,
    },
    /// The emulator ended although it should run.
    #[error("the AWS emulator ended unexpectedly: {last_words}")]
    EmulatorEnded {
        /// Its log.
        log: PathBuf,
        /// The last line of its log.
        last_words: String,
    },
    /// The emulator runs but does not answer.
    #[error("the AWS emulator did not answer within {seconds} s")]
    EmulatorSilent {
        /// Its log.
        log: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A function has not been built.
    #[error("the program of function {function} is missing: {}", path.display())]
    FunctionMissing {
        /// The function's logical id.
        function: String,
        /// Where its program was looked for.
        path: PathBuf,
    },
    /// There is no function of that name.
    #[error("there is no function {name}")]
    FunctionUnknown {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A template is not what the local cloud can deploy.
    #[error("the template {name} cannot be deployed: {reason}")]
    Template {
        /// Which template.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `CloudFormation` refused or rolled back a stack.
    #[error("stack {stack} was not created: {reason}")]
    StackFailed {
        /// The stack.
        stack: String,
        /// The resources that failed, with CloudFormation's reasons.
        reason: String,
    },
    /// A stack lacks an output that is needed here.
    #[error("stack {stack} has no output {output}")]
    OutputMissing {
        /// The stack.
        stack: String,
        /// The output.
        output: &'static str,
    },
    /// The image cannot be read or pushed.
    #[error("image {image} cannot be pushed")]
    Image {
        /// What was asked for.
        image: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The verifier has not proven a tenant's role.
    #[error("the connection of account {account} is not proven: {reason}")]
    NotConnected {
        /// The account.
        account: String,
        /// The verdict's sentence.
        reason: String,
    },
    /// An event did not reach Portwarden.
    #[error("the event of account {account} was not delivered: {reason}")]
    NotDelivered {
        /// The account.
        account: String,
        /// Why.
        reason: String,
    },
    /// The scanner will not scan the image.
    #[error("image {digest} was not scanned: {}", problem.message)]
    ImageRefused {
        /// The image.
        digest: String,
        /// What the scanner says.
        problem: Problem,
    },
    /// Somebody ended the run before there was a report.
    #[error("ended before there was a report")]
    Interrupted,
    /// No report came.
    #[error("no report of {digest} within {seconds} s")]
    ReportMissing {
        /// The image.
        digest: String,
        /// How long it was waited for.
        seconds: u64,
        /// The emulator's log, with the functions' output.
        log: PathBuf,
    },
    /// A file or a program cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A call to the emulator, or to a function in it, failed.
    #[error("cannot {action}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl LocalError {
    /// Says what to do about it, in one sentence.
    pub fn fix(&self) -> String {
        match self {
            Self::PortBusy { port } => format!(
                "end that program (`ss -ltnp 'sport = :{port}'` names it), or choose another port: make run PORT={}",
                port.checked_add(1).unwrap_or(4566)
            ),
            Self::NotRunning { .. } => {
                "run `make run` in another terminal first, and wait until it is up".to_owned()
            }
            Self::StateInUse { .. } => "end it with Ctrl-C in its terminal, or use it as it is".to_owned(),
            Self::EmulatorMissing { venv } => format!(
                "run `make run` again, which installs it; if that does not help, remove {} first",
                venv.display()
            ),
            Self::EmulatorEnded { log, .. } | Self::EmulatorSilent { log, .. } => {
                format!("read {}, then run the command again", log.display())
            }
            Self::FunctionUnknown { known, .. } => format!("name one of {}", known.join(", ")),
            Self::FunctionMissing { .. } => "run `make run` again, which builds the functions".to_owned(),
            Self::Template { name, .. } => format!("correct {name}, then run the command again"),
            Self::StackFailed { .. } | Self::OutputMissing { .. } => {
                "correct the template at the resource that is named, then run the command again".to_owned()
            }
            Self::Image { .. } => {
                "give IMAGE=oci:DIR with an OCI image layout, or IMAGE=REGISTRY/NAME:TAG that can be pulled"
                    .to_owned()
            }
            Self::NotConnected { .. } => {
                "read what the verifier says above, correct it, then run the command again".to_owned()
            }
            Self::NotDelivered { .. } => {
                "read target/local/emulator.log for what the receiver says".to_owned()
            }
            Self::Interrupted => "run the command again".to_owned(),
            Self::ImageRefused { problem, .. } => problem.fix.clone(),
            Self::ReportMissing { log, .. } => format!("read what the functions say in {}", log.display()),
            Self::File { path, .. } => {
                format!(
                    "make sure that {} exists and can be read and written, then run the command again",
                    path.display()
                )
            }
            Self::Call { .. } => {
                "run the command again; if it fails again, read target/local/emulator.log".to_owned()
            }
        }
    }

    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn call(action: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Call {
            action,
            source: source.into(),
        }
    }

    pub(crate) fn template(name: &str, reason: impl Into<String>) -> Self {
        Self::Template {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn emulator_ended(log: &Path) -> Self {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let last_words = text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing");
        Self::EmulatorEnded {
            log: log.to_owned(),
            last_words: last_words.trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_names_the_next_one_to_try() {
        let fix = |port| LocalError::PortBusy { port }.fix();
        assert!(
            fix(4566).ends_with("choose another port: make run PORT=4567"),
            "{}",
            fix(4566)
        );
        assert!(fix(u16::MAX).ends_with("make run PORT=4566"), "{}", fix(u16::MAX));
    }

    #[test]
    fn the_last_words_of_the_emulator_are_told() {
        let log = std::env::temp_dir().join(format!("portwarden-last-words-{}", std::process::id()));
        for (text, words) in [("one\n  two \n\n", "two"), ("", "it said nothing")] {
            std::fs::write(&log, text).unwrap();
            let error = LocalError::emulator_ended(&log);
            assert_eq!(
                error.to_string(),
                format!("the AWS emulator ended unexpectedly: {words}")
            );
            assert_eq!(
                error.fix(),
                format!("read {}, then run the command again", log.display())
            );
        }
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_refused_image_is_told_in_the_words_of_the_scanner() {
        let problem = Problem::new("image_too_deep", "the index names itself", "push an image");
        let error = LocalError::ImageRefused {
            digest: "sha256:aa".to_owned(),
            problem,
        };
        assert_eq!(
            error.to_string(),
            "image sha256:aa was not scanned: the index names itself"
        );
        assert_eq!(error.fix(), "push an image");
    }
}
