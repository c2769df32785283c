//! Each change of a connection's status, told on the bus.

use portwarden_core::{
    announce::{Announcement, ConnectionChanged},
    id::{IntegrationId, Region},
    integration::Connection,
    scope::TenantScope,
    trace::TraceId,
};

use crate::{context::Context, error::VerifyError};

/// Tells what has changed since it was last told, if anything has; tells whether something had.
///
/// A change is stored before it is told and marked afterwards: what fails in between is told by whoever looks next.
pub(crate) async fn tell_change(
    context: &Context,
    scope: &TenantScope,
    connection: &Connection,
    region: &Region,
    trace: TraceId,
) -> Result<bool, VerifyError> {
    let now = context.clock.now();
    let Some(status) = connection.status(region, now) else {
        return Ok(false);
    };
    let id: &IntegrationId = &connection.integration.id;
    let integrations = &context.integrations;
    let mut has_told = false;
    while let Some(change) = integrations
        .change_to_tell(scope, id, region, &status, now)
        .await?
    {
        let changed = ConnectionChanged {
            tenant: scope.tenant().clone(),
            integration: id.clone(),
            region: region.clone(),
            number: change.number,
            status: change.light,
            code: change.code.clone(),
            sentence: change.sentence.clone(),
            at: change.at,
            trace_id: trace,
        };
        context
            .bus
            .announce(&Announcement::ConnectionChanged(changed))
            .await?;
        integrations.mark_told(scope, id, region, &change).await?;
        has_told = true;
    }
    Ok(has_told)
}
