//! One of the warden's rounds: what changed by itself is told, who has left is seen off, and whose day it is is tested, and
//! has its registry compared with what is known of it.
//!
//! Tests of a round are made one after the other, and their calls to STS are spaced, so that all integrations together
//! never ask STS more than five times a second, however many there are.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use portwarden_aws::{Fault, Line, Metric, Metrics, Service};
use portwarden_core::{
    arn::RoleArn,
    clock::Clock,
    id::{Region, RequestId},
    integration::{Connection, RemovalReason, Round, Scheduled, Slot},
    problem::chain,
    purge::Purged,
    session::{AssumeError, AssumeRole, ProbeRole, Purpose, Session, SessionName, TrustedRole},
    store::StoreError,
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::{batch, comparison::have_swept, context::Context, error::VerifyError, telling::tell_change};

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rounded {
    /// Connections that were looked at.
    pub looked: u64,
    /// Changes of status that were told.
    pub told: u64,
    /// Connections that were tested.
    pub tested: u64,
    /// Registries whose comparison was queued.
    pub swept: u64,
    /// Integrations whose tenants had left.
    pub left: u64,
    /// Whether all that was due is done; if not, the next round goes on.
    pub finished: bool,
}

/// How much time a round leaves at its end for the test that it is at.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// How many connections are looked at at the same time.
const LOOKS_AT_ONCE: usize = 16;

/// How many steps a round takes to delete what is known of one removed integration: some hundred images.
const PURGE_STEPS: usize = 8;

/// A region that was tested within this time, for whatever reason, is not tested again: a round that died is repeated.
const FRESH: SignedDuration = SignedDuration::from_hours(1);

/// The least time between two calls to STS: with the connector's own session, an hour each, at most five a second.
const PACE: Duration = Duration::from_millis(250);

/// Goes round, unless somebody else does; stops before `ends`.
pub async fn go_round(
    context: &Context,
    metrics: &Metrics,
    ends: Timestamp,
) -> Result<Option<Rounded>, VerifyError> {
    let now = context.clock.now();
    let Some(round) = context.directory.begin_round(now, ends).await? else {
        return Ok(None);
    };
    let mut rounded = Rounded::default();
    look_around(context, metrics, &round, &mut rounded).await?;
    rounded.finished = test_all(context, metrics, &round, ends, &mut rounded).await?;
    context.directory.end_round(&round).await?;
    Ok(Some(rounded))
}

async fn look_around(
    context: &Context,
    metrics: &Metrics,
    round: &Round,
    rounded: &mut Rounded,
) -> Result<(), VerifyError> {
    for slot in round.looks() {
        let mut after: Option<Scheduled> = None;
        loop {
            let page = context.directory.scheduled(slot, after.as_ref()).await?;
            let Some(last) = page.last().cloned() else { break };
            let looks = page.into_iter().map(|scheduled| async move {
                pass_over(metrics, &scheduled, look(context, &scheduled).await)
            });
            let mut looks = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
            while let Some(look) = looks.next().await {
                let Look { told, left } = look?.unwrap_or_default();
                rounded.looked += 1;
                rounded.told += u64::from(told);
                rounded.left += u64::from(left);
            }
            after = Some(last);
        }
    }
    Ok(())
}

/// Passes over a connection whose items cannot be read, which must not hold up the others; any other failure ends the
/// round, and the next one begins where it was.
fn pass_over<T>(
    metrics: &Metrics,
    scheduled: &Scheduled,
    done: Result<T, VerifyError>,
) -> Result<Option<T>, VerifyError> {
    match done {
        Err(error @ VerifyError::Store(StoreError::Corrupt { .. })) => {
            metrics.count(Metric::VerificationsFailed);
            Line {
                tenant: Some(&scheduled.tenant),
                integration: Some(&scheduled.integration),
                region: Some(&scheduled.region),
                code: Some(error.code()),
                fault: Some(Fault::Ours),
                error: Some(chain(&error)),
                ..Line::of(Service::Verifier, "failed")
            }
            .error("connection passed over");
            Ok(None)
        }
        done => done.map(Some),
    }
}

#[derive(Default)]
struct Look {
    told: bool,
    left: bool,
}

/// Looks at one connection: nothing outside of the table is asked.
async fn look(context: &Context, scheduled: &Scheduled) -> Result<Look, VerifyError> {
    let (scope, id) = (scheduled.scope(), &scheduled.integration);
    let integrations = &context.integrations;
    let now = context.clock.now();
    let Some(mut connection) = integrations.find(&scope, id).await? else {
        return Ok(Look {
            told: false,
            left: false,
        });
    };
    let is_there = connection.integration.removed_at.is_none();
    let left = is_there
        && connection.has_left(now)
        && integrations
            .remove_because(&scope, id, RemovalReason::RoleClosed, now)
            .await?;
    if left {
        connection.integration.removed_at = Some(now);
    }
    let trace = TraceId::generate(now, &*context.randomness);
    let told = tell_change(context, &scope, &connection, &scheduled.region, trace).await?;
    if !is_there {
        // A part at a time: the next rounds go on.
        for _ in 0..PURGE_STEPS {
            if context.purge.step(&scope, id, now).await? == Purged::All {
                break;
            }
        }
    }
    Ok(Look { told, left })
}

/// Tests the regions whose day it is; tells whether there was time for all.
async fn test_all(
    context: &Context,
    metrics: &Metrics,
    round: &Round,
    ends: Timestamp,
    rounded: &mut Rounded,
) -> Result<bool, VerifyError> {
    let paced = paced(context);
    for (number, slot) in round.due() {
        if !test_slot(&paced, metrics, slot, ends, rounded).await? {
            return Ok(false);
        }
        context.directory.note_tested(round, number).await?;
    }
    Ok(true)
}

async fn test_slot(
    context: &Context,
    metrics: &Metrics,
    slot: Slot,
    ends: Timestamp,
    rounded: &mut Rounded,
) -> Result<bool, VerifyError> {
    let mut after: Option<Scheduled> = None;
    loop {
        let page = context.directory.scheduled(slot, after.as_ref()).await?;
        let Some(last) = page.last().cloned() else {
            return Ok(true);
        };
        for scheduled in &page {
            if context.clock.now() + MARGIN >= ends {
                return Ok(false);
            }
            let visited = visit(context, metrics, scheduled).await;
            let Visit { tested, swept } = pass_over(metrics, scheduled, visited)?.unwrap_or_default();
            rounded.tested += u64::from(tested);
            rounded.swept += u64::from(swept);
        }
        after = Some(last);
    }
}

#[derive(Default)]
struct Visit {
    tested: bool,
    swept: bool,
}

/// Tests one region, and has its registry compared.
async fn visit(context: &Context, metrics: &Metrics, scheduled: &Scheduled) -> Result<Visit, VerifyError> {
    let scope = scheduled.scope();
    let found = context.integrations.find(&scope, &scheduled.integration).await?;
    let is_there = |connection: &Connection| connection.integration.removed_at.is_none();
    let Some(connection) = found.filter(is_there) else {
        return Ok(Visit::default());
    };
    let tested = test(context, metrics, scheduled, &connection).await?;
    let swept = have_swept(context, scheduled, &connection).await?;
    Ok(Visit { tested, swept })
}

/// Tests one region, if there is something to test and nobody did so just now.
async fn test(
    context: &Context,
    metrics: &Metrics,
    scheduled: &Scheduled,
    connection: &Connection,
) -> Result<bool, VerifyError> {
    let now = context.clock.now();
    let region = connection.regions.get(&scheduled.region);
    let is_due = region.is_some_and(|region| {
        let tested = region.verdict.as_ref().map(|verdict| verdict.at);
        region.trust.role().is_some() && tested.is_none_or(|tested| tested + FRESH <= now)
    });
    if !is_due {
        return Ok(false);
    }
    let request = VerifyRequest {
        tenant: scheduled.tenant.clone(),
        integration: scheduled.integration.clone(),
        region: scheduled.region.clone(),
        role: None,
        claim: None,
        said_at: None,
        reason: VerifyReason::Schedule,
        request: RequestId::generate(&*context.randomness),
        trace: TraceId::generate(now, &*context.randomness),
        attempt: 0,
    };
    if !batch::verify_request(context, metrics, &request).await {
        // One that fails must not hold up the others; the queue brings it again.
        context
            .again
            .queue_verify_later(&request, Duration::from_mins(1))
            .await?;
    }
    Ok(true)
}

/// Returns the context with all calls to STS spaced.
fn paced(context: &Context) -> Context {
    let pace = Arc::new(Pace {
        clock: context.clock.clone(),
        next: Mutex::new(Timestamp::MIN),
    });
    Context {
        roles: Arc::new(Paced(context.roles.clone(), pace.clone())),
        sessions: Arc::new(Paced(context.sessions.clone(), pace)),
        ..context.clone()
    }
}

/// When STS may be asked next.
struct Pace {
    clock: Arc<dyn Clock>,
    next: Mutex<Timestamp>,
}

impl Pace {
    async fn wait(&self) {
        let mut next = self.next.lock().await;
        let now = self.clock.now();
        if let Ok(wait) = Duration::try_from(next.duration_since(now)) {
            self.clock.sleep(wait).await;
        }
        *next = self.clock.now() + PACE;
    }
}

/// Asks STS when it may be asked.
struct Paced<T: ?Sized>(Arc<T>, Arc<Pace>);

#[async_trait]
impl ProbeRole for Paced<dyn ProbeRole> {
    async fn probe_role(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        region: &Region,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        self.1.wait().await;
        self.0.probe_role(role, external_id, region, name).await
    }

    async fn probe_canary(&self, region: &Region, name: &SessionName) -> Result<Session, AssumeError> {
        self.1.wait().await;
        self.0.probe_canary(region, name).await
    }
}

#[async_trait]
impl AssumeRole for Paced<dyn AssumeRole> {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        self.1.wait().await;
        self.0.assume_role(role, purpose, name).await
    }
}
