use std::time::Duration;

use clap::Args;
use portwarden_aws::SystemClock;
use portwarden_core::{
    arn::RoleArn,
    clock::Clock,
    id::{IntegrationId, Region, RequestId, TenantId},
    integration::{Connection, Integrations},
    random::OsRandomness,
    scope::TenantScope,
    store::StoreError,
    trace::TraceId,
    verdict::{Conclusion, Verdict},
    work::{VerifyReason, VerifyRequest},
};
use serde::Serialize;

use super::{Named, view::verdict_text, write};
use crate::{
    failure::{Ending, Failure},
    progress::Waiting,
    stack::StackChoice,
};

/// Which connection is tested.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    named: Named,
    /// The region that is tested
    #[arg(long)]
    region: Region,
    /// The role to test: the output `AssumeRoleArn` of the tenant's stack; without it, the one that is known
    #[arg(long, value_name = "ARN")]
    role_arn: Option<RoleArn>,
    /// How long to wait for what the verifier finds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    timeout: u64,
}

#[derive(Serialize)]
struct Tested<'a> {
    tenant: &'a TenantId,
    integration: &'a IntegrationId,
    region: &'a Region,
    /// Whether the role is used.
    trusted: bool,
    /// Whether, besides, nothing is left to be mended.
    green: bool,
    verdict: &'a Verdict,
}

/// How often the table is asked for the verdict.
const POLL: Duration = Duration::from_millis(500);

impl VerifyArgs {
    /// Has the connection tested, and prints what was found.
    pub(super) async fn run(self, choice: &StackChoice, json: bool) -> Result<Ending, Failure> {
        let stack = choice.open().await?;
        let (connection, scope) = self.named.find(&stack).await?;
        self.check(&connection)?;
        let now = SystemClock.now();
        let request = VerifyRequest {
            tenant: self.named.tenant.clone(),
            integration: self.named.id.clone(),
            region: self.region.clone(),
            role: self.role_arn.clone(),
            claim: None,
            said_at: Some(now),
            reason: VerifyReason::Asked,
            request: RequestId::generate(&OsRandomness),
            trace: TraceId::generate(now, &OsRandomness),
            attempt: 0,
        };
        stack.verifications.queue_verify(&request).await?;
        let integrations = Integrations::new(stack.store);
        let patience = Duration::from_secs(self.timeout);
        let waiting = Waiting::for_("the verifier tests the connection");
        let verdict = find_verdict(&integrations, &scope, &request, patience, &SystemClock).await?;
        drop(waiting);
        let verdict = verdict.ok_or_else(|| self.no_answer(choice))?;

        let trusted = verdict.conclusion() == Conclusion::Trusted;
        let tested = Tested {
            tenant: &self.named.tenant,
            integration: &self.named.id,
            region: &self.region,
            trusted,
            green: verdict.is_green(),
            verdict: &verdict,
        };
        write(json, &tested, || verdict_text(&verdict))?;
        Ok(if trusted { Ending::Done } else { Ending::NotTrusted })
    }

    /// Refuses at once what the verifier would leave without an answer.
    fn check(&self, connection: &Connection) -> Result<(), Failure> {
        let id = &self.named.id;
        if connection.integration.removed_at.is_some() {
            let fix = "make a new one with `portwarden integration create`";
            return Err(Failure::new(
                "integration_removed",
                format!("integration {id} is removed"),
                fix,
            ));
        }
        let Some(region) = connection.regions.get(&self.region) else {
            let known: Vec<&str> = connection.regions.keys().map(Region::as_str).collect();
            let message = format!("integration {id} has no region {}", self.region);
            let fix = format!("give one of its regions: {}", known.join(", "));
            return Err(Failure::new("region_unknown", message, fix));
        };
        if self.role_arn.is_none() && region.trust.role().is_none() {
            let message = format!("no role is known for {}", self.region);
            let fix = "add --role-arn with the output `AssumeRoleArn` of the tenant's stack";
            return Err(Failure::new("role_unnamed", message, fix));
        }
        Ok(())
    }

    fn no_answer(&self, choice: &StackChoice) -> Failure {
        let message = format!("the verifier has not answered within {} s", self.timeout);
        let fix = format!(
            "look at what it found later (portwarden integration show {} --tenant {}{}), or at the log of the verifier \
             function",
            self.named.id,
            self.named.tenant,
            choice.options()
        );
        Failure::new("verdict_missing", message, fix)
    }
}

