//! From messages of the queue to what is told, one message after the other.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use jiff::Timestamp;
use portwarden_aws::{Fault, Line, Metric, Service};
use portwarden_core::{notification::NotifyRequest, problem::chain, webhook::Followed};

use crate::{Context, Done, Failure, work};

/// Works on a batch of messages.
///
/// Every message that is not in the answer is done; those in the answer are delivered again.
pub async fn handle(context: &Context, batch: SqsEvent) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let started = context.outside.clock.now();
        let body = message.body.unwrap_or_default();
        let (request, done) = match serde_json::from_str::<NotifyRequest>(&body) {
            Ok(request) => {
                let done = work(context, &request).await;
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
    request: Option<&NotifyRequest>,
    message: Option<&str>,
    done: &Result<Done, Failure>,
    started: Timestamp,
) {
    let scope = request.map(NotifyRequest::scope);
    let (notification, webhook, attempt) = match request {
        Some(NotifyRequest::Tell { notification, .. }) => (Some(notification), None, None),
        Some(NotifyRequest::Deliver {
            notification,
            webhook,
            attempt,
            ..
        }) => (Some(notification), Some(webhook), Some(*attempt)),
        None => (None, None, None),
    };
    let line = |outcome| Line {
        duration: Some(context.outside.clock.now().duration_since(started)),
        tenant: scope.as_ref().map(portwarden_core::scope::TenantScope::tenant),
        notification,
        webhook,
        attempt,
        ..Line::of(Service::Notifier, outcome)
    };
    let metrics = &context.outside.metrics;
    match done {
        Ok(Done::Told { .. }) => {
            metrics.count(Metric::NotificationsTold);
            line("told").info("notification told");
        }
        Ok(Done::Attempted { outcome, followed }) => {
            let name = match (outcome.code(), followed) {
                (None, _) => "delivered",
                (Some(_), Followed::GivenUp { .. }) => "given_up",
                (Some(_), _) => "not_taken",
            };
            let line = Line {
                status: outcome.status(),
                code: outcome.code(),
                fault: outcome.code().map(|_| Fault::Theirs),
                ..line(name)
            };
            let Some(code) = outcome.code() else {
                metrics.count(Metric::WebhooksDelivered);
                return line.info("notification delivered");
            };
            metrics.count(Metric::WebhooksFailed { code });
            if name == "given_up" {
                metrics.count(Metric::WebhooksGivenUp);
            }
            line.warn("notification not taken");
        }
        Ok(Done::Waiting) => line("waiting").info("notification waits"),
        Ok(Done::Repeated) => line("repeated").info("attempt made before"),
        Ok(Done::Dropped) => line("dropped").info("nobody to tell"),
        Err(failure) => {
            metrics.count(Metric::NotifiesFailed);
            Line {
                message: message.filter(|_| request.is_none()),
                code: Some(failure.code()),
                fault: Some(Fault::Ours),
                error: Some(chain(failure)),
                ..line("failed")
            }
            .error("message goes back to the queue");
        }
    }
}
