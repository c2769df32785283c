//! From an invocation to its answer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    clock,
    endpoint::BasicCredentials,
    event::{EventKind, Recorded, UnverifiedEvent},
    id::{IntegrationId, RequestId},
    trace::TraceId,
    work::{InventoryReason, InventoryRequest, KnownBy, ScanRequest, VerifyReason, VerifyRequest},
};
use serde_json::Value;

use crate::{
    answer::Answer,
    claim,
    context::Context,
    error::{Reason, Refusal},
    report::{Accepted, Seen, SeenEvent},
    request::{HttpRequest, Invocation},
    sender::{Sender, Standing, VerifiedEvent},
};

/// How long an answer may take: an API destination waits for 5 s, the way there and back included.
pub const TIME_LIMIT: Duration = Duration::from_millis(3500);

/// How old an endpoint may be to accept an event by it.
const ACCEPTS_FOR: SignedDuration = SignedDuration::from_secs(60);

/// How old an endpoint may be to refuse an event by it: what was made, proven or rotated just now must work soon.
pub(crate) const REFUSES_FOR: SignedDuration = SignedDuration::from_secs(5);

/// How long the update of a stack may take until its new credentials come.
const RENEWAL: SignedDuration = SignedDuration::from_hours(1);

/// Receives one event, over HTTP or from the rule for the operator's own registries.
///
/// `tracing_header` is Lambda's, for this invocation; where it has none, a trace begins here.
///
/// # Errors
///
/// An HTTP request always has an answer. An event of the rule that is not accepted is an error, so that Lambda tries again
/// and at last puts it into the dead-letter queue.
pub async fn handle(
    context: &Context,
    payload: &Value,
    tracing_header: Option<&str>,
) -> Result<Value, Refusal> {
    let started = context.clock.now();
    let trace = tracing_header
        .and_then(TraceId::of_header)
        .unwrap_or_else(|| TraceId::generate(started, &*context.randomness));
    let mut seen = Seen::under(trace);
    let invocation = Invocation::of(payload);
    let is_http = matches!(invocation, Invocation::Http(_));
    let received = clock::within(
        &*context.clock,
        TIME_LIMIT,
        receive(context, invocation, &mut seen),
    )
    .await;
    let outcome = received.unwrap_or_else(|timed_out| Err(timed_out.into()));
    let took = context.clock.now().duration_since(started);
    seen.report(&outcome, took, &*context.counts);
    match outcome {
        Ok(_) if is_http => Ok(Answer::accepted().into_response()),
        Err(refusal) if is_http => Ok(Answer::from(&refusal).into_response()),
        Ok(_) => Ok(Value::Null),
        Err(refusal) => Err(refusal),
    }
}

async fn receive(context: &Context, invocation: Invocation, seen: &mut Seen) -> Result<Accepted, Refusal> {
    match invocation {
        Invocation::Http(request) => receive_http(context, &request?, seen).await,
        Invocation::Event(body) => {
            let sender = context.operator.sender(context, seen.trace).await?;
            accept(context, &sender, &body, seen).await
        }
    }
}

async fn receive_http(
    context: &Context,
    request: &HttpRequest,
    seen: &mut Seen,
) -> Result<Accepted, Refusal> {
    let integration = seen.integration.insert(request.integration()?);
    request.check_content()?;
    let sender = match authenticate(context, integration, request.credentials().as_ref()).await {
        Err(Refusal::Removed) => {
            let now = context.clock.now();
            context.directory.note_orphan(integration, true, now).await?;
            return Err(Refusal::Removed);
        }
        Err(Refusal::NotAccepted(reason)) => {
            let is_noticed = claim::notice(context, integration, request.body(), reason, seen.trace).await?;
            return Err(Refusal::NotAccepted(if is_noticed {
                Reason::Claimed
            } else {
                reason
            }));
        }
        admitted => admitted?,
    };
    let tenant = seen.tenant.insert(sender.scope.tenant().clone());
    let room = context.budgets.take(tenant, context.clock.now());
    room.map_err(|retry_after| Refusal::OverBudget { retry_after })?;
    accept(context, &sender, request.body(), seen).await
}

async fn authenticate(
    context: &Context,
    integration: &IntegrationId,
    presented: Option<&BasicCredentials>,
) -> Result<Sender, Refusal> {
    let admit = async |age| {
        let now = context.clock.now();
        let endpoint = context.endpoints.find(integration, age, now).await?;
        Sender::admit(&context.checker, endpoint.as_deref(), presented, now)
    };
    match admit(ACCEPTS_FOR).await {
        Err(Refusal::NotAccepted(_)) => admit(REFUSES_FOR).await,
        admitted => admitted,
    }
}

