//! A batch of the queue: each message is worked on, and those that failed are reported one by one.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use portwarden_aws::{Metric, Metrics};
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
            // It stays in the queue, and ends among the dead letters, where a person can read it.
            tracing::error!(code = "message_malformed", message.id = message, error = %error, "message cannot be read");
            return false;
        }
    };
    let (tenant, integration) = (request.tenant.as_str(), request.integration.as_str());
    let (region, id) = (request.region.as_str(), request.request.as_str());
    match verify(context, &request).await {
        Ok(Verified::Tested { verdict, recorded }) => {
            if verdict.conclusion() == Conclusion::Refused {
                metrics.count(Metric::ProbeRefused);
            }
            tracing::info!(
                tenant.id = tenant,
                integration.id = integration,
                region,
                request.id = id,
                reason = ?request.reason,
                outcome = ?verdict.conclusion(),
                proven = recorded.now.is_proven(),
                code = verdict.first_problem().map(|problem| &*problem.code),
                "connection tested"
            );
            true
        }
        Ok(Verified::Dropped { reason }) => {
            tracing::info!(
                tenant.id = tenant,
                integration.id = integration,
                region,
                request.id = id,
                reason,
                "request dropped"
            );
            true
        }
        Err(error) => {
            tracing::error!(
                tenant.id = tenant,
                integration.id = integration,
                region,
                request.id = id,
                code = error.code(),
                error = chain(&error),
                "connection not tested"
            );
            false
        }
    }
}
