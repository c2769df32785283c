//! What a person is told when something is wrong.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A failure as a person sees it: a stable code, one sentence that names the cause, and the exact fix.
///
/// The chain of errors behind it goes to the log, once, with the same code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable code, in lower-case words with underscores.
    pub code: Cow<'static, str>,
    /// The cause, in one sentence.
    pub message: String,
    /// What to do, ready to paste where that is possible.
    pub fix: String,
}

impl Problem {
    /// Describes a failure.
    pub fn new(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code: Cow::Borrowed(code),
            message: message.into(),
            fix: fix.into(),
        }
    }
}

/// Writes an error with everything behind it, for a log: what a `Display` of ours leaves to the chain.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