/// Keeps an event of a sender, then queues its work.
async fn accept(
    context: &Context,
    sender: &Sender,
    body: &[u8],
    seen: &mut Seen,
) -> Result<Accepted, Refusal> {
    let event = UnverifiedEvent::parse(body).map_err(Refusal::Malformed)?;
    seen.integration = Some(sender.integration.clone());
    seen.tenant = Some(sender.scope.tenant().clone());
    seen.event = Some(SeenEvent {
        id: event.id.clone(),
        kind: event.kind.name(),
        account: event.account.clone(),
        region: event.region.clone(),
    });
    let event = sender.verify(event)?;
    let now = context.clock.now();
    note_renewal(context, sender, &event.event, now).await?;
    if event.region == Standing::New {
        let region = &event.event.region;
        let integrations = &context.integrations;
        integrations
            .claim_region(&sender.scope, &sender.integration, region)
            .await?;
        context.endpoints.forget(&sender.integration);
    }
    let accepted = keep(context, sender, &event.event, &mut seen.trace, now).await?;
    match accepted {
        Accepted::Event(Recorded::Settled | Recorded::Conflicting) => {}
        Accepted::Event(Recorded::New | Recorded::Repeated) | Accepted::Heartbeat => {
            queue(context, sender, &event, seen.trace, now).await?;
        }
    }
    Ok(accepted)
}

/// Notes that a stack has begun to use new credentials, or is about to make some.
async fn note_renewal(
    context: &Context,
    sender: &Sender,
    event: &UnverifiedEvent,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Sender {
        scope, integration, ..
    } = sender;
    let integrations = &context.integrations;
    if let Some(region) = &sender.first_use {
        integrations
            .note_first_use(scope, integration, region, now)
            .await?;
        context.endpoints.forget(integration);
    }
    // The stack's next message may come with credentials that it makes now.
    if matches!(&event.kind, EventKind::StackStatus { status, claim: Some(_) } if status == "UPDATE_IN_PROGRESS")
    {
        let until = now + RENEWAL;
        integrations
            .expect_credentials(scope, integration, &event.region, until)
            .await?;
        context.endpoints.forget(integration);
    }
    Ok(())
}

/// Stores an event in one conditional write; one that came before goes on under its first trace.
async fn keep(
    context: &Context,
    sender: &Sender,
    event: &UnverifiedEvent,
    trace: &mut TraceId,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let Sender {
        scope, integration, ..
    } = sender;
    if let EventKind::Heartbeat { claim } = &event.kind {
        // A time to come would hide all heartbeats until then.
        let at = event.time.min(now);
        let heartbeats = &context.integrations;
        heartbeats
            .record_heartbeat(scope, integration, &event.region, at, Some(claim))
            .await?;
        return Ok(Accepted::Heartbeat);
    }
    let kept = context
        .events
        .record(scope, integration, event, *trace, now)
        .await?;
    *trace = kept.trace;
    Ok(Accepted::Event(kept.recorded))
}

/// Queues the work that an event leads to, if it leads to any.
async fn queue(
    context: &Context,
    sender: &Sender,
    event: &VerifiedEvent,
    trace: TraceId,
    now: Timestamp,
) -> Result<(), Refusal> {
    let VerifiedEvent { event, region } = event;
    let tenant = sender.scope.tenant().clone();
    let integration = sender.integration.clone();
    if let Some(hint) = event.kind.hint() {
        let request = ScanRequest {
            tenant,
            integration,
            account: event.account.clone(),
            region: event.region.clone(),
            repository: hint.repository.clone(),
            digest: hint.digest,
            known_by: KnownBy::Event,
            event: Some(event.id.clone()),
            request: RequestId::generate(&*context.randomness),
            trace,
            since: now,
            continuation: 0,
        };
        context.scans.queue_scan(&request).await?;
    } else if let EventKind::RepositoryDeleted { repository } = &event.kind {
        let request = InventoryRequest {
            tenant,
            integration,
            region: event.region.clone(),
            reason: InventoryReason::RepositoryDeleted,
            repository: Some(repository.clone()),
            event: Some(event.id.clone()),
            request: RequestId::generate(&*context.randomness),
            trace,
            continuation: 0,
        };
        let inventories = &context.inventories;
        inventories.queue_inventory(&request, Duration::ZERO).await?;
    } else if let Some(claim) = event.kind.claim()
        // A heartbeat that says what was proven says that all is as it was.
        && (matches!(event.kind, EventKind::StackStatus { .. })
            || *region != Standing::Proven
            || sender.claims.get(&event.region) != Some(claim))
    {
        let request = VerifyRequest {
            tenant,
            integration,
            region: event.region.clone(),
            role: None,
            claim: Some(claim.clone()),
            said_at: Some(event.time.min(now)),
            reason: VerifyReason::Stack,
            request: RequestId::generate(&*context.randomness),
            trace,
            attempt: 0,
        };
        context.verifications.queue_verify(&request).await?;
    }
    Ok(())
}
