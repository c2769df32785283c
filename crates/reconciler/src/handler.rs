//! From messages of the queue to comparisons, one message after the other.

use std::{sync::Mutex, time::Duration};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use jiff::{SignedDuration, Timestamp};
use portwarden_aws::{Line, Metric, Service};
use portwarden_core::{
    ecr::RegistryId,
    problem::chain,
    reconcile::Findings,
    session::SessionName,
    work::{InventoryRequest, VerifyReason, VerifyRequest},
};
use serde::{Deserialize, Serialize};

use crate::{
    Context, Failure,
    outcome::{Dropped, Outcome, Told, measure},
    registry::Registry,
    run::{Ended, Work},
};

/// What the function is invoked with.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Invocation {
    /// Messages of the queue.
    Messages(SqsEvent),
}

/// What the function answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The messages that are delivered again.
    Messages(SqsBatchResponse),
}

/// How long the rest waits when somebody is asked too much.
const PAUSE: Duration = Duration::from_mins(5);

/// How much longer than an invocation a run is held: for the pause, a busy queue, and clocks that differ.
const HELD: SignedDuration = SignedDuration::from_mins(15);

/// Works on what the function is invoked with, until `ends`, when it is killed.
pub async fn handle(context: &Context, invocation: Invocation, ends: Timestamp) -> Result<Answer, Failure> {
    match invocation {
        Invocation::Messages(batch) => Ok(Answer::Messages(compare_all(context, batch, ends).await)),
    }
}

/// Works on a batch of messages; those in the answer are delivered again.
async fn compare_all(context: &Context, batch: SqsEvent, ends: Timestamp) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let body = message.body.unwrap_or_default();
        let is_done = match serde_json::from_str::<InventoryRequest>(&body) {
            Ok(request) => look_and_tell(context, &request, ends).await,
            Err(error) => {
                let failure = Failure::Message(error);
                Line {
                    message: message.message_id.as_deref(),
                    code: Some(failure.code()),
                    fault: Some(failure.fault()),
                    error: Some(chain(&failure)),
                    ..Line::of(Service::Reconciler, "failed")
                }
                .error("message goes back to the queue");
                let fault = failure.fault();
                context.outside.metrics.count(Metric::InventoriesFailed { fault });
                false
            }
        };
        if !is_done {
            // Without an id Lambda takes the whole batch for failed, which loses nothing either.
            response.add_failure(message.message_id.unwrap_or_default());
        }
    }
    response
}

async fn look_and_tell(context: &Context, request: &InventoryRequest, ends: Timestamp) -> bool {
    let clock = &context.outside.clock;
    let started = clock.now();
    let outcome = look(context, request, ends).await;
    let told = Told {
        request,
        started,
        now: clock.now(),
    };
    told.log(&outcome);
    measure(&outcome, &context.outside.metrics);
    outcome.is_ok()
}

/// Compares a registry, or a repository of it, with what is known; what there is no time for is queued.
pub async fn look(
    context: &Context,
    request: &InventoryRequest,
    ends: Timestamp,
) -> Result<Outcome, Failure> {
    let scope = request.scope();
    let connection = context.integrations.find(&scope, &request.integration).await?;
    let Some(connection) = connection else {
        return Ok(Outcome::Dropped(Dropped::NoIntegration));
    };
    if connection.integration.removed_at.is_some() {
        return Ok(Outcome::Dropped(Dropped::Removed));
    }
    let Some(role) = connection.trusted_role(&request.region) else {
        return Ok(Outcome::Dropped(Dropped::Unproven));
    };
    let now = context.outside.clock.now();
    let claim = connection
        .regions
        .get(&request.region)
        .and_then(|region| region.claim.as_ref());
    let work = Work {
        registry: Registry {
            context,
            id: RegistryId {
                account: role.role().account().clone(),
                region: request.region.clone(),
            },
            role,
            session: SessionName::reconcile(&request.request),
            // The rest of the time is for saving what is finished.
            stop: now + ends.duration_since(now) * 4 / 5,
            used: Mutex::default(),
        },
        request,
        included: claim.map_or(&[], |claim| &claim.repositories),
        held_until: ends + HELD,
        scope,
    };
    let outcome = match &request.repository {
        Some(repository) => work.look(repository).await,
        None => work.run(&connection).await.map(|ended| match ended {
            Ended::Whole(findings) => Outcome::Compared(findings),
            Ended::Unfinished(findings) => Outcome::Continued(findings),
            Ended::Dropped(why) => Outcome::Dropped(why),
        }),
    };
    work.registry.settle().await;
    let outcome = match outcome {
        Err(failure) if failure.is_denied() => {
            have_tested(context, request).await?;
            Outcome::Refused { code: failure.code() }
        }
        Err(failure) if failure.is_throttled() => {
            go_on_later(context, request, PAUSE).await?;
            return Ok(Outcome::Continued(Findings::default()));
        }
        outcome => outcome?,
    };
    if matches!(outcome, Outcome::Continued(_)) {
        go_on_later(context, request, Duration::ZERO).await?;
    } else if let Some(event) = &request.event {
        let events = &context.events;
        events.settle(&work.scope, &request.integration, event).await?;
    }
    Ok(outcome)
}

async fn go_on_later(context: &Context, request: &InventoryRequest, delay: Duration) -> Result<(), Failure> {
    let rest = InventoryRequest {
        continuation: request.continuation.saturating_add(1),
        ..request.clone()
    };
    Ok(context.outside.inventories.queue_inventory(&rest, delay).await?)
}

/// Has the connection tested, since the tenant's side said no.
async fn have_tested(context: &Context, request: &InventoryRequest) -> Result<(), Failure> {
    let verify = VerifyRequest {
        tenant: request.tenant.clone(),
        integration: request.integration.clone(),
        region: request.region.clone(),
        role: None,
        claim: None,
        said_at: None,
        reason: VerifyReason::AccessDenied,
        request: request.request.clone(),
        trace: request.trace,
        attempt: 0,
    };
    Ok(context.outside.verifications.queue_verify(&verify).await?)
}
