//! Has the registries of proven regions compared with what is known of them: at first, and once a day.

use std::time::Duration;

use portwarden_core::{
    id::RequestId,
    integration::{Connection, RecordedVerdict, Scheduled},
    trace::TraceId,
    work::{InventoryReason, InventoryRequest, VerifyRequest},
};

use crate::{context::Context, error::VerifyError};

/// Has a region's registry listed once its role is proven, and once more if the message of that was lost.
pub(crate) async fn have_listed(
    context: &Context,
    request: &VerifyRequest,
    recorded: &RecordedVerdict,
) -> Result<(), VerifyError> {
    let (scope, integration, region) = (request.scope(), &request.integration, &request.region);
    let is_wanted = recorded.now.is_proven()
        && (!recorded.before.is_proven()
            || context
                .inventories
                .is_untouched(&scope, integration, region)
                .await?);
    if is_wanted {
        let inventory = InventoryRequest {
            tenant: request.tenant.clone(),
            integration: integration.clone(),
            region: region.clone(),
            reason: InventoryReason::Connected,
            repository: None,
            event: None,
            request: request.request.clone(),
            trace: request.trace,
            continuation: 0,
        };
        context
            .comparisons
            .queue_inventory(&inventory, Duration::ZERO)
            .await?;
    }
    Ok(())
}

/// Has the registry of a region compared whose day it is, if its role was proven; tells whether it was.
///
/// The reconciler asks again whether it still is, and drops what comes twice.
pub(crate) async fn have_swept(
    context: &Context,
    scheduled: &Scheduled,
    connection: &Connection,
) -> Result<bool, VerifyError> {
    if connection.trusted_role(&scheduled.region).is_none() {
        return Ok(false);
    }
    let sweep = InventoryRequest {
        tenant: scheduled.tenant.clone(),
        integration: scheduled.integration.clone(),
        region: scheduled.region.clone(),
        reason: InventoryReason::Schedule,
        repository: None,
        event: None,
        request: RequestId::generate(&*context.randomness),
        trace: TraceId::generate(context.clock.now(), &*context.randomness),
        continuation: 0,
    };
    context
        .comparisons
        .queue_inventory(&sweep, Duration::ZERO)
        .await?;
    Ok(true)
}
