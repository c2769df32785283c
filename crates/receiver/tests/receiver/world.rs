//! A world in memory: two connected tenants, a table and queues that count their calls and fail when told to.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use portwarden_core::{
    arn::RoleArn,
    clock::ManualClock,
    endpoint::{Password, Username},
    event::Claim,
    id::{ExternalId, IntegrationId, Region, RequestId},
    integration::{Connection, Integrations, NamedBy, NewRegion},
    random::{OsRandomness, Randomness},
    scope::{OperatorScope, TenantScope},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
    tenant::Tenants,
    verdict::{Check, Outcome, Probe, Verdict},
    work::{
        InventoryRequest, MemoryQueues, QueueError, QueueInventory, QueueScan, QueueVerify, ScanRequest,
        VerifyRequest,
    },
};
use portwarden_receiver::{
    context::{Context, CountEvents, OperatorSettings, Outside},
    handler::handle,
};
use portwarden_testkit::events;
use serde_json::{Value, json};

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const OPERATOR_ACCOUNT: &str = "999988887777";

/// What one process of the receiver runs in, with one connected integration: that of the recorded events.
pub(crate) struct World {
    pub(crate) outside: Arc<FaultyOutside>,
    pub(crate) clock: ManualClock,
    pub(crate) context: Context,
    pub(crate) scope: TenantScope,
    pub(crate) connection: Connection,
}

/// Counts up in every byte, which gives the ids of the recorded events.
struct Counting;

impl Randomness for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for (byte, value) in bytes.iter_mut().zip(0..) {
            *byte = value;
        }
    }
}

impl World {
    /// Connects the integration, proves its region, and starts a process.
    pub(crate) async fn connected() -> Self {
        let world = Self::saved().await;
        world.prove(REGION).await;
        world
    }

    /// Makes the integration, whose role is not named yet.
    pub(crate) async fn saved() -> Self {
        let outside = Arc::new(FaultyOutside::default());
        let clock = ManualClock::at("2026-11-16T01:20:00Z".parse().unwrap());
        let (scope, connection) = create(&outside, &clock, &Counting, events::PASSWORD).await;
        assert_eq!(connection.integration.id.as_str(), events::INTEGRATION);
        let context = process(&outside, &clock);
        Self {
            outside,
            clock,
            context,
            scope,
            connection,
        }
    }

    /// Starts another process on the same table and queues.
    pub(crate) fn restart(&mut self) {
        self.context = process(&self.outside, &self.clock);
    }

    pub(crate) fn integrations(&self) -> Integrations {
        Integrations::new(self.outside.clone())
    }

    pub(crate) fn id(&self) -> &IntegrationId {
        &self.connection.integration.id
    }

    /// Records that the role of a region is trusted.
    pub(crate) async fn prove(&self, region: &str) {
        prove(&self.outside, &self.scope, self.id(), region, ACCOUNT).await;
    }

    pub(crate) async fn remove(&self) {
        let removed = self
            .integrations()
            .remove(&self.scope, self.id(), self.clock_now())
            .await;
        assert!(removed.unwrap());
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        use portwarden_core::clock::Clock as _;
        self.clock.now()
    }

    /// Connects a second tenant with an account of its own.
    pub(crate) async fn neighbour(&self) -> Neighbour {
        let password = Password::generate(&OsRandomness);
        let password = secrecy::ExposeSecret::expose_secret(password.secret()).to_owned();
        let (scope, connection) = create(&self.outside, &self.clock, &OsRandomness, &password).await;
        prove(
            &self.outside,
            &scope,
            &connection.integration.id,
            REGION,
            "444455556666",
        )
        .await;
        Neighbour {
            id: connection.integration.id,
            external_id: connection.integration.external_id,
            password,
        }
    }

    /// Invokes the function with what the HTTP API hands on, and returns the answer.
    pub(crate) async fn http(&self, request: &Value) -> Answer {
        assert!(request.get("requestContext").is_some());
        let response = handle(&self.context, request, None)
            .await
            .expect("HTTP is always answered");
        Answer::of(&response)
    }

    /// Posts an event with the right credentials.
    pub(crate) async fn post(&self, event: &Value) -> Answer {
        self.http(&request(event)).await
    }
}

/// Another tenant.
pub(crate) struct Neighbour {
    pub(crate) id: IntegrationId,
    pub(crate) external_id: ExternalId,
    pub(crate) password: String,
}

/// An answer, as the HTTP API gets it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) retry_after: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) whole: Value,
}

impl Answer {
    pub(crate) fn of(response: &Value) -> Self {
        let body = response.get("body").map(|body| {
            let body: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
            assert!(body["message"].is_string() && body["fix"].is_string(), "{body}");
            assert_eq!(response["headers"]["content-type"], "application/json");
            body
        });
        let status = response["statusCode"].as_u64().unwrap();
        assert!(status != 401 && status != 407, "{response}");
        Self {
            status,
            retry_after: response["headers"]["retry-after"].as_str().map(str::to_owned),
            code: body.map(|body| body["code"].as_str().unwrap().to_owned()),
            whole: response.clone(),
        }
    }

