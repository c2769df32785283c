//! What the function is invoked with: messages of its queue, or the schedule.

use jiff::Timestamp;
use portwarden_aws::{Fault, Line, Metric, Metrics, Service};
use portwarden_core::problem::chain;
use serde_json::{Value, json};

use crate::{batch, context::Context, error::VerifyError, round::go_round};

/// What the schedule's rule sends, as the operator's template says.
pub const ROUND: &str = "round";

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// It is neither a batch of the queue nor the schedule's.
    #[error("the invocation is neither a batch of the queue nor a round")]
    Unknown,
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Answer(#[from] serde_json::Error),
    /// A round could not be made.
    #[error("the round was not made")]
    Round(#[source] VerifyError),
}

/// Does what an invocation asks for until `ends`, when the function is killed.
pub async fn handle(
    context: &Context,
    metrics: &Metrics,
    payload: Value,
    ends: Timestamp,
) -> Result<Value, InvocationError> {
    if payload.get("Records").is_some() {
        let batch = serde_json::from_value(payload).map_err(|_| InvocationError::Unknown)?;
        return Ok(serde_json::to_value(
            batch::verify_all(context, metrics, batch).await,
        )?);
    }
    if payload["do"] != ROUND {
        return Err(InvocationError::Unknown);
    }
    let started = context.clock.now();
    let line = |outcome| Line {
        duration: Some(context.clock.now().duration_since(started)),
        ..Line::of(Service::Verifier, outcome)
    };
    match go_round(context, metrics, ends).await {
        Ok(Some(rounded)) => {
            let outcome = if rounded.finished {
                "round"
            } else {
                "round_unfinished"
            };
            metrics.count(Metric::RoundsMade);
            line(outcome).info("went round");
            Ok(json!(rounded))
        }
        Ok(None) => {
            line("round_held").info("somebody else goes round");
            Ok(Value::Null)
        }
        Err(error) => {
            metrics.count(Metric::VerificationsFailed);
            Line {
                code: Some(error.code()),
                fault: Some(Fault::Ours),
                error: Some(chain(&error)),
                ..line("round_failed")
            }
            .error("round not made");
            Err(InvocationError::Round(error))
        }
    }
}
