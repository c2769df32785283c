//! What senders without proof claim: a role that is to be connected.

use std::sync::Arc;

use portwarden_core::{
    endpoint::Endpoint,
    event::UnverifiedEvent,
    id::{IntegrationId, RequestId},
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
};

use crate::{
    context::Context,
    error::{Reason, Refusal},
    handler::REFUSES_FOR,
};

/// Has the verifier look at what a message claims, and tells whether it will.
///
/// The message must carry the integration's ExternalId, or come with the region's own credentials; something of its region
/// must be to be connected, and only the first claim of an integration in a minute counts. Whatever comes of it, the
/// sender gets the one refusal.
pub(crate) async fn notice(
    context: &Context,
    integration: &IntegrationId,
    body: &[u8],
    reason: Reason,
    trace: TraceId,
) -> Result<bool, Refusal> {
    let Ok(event) = UnverifiedEvent::parse(body) else {
        return Ok(false);
    };
    let Some(claim) = event
        .kind
        .claim()
        .filter(|claim| *claim.role.account() == event.account)
    else {
        return Ok(false);
    };
    let now = context.clock.now();
    // The refusal read it just now.
    let endpoint = context.endpoints.find(integration, REFUSES_FOR, now).await?;
    if endpoint.as_ref().is_none_or(|endpoint| endpoint.removed) {
        // A stack that somebody forgot to delete; the operator is shown it.
        let directory = &context.directory;
        directory
            .note_orphan(integration, endpoint.is_some(), now)
            .await?;
    }
    // Whoever knows the password and names another ExternalId has made a mistake, and is told.
    let is_awaited = |endpoint: &Arc<Endpoint>| {
        endpoint.awaits(&event.region, claim, now)
            || (reason == Reason::Unproven && endpoint.is_mistaken(&event.region, claim))
    };
    let Some(endpoint) = endpoint.filter(is_awaited) else {
        return Ok(false);
    };
    let is_first = context
        .directory
        .note_claim(integration, &event.region, claim, now)
        .await?;
    if is_first {
        let request = VerifyRequest {
            tenant: endpoint.tenant.clone(),
            integration: integration.clone(),
            region: event.region,
            role: None,
            claim: Some(claim.clone()),
            said_at: Some(event.time.min(now)),
            reason: VerifyReason::Claim,
            request: RequestId::generate(&*context.randomness),
            trace,
            attempt: 0,
        };
        context.verifications.queue_verify(&request).await?;
    }
    Ok(is_first)
}
