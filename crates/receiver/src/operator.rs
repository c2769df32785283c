//! The operator's own integration: made by deployment, and told by a rule of our own account, not over HTTP.

use std::collections::BTreeMap;

use portwarden_core::{
    arn::RoleArn,
    id::{ExternalId, IntegrationId, Region, RequestId},
    scope::OperatorScope,
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
};
use tokio::sync::OnceCell;

use crate::{context::Context, error::Refusal, sender::Sender};

/// What the deployment says of the operator's own registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSettings {
    /// The role that opens them.
    pub role: RoleArn,
    /// What its trust policy demands.
    pub external_id: ExternalId,
    /// The region that we run in, and whose events the rule sends.
    pub region: Region,
}

/// The operator's own integration, once this process has seen to it that it is there.
pub(crate) struct Operator {
    settings: OperatorSettings,
    ensured: OnceCell<()>,
}

impl Operator {
    pub(crate) fn new(settings: OperatorSettings) -> Self {
        Self {
            settings,
            ensured: OnceCell::new(),
        }
    }

    /// Returns the sender of the events that come without HTTP.
    ///
    /// Only the API and the rule may invoke the function, so the invocation proves that the rule sent them; what they
    /// say of account and region is checked like any other.
    pub(crate) async fn sender(&self, context: &Context, trace: TraceId) -> Result<Sender, Refusal> {
        self.ensured
            .get_or_try_init(|| self.ensure(context, trace))
            .await?;
        let OperatorSettings {
            role,
            external_id,
            region,
        } = &self.settings;
        Ok(Sender {
            scope: OperatorScope::of_this_process().own(),
            integration: IntegrationId::operator(),
            account: role.account().clone(),
            external_id: external_id.clone(),
            regions: BTreeMap::from([(region.clone(), true)]),
            claims: BTreeMap::new(),
            first_use: None,
            max_regions: 1,
        })
    }

    /// Makes the integration if it is not there, and has it tested as long as no test has been recorded: then a crash
    /// between the two loses nothing.
    async fn ensure(&self, context: &Context, trace: TraceId) -> Result<(), Refusal> {
        let OperatorSettings {
            role,
            external_id,
            region,
        } = &self.settings;
        let operator = OperatorScope::of_this_process();
        let id = IntegrationId::operator();
        let (now, randomness) = (context.clock.now(), &*context.randomness);
        let integrations = &context.integrations;
        integrations
            .ensure_operator(operator, role, external_id, region, now, randomness)
            .await?;
        let stored = integrations.find(&operator.own(), &id).await?;
        let is_tested = stored
            .and_then(|connection| connection.regions.get(region)?.verdict.clone())
            .is_some();
        if !is_tested {
            let request = VerifyRequest {
                tenant: operator.own().tenant().clone(),
                integration: id,
                region: region.clone(),
                role: None,
                claim: None,
                said_at: None,
                reason: VerifyReason::Stack,
                request: RequestId::generate(randomness),
                trace,
                attempt: 0,
            };
            context.verifications.queue_verify(&request).await?;
        }
        Ok(())
    }
}