    /// Returns what a table of answers lists.
    pub(crate) fn row(&self) -> (u64, Option<&str>, Option<&str>) {
        (self.status, self.code.as_deref(), self.retry_after.as_deref())
    }
}

/// Returns the recorded request with another body.
pub(crate) fn request(event: &Value) -> Value {
    request_with_body(&event.to_string())
}

pub(crate) fn request_with_body(body: &str) -> Value {
    let mut request = events::load("http_api_push_right_credentials");
    request["body"] = json!(body);
    request
}

/// Returns the recorded request with one field changed.
pub(crate) fn request_with(path: &str, value: impl Into<Value>) -> Value {
    changed(recorded(), path, value)
}

/// Returns the recorded request with one field of its event changed.
pub(crate) fn event_with(path: &str, value: impl Into<Value>) -> Value {
    request(&changed(events::load("ecr_push_tagged"), path, value))
}

fn changed(mut json: Value, path: &str, value: impl Into<Value>) -> Value {
    let (parent, field) = path.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap()[field] = value.into();
    json
}

/// Addresses a request to another endpoint.
pub(crate) fn to(mut request: Value, integration: &IntegrationId) -> Value {
    request["rawPath"] = json!(format!("/v1/events/{integration}"));
    request
}

/// Gives a request other credentials.
pub(crate) fn with_credentials(mut request: Value, username: &str, password: &str) -> Value {
    let encoded = BASE64_STANDARD.encode(format!("{username}:{password}"));
    request["headers"]["authorization"] = json!(format!("Basic {encoded}"));
    request
}

/// The one refusal, as [`Answer::row`] shows it.
pub(crate) const NOT_ACCEPTED: (u64, Option<&str>, Option<&str>) = (429, Some("not_accepted"), Some("60"));

/// Returns the recorded request for the recorded push: the right credentials.
pub(crate) fn recorded() -> Value {
    request(&events::load("ecr_push_tagged"))
}

/// Returns the recorded push with another id.
pub(crate) fn push(id: &str) -> Value {
    let mut event = events::load("ecr_push_tagged");
    event["id"] = json!(id);
    event
}

async fn create(
    outside: &Arc<FaultyOutside>,
    clock: &ManualClock,
    randomness: &dyn Randomness,
    password: &str,
) -> (TenantScope, Connection) {
    use portwarden_core::clock::Clock as _;
    let operator = OperatorScope::of_this_process();
    let tenant = Tenants::new(outside.clone())
        .create(operator, "A tenant", clock.now(), randomness)
        .await
        .unwrap();
    let scope = operator.tenant(tenant.id);
    let region = NewRegion::Classic {
        region: REGION.parse().unwrap(),
        username: Username::parse(events::USERNAME).unwrap(),
        password: Password::parse(&password.to_owned().into()).unwrap(),
    };
    let connection = Integrations::new(outside.clone())
        .create(&scope, "An account", &[region], clock.now(), randomness)
        .await
        .unwrap();
    (scope, connection)
}

/// Records that the role of a region is trusted.
pub(crate) async fn prove(
    outside: &Arc<FaultyOutside>,
    scope: &TenantScope,
    id: &IntegrationId,
    region: &str,
    account: &str,
) {
    let integrations = Integrations::new(outside.clone());
    let parsed: Region = region.parse().unwrap();
    let role: RoleArn = format!("arn:aws:iam::{account}:role/{ROLE}").parse().unwrap();
    integrations
        .claim_role(scope, id, &parsed, &role, None)
        .await
        .unwrap();
    let recorded = integrations
        .record_verdict(scope, id, &parsed, (&role, NamedBy::Tenant(None)), &trusted())
        .await
        .unwrap();
    assert!(recorded.now.is_proven());
    propose(outside, scope, id, region, account).await;
}

/// Records that the role which the recorded heartbeat names is as it must be.
pub(crate) async fn propose(
    outside: &Arc<FaultyOutside>,
    scope: &TenantScope,
    id: &IntegrationId,
    region: &str,
    account: &str,
) {
    let integrations = Integrations::new(outside.clone());
    let stored = integrations.find(scope, id).await.unwrap().unwrap();
    let claim = json!({
        "role-arn": format!("arn:aws:iam::{account}:role/{ROLE}"),
        "external-id": stored.integration.external_id, "template-version": "4", "rate-minutes": 15,
        "credential-generation": 1, "repositories": "",
        "secret-arn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:portwarden-ecr-Secret-7H8J9K0L-a1B2c3",
    });
    let claim: Claim = serde_json::from_value(claim).unwrap();
    let named = (&claim.role, NamedBy::Message(&claim, None));
    integrations
        .record_verdict(scope, id, &region.parse().unwrap(), named, &trusted())
        .await
        .unwrap();
}

