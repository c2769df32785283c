//! From messages of the queue to rematched images, one message after the other.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use jiff::Timestamp;
use portwarden_aws::{Fault, Line, Metric, RematchFigures, Service};
use portwarden_core::{problem::chain, rematch::RematchRequest};

use crate::{
    Context, Failure,
    work::{Done, work},
};

/// Works on a batch of messages until `ends`, when the function is killed.
///
/// Every message that is not in the answer is done; those in the answer are delivered again.
pub async fn handle(context: &Context, batch: SqsEvent, ends: Timestamp) -> SqsBatchResponse {
    let started = context.outside.clock.now();
    // The rest of the time is for what is begun.
    let stop = started + ends.duration_since(started) * 4 / 5;
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let body = message.body.unwrap_or_default();
        let (request, done) = match serde_json::from_str::<RematchRequest>(&body) {
            Ok(request) => {
                let done = work(context, &request, stop).await;
                (Some(request), done)
            }
            Err(error) => (None, Err(Failure::Message(error))),
        };
        tell(
            context,
            request.as_ref(),
            message.message_id.as_deref(),
            &done,
            started,
        );
        if done.is_err() {
            // Without an id Lambda takes the whole batch for failed, which loses nothing either.
            response.add_failure(message.message_id.unwrap_or_default());
        }
    }
    response
}

/// Leaves the one line in the log that each message has, and counts.
fn tell(
    context: &Context,
    request: Option<&RematchRequest>,
    message: Option<&str>,
    done: &Result<Done, Failure>,
    started: Timestamp,
) {
    let scope = request.and_then(RematchRequest::scope);
    let line = |outcome| Line {
        duration: Some(context.outside.clock.now().duration_since(started)),
        tenant: scope.as_ref().map(portwarden_core::scope::TenantScope::tenant),
        edition: request.and_then(RematchRequest::edition),
        ..Line::of(Service::Rematcher, outcome)
    };
    let metrics = &context.outside.metrics;
    match done {
        Ok(done) => {
            metrics.add(Metric::ImagesRematched, done.changed as u64);
            Line {
                rematch: Some(RematchFigures {
                    images: done.images,
                    changed: done.changed,
                }),
                ..line(done.name())
            }
            .info("request done");
        }
        Err(failure) => {
            metrics.count(Metric::RematchesFailed);
            Line {
                message: message.filter(|_| request.is_none()),
                code: Some(failure.code()),
                fault: Some(Fault::Ours),
                error: Some(chain(failure)),
                ..line("failed")
            }
            .error("request goes back to the queue");
        }
    }
}
