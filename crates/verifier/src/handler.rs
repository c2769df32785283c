//! From a request to a verdict that is stored.

use std::time::Duration;

use jiff::Timestamp;
use portwarden_core::{
    arn::RoleArn,
    event::Claim,
    id::TenantId,
    integration::{Connection, NamedBy, RecordVerdictError, RecordedVerdict, RegionConnection, Trust},
    receipt::{AccessReceipt, ReceiptKey},
    session::{Purpose, SessionName},
    tenant_template,
    verdict::{Check, Conclusion, Outcome, Verdict},
    work::{LONGEST_DELAY, VerifyReason, VerifyRequest},
};

use crate::{
    comparison::have_listed,
    context::Context,
    credentials,
    error::VerifyError,
    probe::{OF_REGISTRY, ProbeList, Prober, Probes, Proof, Target},
    problem::Cause,
    telling::tell_change,
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
    /// There is nothing to test: the integration is gone, has not this region, or no role is named, or another one since.
    Dropped {
        /// Why, in a word.
        reason: &'static str,
    },
}

/// Tests the connection that a request names, and stores the verdict.
pub async fn verify(context: &Context, request: &VerifyRequest) -> Result<Verified, VerifyError> {
    let (scope, began_at) = (request.scope(), context.clock.now());
    let Some(connection) = context.integrations.find(&scope, &request.integration).await? else {
        return Ok(Verified::Dropped {
            reason: "no_integration",
        });
    };
    if connection.integration.removed_at.is_some() {
        return Ok(Verified::Dropped { reason: "removed" });
    }
    let added = new_region(&connection, request);
    let Some(region) = connection.regions.get(&request.region).or(added.as_ref()) else {
        return Ok(Verified::Dropped {
            reason: "other_region",
        });
    };
    let (asked, mistaken) = sort_claim(&connection, request);
    let stored_role = region.trust.role();
    // What a mistaken stack says only explains why the role that the tenant named does not open.
    if mistaken.is_some_and(|mistaken| stored_role != Some(&mistaken.role)) {
        return Ok(Verified::Dropped {
            reason: "other_external_id",
        });
    }
    let mistaken = if request.claim.is_some() {
        mistaken
    } else {
        region.mistaken.as_ref()
    };
    if region.mistaken.as_ref() != mistaken {
        let integrations = &context.integrations;
        integrations
            .note_mistaken(&scope, &request.integration, &request.region, mistaken)
            .await?;
    }
    let known = region.claim.as_ref();
    // A message that comes late leads to what the stack has said since.
    let is_late = |asked: &Claim| {
        known.is_some_and(|known| known.role == asked.role) && request.said_at < region.claim_at
    };
    let (asked, said_at) = match asked {
        Some(asked) if !is_late(asked) => (Some(asked), request.said_at),
        Some(_) => (known, region.claim_at),
        None => (None, region.claim_at),
    };
    let claimed = asked.or(known);
    let claimed_role = claimed.map(|claim| &claim.role);
    let role = match asked {
        Some(claim) => request.role.as_ref().or(Some(&claim.role)),
        None => request.role.as_ref().or(stored_role),
    };
    let Some(role) = role else {
        return Ok(Verified::Dropped { reason: "no_role" });
    };
    // Another role's stack says nothing about this one.
    let claim = claimed.filter(|_| claimed_role == Some(role));
    if !is_still_wished(context, request).await? {
        return Ok(Verified::Dropped {
            reason: "other_role_named",
        });
    }
    let test = Test {
        context,
        request,
        connection: &connection,
        region,
        claim,
        said_at,
        is_stored: request.role.is_none() && asked.is_none(),
        began_at,
    };
    let owner = context.directory.role_owner(role, &request.integration).await?;
    let target = Target {
        role,
        external_id: &connection.integration.external_id,
        region: &request.region,
        account: connection.integration.account.as_ref(),
        owner,
        is_operators: request.tenant == TenantId::operator(),
        connector: &context.connector,
        claim,
        other_external_id: mistaken
            .filter(|mistaken| mistaken.role == *role)
            .map(|mistaken| &mistaken.external_id),
        is_new: request.reason == VerifyReason::Claim && test.last().is_none(),
        list: test.list(role),
        last: test.last(),
    };
    let (verdict, recorded) = test.run(&target).await?;
    let current = context.integrations.find(&scope, &request.integration).await?;
    if let Some(current) = current {
        tell_change(context, &scope, &current, &request.region, request.trace).await?;
    }
    have_listed(context, request, &recorded).await?;
    // A test that began later has found otherwise, or what this one was about was no news: who is right is tested anew.
    let is_refusal_unheard = verdict.conclusion() == Conclusion::Refused
        && recorded.now.role() == Some(role)
        && !matches!(recorded.now, Trust::Refused { .. });
    test.try_again_later(&verdict, is_refusal_unheard).await?;
    Ok(Verified::Tested { verdict, recorded })
}