const ROLE: &str = "portwarden-ecr-Role-1A2B3C4D5E6F";

fn trusted() -> Verdict {
    let passed = |check| Probe {
        check,
        outcome: Outcome::Passed,
    };
    Verdict {
        at: "2026-11-16T01:10:00Z".parse().unwrap(),
        request: RequestId::generate(&OsRandomness),
        probes: Check::OF_TRUST.map(passed).into(),
    }
}

fn process(outside: &Arc<FaultyOutside>, clock: &ManualClock) -> Context {
    let world = Outside {
        store: outside.clone(),
        scans: outside.clone(),
        verifications: outside.clone(),
        inventories: outside.clone(),
        clock: Arc::new(clock.clone()),
        randomness: Arc::new(OsRandomness),
        counts: outside.clone(),
    };
    Context::new(world, operator())
}

pub(crate) fn operator() -> OperatorSettings {
    OperatorSettings {
        role: format!("arn:aws:iam::{OPERATOR_ACCOUNT}:role/portwarden-OperatorRole")
            .parse()
            .unwrap(),
        external_id: "pw-5f0d1c20-c2a1-11f0-9d53-0a1b2c3d4e5f".parse().unwrap(),
        region: REGION.parse().unwrap(),
    }
}

/// A table and queues that count their calls, and fail one of them when told to.
#[derive(Default)]
pub(crate) struct FaultyOutside {
    pub(crate) store: MemoryStore,
    pub(crate) queues: MemoryQueues,
    calls: AtomicUsize,
    names: Mutex<Vec<&'static str>>,
    fault_at: AtomicUsize,
    fault: AtomicU8,
    counted: Mutex<Vec<String>>,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// Nothing happens.
    Before = 1,
    /// It happens, and the answer is lost.
    After = 2,
    /// Nothing happens, and there is never an answer.
    Hangs = 3,
    /// It happens, and there is never an answer.
    HangsAfter = 4,
}

impl FaultyOutside {
    /// Counts from the next call on, and lets the `nth` one (from 1) fail.
    pub(crate) fn fail_at(&self, nth: usize, fault: Fault) {
        self.count_anew();
        self.fault_at.store(nth, Ordering::SeqCst);
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    pub(crate) fn count_anew(&self) {
        self.fault_at.store(0, Ordering::SeqCst);
        self.calls.store(0, Ordering::SeqCst);
        self.names.lock().unwrap().clear();
    }

    /// Returns the names of all calls since the count began.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.names.lock().unwrap().clone()
    }

    /// Takes what was counted.
    pub(crate) fn take_counted(&self) -> Vec<String> {
        std::mem::take(&mut self.counted.lock().unwrap())
    }

    async fn call<T>(&self, name: &'static str, work: impl Future<Output = T>) -> Result<T, &'static str> {
        let nth = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.names.lock().unwrap().push(name);
        if nth != self.fault_at.load(Ordering::SeqCst) {
            return Ok(work.await);
        }
        let fault = self.fault.load(Ordering::SeqCst);
        if fault == Fault::After as u8 || fault == Fault::HangsAfter as u8 {
            work.await;
        }
        if fault == Fault::Hangs as u8 || fault == Fault::HangsAfter as u8 {
            std::future::pending::<()>().await;
        }
        Err("the connection broke")
    }
}

fn broken(error: &'static str) -> StoreError {
    StoreError::Unavailable(error.into())
}

impl CountEvents for FaultyOutside {
    fn accepted(&self, kind: &'static str) {
        self.counted.lock().unwrap().push(format!("accepted {kind}"));
    }

    fn refused(&self, reason: &'static str) {
        self.counted.lock().unwrap().push(format!("refused {reason}"));
    }
}

#[async_trait]
impl Store for FaultyOutside {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.call("get", self.store.get(key)).await.map_err(broken)?
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let work = self.store.query(partition, prefix, after, limit);
        self.call("query", work).await.map_err(broken)?
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        self.call("write", self.store.write(writes))
            .await
            .map_err(broken)?
    }
}

#[async_trait]
impl QueueScan for FaultyOutside {
    async fn queue_scan(&self, request: &ScanRequest) -> Result<(), QueueError> {
        let work = self.queues.queue_scan(request);
        self.call("queue_scan", work)
            .await
            .map_err(|error| QueueError(error.into()))?
    }
}

#[async_trait]
impl QueueInventory for FaultyOutside {
    async fn queue_inventory(&self, request: &InventoryRequest, delay: Duration) -> Result<(), QueueError> {
        let work = self.queues.queue_inventory(request, delay);
        self.call("queue_inventory", work)
            .await
            .map_err(|error| QueueError(error.into()))?
    }
}

#[async_trait]
impl QueueVerify for FaultyOutside {
    async fn queue_verify(&self, request: &VerifyRequest) -> Result<(), QueueError> {
        let work = self.queues.queue_verify(request);
        self.call("queue_verify", work)
            .await
            .map_err(|error| QueueError(error.into()))?
    }
}
