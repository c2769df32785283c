//! A batch of the queue: each message is worked on, and those that failed are reported one by one.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use portwarden_aws::{Fault, Line, Metric, Metrics, Service};
use portwarden_core::{problem::chain, verdict::Conclusion, work::VerifyRequest};

use crate::{
    context::Context,
    handler::{Verified, verify},
};

/// Works on every message, and says which ones the queue must keep.
pub async fn verify_all(context: &Context, metrics: &Metrics, batch: SqsEvent) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let id = message.message_id.unwrap_or_default();
        let body = message.body.unwrap_or_default();
        if !verify_one(context, metrics, &id, &body).await {
            response.add_failure(id);
        }
    }
    response
}

/// Tells whether the message is done with.
async fn verify_one(context: &Context, metrics: &Metrics, message: &str, body: &str) -> bool {
    let request: VerifyRequest = match serde_json::from_str(body) {
        Ok(request) => request,
        Err(error) => {
            metrics.count(Metric::VerificationsFailed);
            // It stays in the queue, and ends among the dead letters, where a person can read it.
            Line {
                message: Some(message),
                code: Some("message_malformed"),
                fault: Some(Fault::Ours),
                error: Some(error.to_string()),
                ..Line::of(Service::Verifier, "failed")
            }
            .error("message cannot be read");
            return false;
        }
    };
    verify_request(context, metrics, &request).await
}

/// Tests a connection and says so in the log; tells whether the request is done with.
pub(crate) async fn verify_request(context: &Context, metrics: &Metrics, request: &VerifyRequest) -> bool {
    let started = context.clock.now();
    let verified = verify(context, request).await;
    let took = context.clock.now().duration_since(started);
    let line = |outcome| Line {
        duration: Some(took),
        ..Line::of_verification(outcome, request)
    };
    match verified {
        Ok(Verified::Tested { verdict, recorded }) => {
            let problem = verdict.first_problem();
            let line = Line {
                code: problem.map(|problem| &*problem.code),
                proven: Some(recorded.now.is_proven()),
                ..line(verdict.conclusion().name())
            };
            match verdict.conclusion() {
                Conclusion::Trusted => line.info("connection tested"),
                Conclusion::Refused => {
                    metrics.count(Metric::ProbeRefused);
                    let fault = Some(Fault::Theirs);
                    Line { fault, ..line }.warn("connection refused");
                }
                // Our connector or canary is closed, or AWS is busy.
                Conclusion::Unknown => {
                    metrics.count(Metric::VerificationsFailed);
                    let fault = Some(Fault::Ours);
                    Line { fault, ..line }.error("connection could not be tested");
                }
            }
            true
        }
        Ok(Verified::Dropped { reason }) => {
            let reason = Some(reason);
            Line {
                reason,
                ..line("dropped")
            }
            .warn("request dropped");
            true
        }
        Err(error) => {
            metrics.count(Metric::VerificationsFailed);
            Line {
                code: Some(error.code()),
                fault: Some(Fault::Ours),
                error: Some(chain(&error)),
                ..line("failed")
            }
            .error("connection not tested");
            false
        }
    }
}