/// Notes the role that the tenant names, if it does; tells whether none was named since.
async fn is_still_wished(context: &Context, request: &VerifyRequest) -> Result<bool, VerifyError> {
    let Some(role) = &request.role else {
        return Ok(true);
    };
    let (integrations, scope) = (&context.integrations, request.scope());
    let (id, region) = (&request.integration, &request.region);
    Ok(integrations
        .claim_role(&scope, id, region, role, request.said_at)
        .await?)
}

/// Tells apart what a stack of the integration says and what one says that demands another ExternalId.
fn sort_claim<'a>(
    connection: &Connection,
    request: &'a VerifyRequest,
) -> (Option<&'a Claim>, Option<&'a Claim>) {
    let claim = request.claim.as_ref();
    let is_ours = claim.is_some_and(|claim| claim.external_id == connection.integration.external_id);
    if is_ours { (claim, None) } else { (None, claim) }
}

/// Makes the region that a stack in the account that the tenant named claims, if the integration has it not yet.
fn new_region(connection: &Connection, request: &VerifyRequest) -> Option<RegionConnection> {
    let account = connection.integration.account.as_ref()?;
    let claim = request.claim.as_ref()?;
    let is_new = !connection.regions.contains_key(&request.region);
    (is_new && claim.role.account() == account).then(|| RegionConnection::new(request.region.clone()))
}

/// How long to wait before what could not be found out is tried again; after the last one, the daily test does.
const AGAIN: [Duration; 4] = [
    Duration::from_mins(1),
    Duration::from_mins(2),
    Duration::from_mins(5),
    LONGEST_DELAY,
];

/// One test of one region.
struct Test<'a> {
    context: &'a Context,
    request: &'a VerifyRequest,
    connection: &'a Connection,
    region: &'a RegionConnection,
    /// What the stack of the tested role says.
    claim: Option<&'a Claim>,
    /// When it said so.
    said_at: Option<Timestamp>,
    /// Whether it is the role that is stored, of which nobody has said anything new.
    is_stored: bool,
    /// When what is known of the connection was read.
    began_at: Timestamp,
}

