//! From a request to a verdict that is stored.

use portwarden_core::{
    announce::{Announcement, ConnectionChanged},
    id::TenantId,
    integration::{Connection, RecordVerdictError, RecordedVerdict},
    scope::TenantScope,
    verdict::{Check, Outcome, Verdict},
    work::VerifyRequest,
};

use crate::{
    context::Context,
    error::VerifyError,
    probe::{Prober, Target},
    problem::{self, Subject},
};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// The connection was tested.
    Tested {
        /// What was found.
        verdict: Verdict,
        /// What follows from it.
        recorded: RecordedVerdict,
    },
    /// There is nothing to test: the integration is gone, has not this region, or no role is named.
    Dropped {
        /// Why, in a word.
        reason: &'static str,
    },
}

/// Tests the connection that a request names, and stores the verdict.
pub async fn verify(context: &Context, request: &VerifyRequest) -> Result<Verified, VerifyError> {
    let scope = request.scope();
    let Some(connection) = context.integrations.find(&scope, &request.integration).await? else {
        return Ok(Verified::Dropped {
            reason: "no_integration",
        });
    };
    if connection.integration.removed_at.is_some() {
        return Ok(Verified::Dropped { reason: "removed" });
    }
    let Some(region) = connection.regions.get(&request.region) else {
        return Ok(Verified::Dropped {
            reason: "other_region",
        });
    };
    let Some(role) = request.role.as_ref().or(region.trust.role()) else {
        return Ok(Verified::Dropped { reason: "no_role" });
    };
    context
        .integrations
        .claim_role(&scope, &request.integration, &request.region, role)
        .await?;
    let owner = context.directory.role_owner(role, &request.integration).await?;
    let target = Target {
        role,
        external_id: &connection.integration.external_id,
        region: &request.region,
        account: connection.integration.account.as_ref(),
        owner,
        event_path_proven: connection.heartbeats.contains_key(&request.region),
        is_operators: request.tenant == TenantId::operator(),
        connector: &context.connector,
    };
    let prober = Prober {
        roles: &*context.roles,
        ecr: &*context.ecr,
        clock: &*context.clock,
        randomness: &*context.randomness,
        patience: if region.trust.is_proven() {
            &[]
        } else {
            &context.patience
        },
    };
    let verdict = prober.test(&target, &request.request).await;
    let (verdict, recorded) = record(context, &scope, &connection, &target, request, verdict).await?;
    if recorded.before.is_proven() != recorded.now.is_proven() {
        let changed = ConnectionChanged {
            tenant: request.tenant.clone(),
            integration: request.integration.clone(),
            region: request.region.clone(),
            proven: recorded.now.is_proven(),
            code: verdict
                .first_problem()
                .map(|problem| problem.code.clone().into_owned()),
            at: verdict.at,
            trace_id: request.trace,
        };
        context
            .bus
            .announce(&Announcement::ConnectionChanged(changed))
            .await?;
    }
    Ok(Verified::Tested { verdict, recorded })
}

/// Stores the verdict; where somebody else was faster, the verdict says so.
async fn record(
    context: &Context,
    scope: &TenantScope,
    connection: &Connection,
    target: &Target<'_>,
    request: &VerifyRequest,
    mut verdict: Verdict,
) -> Result<(Verdict, RecordedVerdict), VerifyError> {
    let subject = Subject {
        role: target.role,
        external_id: target.external_id,
        region: target.region,
        connector: target.connector,
    };
    // Each refusal below makes the verdict one that binds nothing, so the second attempt cannot meet it again.
    loop {
        let recorded = context
            .integrations
            .record_verdict(
                scope,
                &connection.integration.id,
                &request.region,
                target.role,
                &verdict,
            )
            .await;
        let (check, problem) = match recorded {
            Ok(recorded) => return Ok((verdict, recorded)),
            Err(RecordVerdictError::RoleTaken) => (Check::RoleFree, problem::taken()),
            Err(RecordVerdictError::OtherAccount) => {
                let current = context
                    .integrations
                    .find(scope, &connection.integration.id)
                    .await?;
                let account = current.and_then(|current| current.integration.account);
                let account = account.unwrap_or_else(|| target.role.account().clone());
                (Check::SameAccount, subject.other_account(&account))
            }
            Err(RecordVerdictError::Missing) => return Err(VerifyError::Removed),
            Err(RecordVerdictError::Store(error)) => return Err(error.into()),
        };
        for probe in verdict.probes.iter_mut().filter(|probe| probe.check == check) {
            probe.outcome = Outcome::Failed(problem.clone());
        }
    }
}
