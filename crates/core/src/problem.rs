//! What a person is told when something is wrong.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A failure as a person sees it: a stable code, one sentence that names the cause, and the exact fix.
///
/// The chain of errors behind it goes to the log, once, with the same code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
///
/// It is cut after [`MAX_CHAIN`] bytes: parsers quote what they were given.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if text.len() > MAX_CHAIN {
        text.truncate(text.floor_char_boundary(MAX_CHAIN));
        text.push('…');
    }
    text
}

/// How long a chain of errors gets, in bytes: a line of a log is not for a stranger to fill.
pub const MAX_CHAIN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_every_cause_and_is_cut() {
        let quoting = |given: &str| -> serde_json::Error {
            serde_json::from_value::<u64>(given.into()).expect_err("a text is no number")
        };
        let error = crate::event::EventError::Envelope(quoting("x"));
        assert_eq!(
            chain(&error),
            "the body is not an event of EventBridge: invalid type: string \"x\", expected u64"
        );
        let long = chain(&crate::event::EventError::Envelope(quoting(&"ü".repeat(1 << 20))));
        assert!(long.ends_with("ü…") && long.len() <= MAX_CHAIN + '…'.len_utf8());
    }
}