impl Test<'_> {
    /// Returns what the last test of the same role found.
    fn last(&self) -> Option<&Verdict> {
        let tested = self.request.role.as_ref().or(self.claim.map(|claim| &claim.role));
        let is_same = tested.is_none_or(|tested| self.region.trust.role() == Some(tested));
        self.region.verdict.as_ref().filter(|_| is_same)
    }

    /// Tells whether `role` is the one that is used.
    fn is_proven(&self, role: &RoleArn) -> bool {
        self.region.trust.is_proven() && self.region.trust.role() == Some(role)
    }

    /// Tells whether the tenant has named the role, now or before, rather than a message of its stack.
    fn is_named_by_tenant(&self) -> bool {
        self.request.role.is_some() || self.claim.is_none()
    }

    fn named_by(&self) -> NamedBy<'_> {
        match self.claim {
            _ if self.request.role.is_some() => NamedBy::Tenant(self.request.said_at),
            Some(claim) if !self.is_stored => NamedBy::Message(claim, self.said_at),
            _ => NamedBy::Nobody(self.said_at),
        }
    }

    fn list(&self, role: &RoleArn) -> ProbeList {
        let has_proven_neighbour = || {
            let mut others = self.connection.regions.values();
            others.any(|other| other.region != self.region.region && other.trust.is_proven())
        };
        match self.request.reason {
            VerifyReason::Schedule if self.is_proven(role) => ProbeList::Daily,
            VerifyReason::Claim | VerifyReason::Stack if has_proven_neighbour() => ProbeList::Short,
            _ => ProbeList::Whole,
        }
    }

    async fn run(&self, target: &Target<'_>) -> Result<(Verdict, RecordedVerdict), VerifyError> {
        let context = self.context;
        // A short list has few calls, and a role that is not new needs no patience.
        let patience = match target.list {
            _ if self.region.trust.is_proven() || self.request.reason == VerifyReason::Schedule => &[],
            ProbeList::Short | ProbeList::Daily => {
                &context.patience[context.patience.len().saturating_sub(2)..]
            }
            ProbeList::Whole => &context.patience[..],
        };
        let prober = Prober {
            roles: &*context.roles,
            policies: &*context.policies,
            ecr: &*context.ecr,
            clock: &*context.clock,
            randomness: &*context.randomness,
            patience,
        };
        let receipt = self.write_receipt(target).await?;
        let Proof { mut probes, session } = prober.prove(target, &self.request.request).await;
        let opened = session.clone();
        let is_confirmed = target.account.is_some() || self.is_named_by_tenant();
        match session.filter(|_| is_confirmed) {
            Some(session) => {
                let policy = prober.probe_trust_policy(target, &session).await;
                let is_too_wide = matches!(policy, Outcome::Failed(_));
                probes.add(Check::TrustPolicy, policy);
                if is_too_wide {
                    skip_reading(&mut probes, "the role is too wide");
                } else {
                    let credentials = self.read_credentials(target, &probes).await?;
                    probes.add(Check::Credentials, credentials);
                    prober.probe_registry(target, &session, &mut probes).await;
                }
            }
            None if is_confirmed => skip_reading(&mut probes, "the role did not open, or is too wide"),
            None => skip_reading(&mut probes, "the account is not confirmed yet"),
        }
        probes.add(Check::EventPath, self.event_path(target));
        if let Some(outcome) = self.template_version(target) {
            probes.add(Check::TemplateVersion, outcome);
        }
        if let Some(session) = opened {
            let calls = context.calls.take(&session);
            context.receipts.add_calls(&receipt, calls).await?;
        }
        self.record(target, self.verdict(probes)).await
    }

    /// Writes the receipt of the session that the role opens, before it does.
    async fn write_receipt(&self, target: &Target<'_>) -> Result<ReceiptKey, VerifyError> {
        let receipt = AccessReceipt {
            integration: self.request.integration.clone(),
            region: self.request.region.clone(),
            role: target.role.clone(),
            session: SessionName::verify(&self.request.request).as_str().to_owned(),
            purpose: Purpose::Proof.name().to_owned(),
            opened_at: self.context.clock.now(),
            calls: 0,
        };
        let scope = self.request.scope();
        Ok(self.context.receipts.write(&scope, &receipt).await?)
    }

    fn verdict(&self, probes: Probes) -> Verdict {
        Verdict {
            at: self.began_at,
            request: self.request.request.clone(),
            probes: probes.0,
        }
    }

    /// Reads the stack's credentials if they are not known, which needs a role that is proven already.
    async fn read_credentials(&self, target: &Target<'_>, probes: &Probes) -> Result<Outcome, VerifyError> {
        let wanted = self.claim.and_then(|claim| {
            let secret = credentials::wanted(self.region, claim, self.request.reason)?;
            Some((secret, claim.generation))
        });
        let Some(wanted) = wanted else {
            return Ok(
                if self.region.credentials.is_empty() && self.request.tenant != TenantId::operator() {
                    Outcome::Skipped {
                        reason: "the stack has not said yet where they are".to_owned(),
                    }
                } else {
                    Outcome::Passed
                },
            );
        };
        let mut so_far = Probes(probes.0.clone());
        if target.last.is_some() {
            // What is still to be tried is as it was; without that, the verdict says by itself that it is not whole.
            so_far.carry_registry(target.last);
            so_far.add(Check::EventPath, self.event_path(target));
        }
        let so_far = self.verdict(so_far);
        let (so_far, _) = self.record(target, so_far).await?;
        if so_far.conclusion() != Conclusion::Trusted {
            return Ok(Outcome::Skipped {
                reason: "the role is not trusted".to_owned(),
            });
        }
        let scope = self.request.scope();
        let proven = self
            .context
            .integrations
            .find(&scope, &self.request.integration)
            .await?;
        let proven = proven.ok_or(VerifyError::Removed)?;
        credentials::read(self.context, &proven, target, wanted, self.request).await
    }

    fn event_path(&self, target: &Target<'_>) -> Outcome {
        let region = &self.region.region;
        let has_own_password = self.claim.is_some_and(|claim| claim.secret.is_none());
        let is_claim = self.request.reason == VerifyReason::Claim;
        if is_claim
            && has_own_password
            && self.region.trust.is_proven()
            && !self.region.credentials.is_empty()
        {
            return Outcome::Failed(target.tell(&Cause::CredentialsWrong));
        }
        let now = self.context.clock.now();
        match self.connection.heartbeats.get(region) {
            None => Outcome::Unknown(target.tell(&Cause::EventPathUnproven)),
            Some(last)
                if self
                    .connection
                    .silent_from(region)
                    .is_some_and(|from| from <= now) =>
            {
                Outcome::Failed(target.tell(&Cause::EventPathSilent { last: *last }))
            }
            Some(_) => Outcome::Passed,
        }
    }

    fn template_version(&self, target: &Target<'_>) -> Option<Outcome> {
        let claim = self.claim?;
        let needs = tenant_template::OLDEST_SERVED;
        // Versions are numbers; what is none is no version that we ever published.
        let is_recent = claim.template_version.parse().is_ok_and(|has: u32| has >= needs);
        Some(if is_recent {
            Outcome::Passed
        } else {
            let has = claim.template_version.clone();
            Outcome::Failed(target.tell(&Cause::TemplateOutdated { has, needs }))
        })
    }

    /// Stores the verdict; where somebody else was faster, the verdict says so.
    async fn record(
        &self,
        target: &Target<'_>,
        mut verdict: Verdict,
    ) -> Result<(Verdict, RecordedVerdict), VerifyError> {
        let (scope, integrations) = (self.request.scope(), &self.context.integrations);
        let (id, region) = (&self.request.integration, &self.request.region);
        if !self.connection.regions.contains_key(region) {
            // Whoever makes a claim up adds no region to an integration.
            if verdict.conclusion() != Conclusion::Trusted {
                let (before, now) = (Trust::Unnamed, Trust::Unnamed);
                return Ok((verdict, RecordedVerdict { before, now }));
            }
            integrations.claim_region(&scope, id, region).await?;
        }
        // Each refusal below makes the verdict one that binds nothing, so the second attempt cannot meet it again.
        loop {
            let named = (target.role, self.named_by());
            let recorded = integrations
                .record_verdict(&scope, id, region, named, &verdict)
                .await;
            let (check, cause) = match recorded {
                Ok(recorded) => return Ok((verdict, recorded)),
                Err(RecordVerdictError::RoleTaken) => (Check::RoleFree, Cause::Taken),
                Err(RecordVerdictError::OtherAccount) => {
                    let current = integrations.find(&scope, id).await?;
                    let account = current.and_then(|current| current.integration.account);
                    let account = account.unwrap_or_else(|| target.role.account().clone());
                    (Check::SameAccount, Cause::OtherAccount(account))
                }
                Err(RecordVerdictError::Missing) => return Err(VerifyError::Removed),
                Err(RecordVerdictError::Store(error)) => return Err(error.into()),
            };
            for probe in verdict.probes.iter_mut().filter(|probe| probe.check == check) {
                probe.outcome = Outcome::Failed(target.tell(&cause));
            }
        }
    }

    /// Has the connection tested again if something could not be found out that may be found out later, or was found in vain.
    ///
    /// Not after a claim without proof, whose sender repeats it by itself and must not cost us more than that.
    async fn try_again_later(&self, verdict: &Verdict, is_unheard: bool) -> Result<(), VerifyError> {
        let is_open = is_unheard
            || verdict.probes.iter().any(|probe| match &probe.outcome {
                Outcome::Unknown(problem) => Cause::may_pass_by_itself(&problem.code),
                _ => false,
            });
        let attempt = self.request.attempt;
        let delay = usize::try_from(attempt)
            .ok()
            .and_then(|attempt| AGAIN.get(attempt));
        if let Some(delay) = delay
            && is_open
            && self.request.reason != VerifyReason::Claim
        {
            let again = VerifyRequest {
                attempt: attempt + 1,
                ..self.request.clone()
            };
            self.context.again.queue_verify_later(&again, *delay).await?;
        }
        Ok(())
    }
}

fn skip_reading(probes: &mut Probes, reason: &str) {
    probes.skip(Check::Credentials, reason);
    for check in OF_REGISTRY {
        probes.skip(check, reason);
    }
}
