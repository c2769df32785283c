//! What a sender sees.

use std::{collections::BTreeMap, time::Duration};

use portwarden_core::problem::Problem;
use serde::Serialize;
use serde_json::Value;

use crate::error::Refusal;

/// The answer to an HTTP request, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// After how many whole seconds to send again.
    pub retry_after: Option<u64>,
    /// What is wrong, if anything is.
    pub problem: Option<Problem>,
}

/// The answer as an HTTP API takes it.
///
/// Source: API Gateway developer guide, "Lambda function response for format 2.0".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status_code: u16,
    headers: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    is_base64_encoded: bool,
}

impl Answer {
    /// Answers that the event is stored and its work is queued.
    pub fn accepted() -> Self {
        Self {
            status: 202,
            retry_after: None,
            problem: None,
        }
    }

    /// Writes the answer as an HTTP API takes it.
    ///
    /// # Panics
    ///
    /// Never: numbers and texts can always be written as JSON.
    pub fn into_response(self) -> Value {
        let mut headers = BTreeMap::new();
        if let Some(seconds) = self.retry_after {
            headers.insert("retry-after", seconds.to_string());
        }
        if self.status == 405 {
            headers.insert("allow", "POST".to_owned());
        }
        if self.problem.is_some() {
            headers.insert("content-type", "application/json".to_owned());
        }
        let body = self
            .problem
            .map(|problem| serde_json::to_string(&problem).expect("a problem can be written as JSON"));
        let response = Response {
            status_code: self.status,
            headers,
            body,
            is_base64_encoded: false,
        };
        serde_json::to_value(response).expect("an answer can be written as JSON")
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        let (message, fix) = explain(refusal);
        Self {
            status: refusal.status(),
            retry_after: refusal.retry_after().map(whole_seconds),
            problem: Some(Problem::new(refusal.code(), message, fix)),
        }
    }
}

/// Rounds up: an event that comes a moment too early is refused again.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Says what is wrong and what to do, in words for the owner of the tenant's stack.
fn explain(refusal: &Refusal) -> (String, &'static str) {
    let (message, fix) = match refusal {
        Refusal::NoSuchPath => (
            "There is nothing at this path.",
            "Use the event endpoint exactly as Portwarden shows it for the integration.",
        ),
        Refusal::Method => (
            "Events are sent with POST.",
            "Set HttpMethod of the API destination to POST.",
        ),
        Refusal::TooLarge => (
            "The body is over 1 MiB.",
            "Send events as EventBridge delivers them, one at a time.",
        ),
        Refusal::Encoded => (
            "The body has a content encoding.",
            "Send the body as it is, without Content-Encoding.",
        ),
        Refusal::ContentType => (
            "The body is not declared as JSON.",
            "Send Content-Type: application/json; charset=utf-8.",
        ),
        // The same for each reason, to the byte.
        Refusal::NotAccepted(_) => (
            "The event is not accepted now.",
            "Check in Portwarden that the integration's endpoint, user name and password are those of the stack, and that \
             its connection is proven; EventBridge sends the event again by itself.",
        ),
        Refusal::Removed => (
            "The integration is removed.",
            "Delete the stack that sends these events.",
        ),
        Refusal::OverBudget { .. } => (
            "The tenant sends more events than its share.",
            "Nothing: EventBridge sends the event again by itself. If this lasts, lower InvocationRateLimitPerSecond of \
             the API destination.",
        ),
        Refusal::Unreadable => (
            "The request cannot be read.",
            "Send a complete HTTP request with one JSON body.",
        ),
        Refusal::Malformed(error) => {
            return (
                format!("The body was refused: {error}."),
                "Send events as EventBridge delivers them, without an input transformer other than the template's.",
            );
        }
        Refusal::OtherAccount => (
            "The event comes from another account than the integration's.",
            "Connect each account as an integration of its own.",
        ),
        Refusal::OtherSource => (
            "The event comes from a source that the template's rules do not watch.",
            "Send only events of aws.ecr, aws.cloudformation, aws.events and aws.inspector2.",
        ),
        Refusal::OtherStack => (
            "The stack's message names an ExternalId or a role that is not the integration's.",
            "Update the stack with the ExternalId that Portwarden shows for this integration.",
        ),
        Refusal::OtherRegion => (
            "The event's region is not connected, and no further one can be added.",
            "Connect the region in Portwarden, or remove regions that are not used.",
        ),
        Refusal::Store(_) | Refusal::Queue(_) | Refusal::TimedOut(_) => (
            "The event could not be kept just now.",
            "Nothing: EventBridge sends the event again by itself.",
        ),
    };
    (message.to_owned(), fix)
}