/// Waits until what the verifier found for this very request is stored; nothing when that takes too long.
async fn find_verdict(
    integrations: &Integrations,
    scope: &TenantScope,
    request: &VerifyRequest,
    patience: Duration,
    clock: &dyn Clock,
) -> Result<Option<Verdict>, StoreError> {
    let start = clock.now();
    loop {
        let connection = integrations.find(scope, &request.integration).await?;
        let region = connection.and_then(|mut connection| connection.regions.remove(&request.region));
        let verdict = region.and_then(|region| region.verdict);
        if let Some(verdict) = verdict.filter(|verdict| verdict.request == request.request) {
            return Ok(Some(verdict));
        }
        if clock.now().duration_since(start).unsigned_abs() >= patience {
            return Ok(None);
        }
        clock.sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use portwarden_core::{
        clock::ManualClock,
        endpoint::{Password, Username},
        integration::{NamedBy, NewRegion},
        scope::OperatorScope,
        store::MemoryStore,
    };

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/r";

    struct World {
        integrations: Integrations,
        scope: TenantScope,
        connection: Connection,
        clock: ManualClock,
    }

    impl World {
        async fn new() -> Self {
            let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
            let region = NewRegion::Classic {
                region: "eu-central-1".parse().unwrap(),
                username: Username::parse("events").unwrap(),
                password: Password::generate(&OsRandomness),
            };
            let integrations = Integrations::new(Arc::new(MemoryStore::default()));
            let now = Timestamp::UNIX_EPOCH;
            let connection = integrations
                .create(&scope, "production", &[region], now, &OsRandomness)
                .await
                .unwrap();
            Self {
                integrations,
                scope,
                connection,
                clock: ManualClock::at(now),
            }
        }

        fn args(&self, region: &str, role: Option<&str>) -> VerifyArgs {
            VerifyArgs {
                named: Named {
                    id: self.connection.integration.id.clone(),
                    tenant: self.scope.tenant().clone(),
                },
                region: region.parse().unwrap(),
                role_arn: role.map(|role| role.parse().unwrap()),
                timeout: 10,
            }
        }

        fn request(&self) -> VerifyRequest {
            VerifyRequest {
                tenant: self.scope.tenant().clone(),
                integration: self.connection.integration.id.clone(),
                region: "eu-central-1".parse().unwrap(),
                role: Some(ROLE.parse().unwrap()),
                claim: None,
                said_at: None,
                reason: VerifyReason::Asked,
                request: RequestId::generate(&OsRandomness),
                trace: TraceId::generate(self.clock.now(), &OsRandomness),
                attempt: 0,
            }
        }

        async fn store(&self, request: &VerifyRequest) -> Verdict {
            let verdict = Verdict {
                at: self.clock.now(),
                request: request.request.clone(),
                probes: Vec::new(),
            };
            let role = request.role.as_ref().unwrap();
            self.integrations
                .claim_role(
                    &self.scope,
                    &request.integration,
                    &request.region,
                    role,
                    request.said_at,
                )
                .await
                .unwrap();
            let named = (role, NamedBy::Tenant(request.said_at));
            self.integrations
                .record_verdict(
                    &self.scope,
                    &request.integration,
                    &request.region,
                    named,
                    &verdict,
                )
                .await
                .unwrap();
            verdict
        }

        async fn find(&self, request: &VerifyRequest) -> Option<Verdict> {
            let patience = Duration::from_secs(10);
            find_verdict(&self.integrations, &self.scope, request, patience, &self.clock)
                .await
                .unwrap()
        }
    }

    #[tokio::test]
    async fn only_the_verdict_of_this_request_is_the_answer() {
        let world = World::new().await;
        let (earlier, ours) = (world.request(), world.request());
        world.store(&earlier).await;
        assert_eq!(world.find(&ours).await, None);
        assert_eq!(
            world.clock.now(),
            Timestamp::from_second(10).unwrap(),
            "it waited as long as it may"
        );
        let verdict = world.store(&ours).await;
        assert_eq!(world.find(&ours).await, Some(verdict));
    }

    #[tokio::test]
    async fn what_would_get_no_answer_is_refused_at_once() {
        let world = World::new().await;
        let code = |args: VerifyArgs, connection: &Connection| {
            let checked = args.check(connection);
            checked
                .err()
                .map(|failure| failure.problem().code.clone().into_owned())
        };
        let connection = &world.connection;
        assert_eq!(code(world.args("eu-central-1", Some(ROLE)), connection), None);
        assert_eq!(
            code(world.args("eu-central-1", None), connection).as_deref(),
            Some("role_unnamed")
        );
        assert_eq!(
            code(world.args("us-east-1", Some(ROLE)), connection).as_deref(),
            Some("region_unknown")
        );
        let mut removed = connection.clone();
        removed.integration.removed_at = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(
            code(world.args("eu-central-1", Some(ROLE)), &removed).as_deref(),
            Some("integration_removed")
        );
    }
}
