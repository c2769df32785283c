//! Everything outside of the scanner, in memory: it counts calls, lets others run at each of them, and fails where it
//! is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::SqsBatchResponse;
use jiff::Timestamp;
use portwarden_aws::Metrics;
use portwarden_catalog::{CATALOG_VERSION, Limits};
use portwarden_core::{
    announce::{Announce, AnnounceError, Announcement, ImageScanned, MemoryBus},
    arn::RoleArn,
    clock::{Clock as _, ManualClock},
    ecr::{DescribeImage, EcrError, EcrImage, RegistryId, RegistryLogin},
    endpoint::{Password, Username},
    event::{EventLog, Recorded, UnverifiedEvent},
    id::{AccountId, EventId, IntegrationId, Region, RequestId},
    image::{Images, Location, ScanSummary},
    integration::{Integrations, NamedBy, NewRegion},
    notification::{MemoryNotifies, NotifyRequest, QueueNotify},
    object::{Document, MemoryObjects, ObjectError, ObjectKey, ReadObject, WriteObject},
    random::OsRandomness,
    registry_scan::{ReadRegistryScan, RegistryScan},
    scope::{OperatorScope, TenantScope},
    session::{AssumeError, AssumeRole, Purpose, Session, SessionName, TrustedRole},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
    trace::TraceId,
    verdict::{Check, Outcome as ProbeOutcome, Probe, Verdict},
    work::{KnownBy, MemoryQueues, QueueError, QueueScan, QueueVerify, ScanRequest, VerifyRequest},
};
use portwarden_oci::{Digest, RepositoryName, Tag};
use portwarden_registry::{Credentials, ImageSource, OpenRegistry, RegistryError};
use portwarden_report::Report;
use portwarden_scanner::{Context, Inline, Outside, handle};
use portwarden_testkit::image::Artifact;
use serde_json::json;

use crate::{clock::WaitingClock, shelf::Shelf};

/// How long an invocation may take.
pub(crate) const INVOCATION: Duration = Duration::from_mins(15);

/// Counts calls, and fails one of them before or after it has had its effect.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    calls: AtomicUsize,
    crash: Mutex<Option<Crash>>,
}

/// Where the process dies: every call from there on fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crash {
    pub(crate) call: usize,
    pub(crate) after_effect: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the process has died")]
struct Died;

impl Faults {
    pub(crate) fn plan(&self, crash: Option<Crash>) {
        self.calls.store(0, Ordering::SeqCst);
        *self.crash.lock().unwrap() = crash;
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Makes a call; other requests go on in between.
    async fn call<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::task::yield_now().await;
        let crash = *self.crash.lock().unwrap();
        match crash {
            Some(crash) if number == crash.call && crash.after_effect => {
                work.await;
                Err(Died.into())
            }
            Some(crash) if number >= crash.call => Err(Died.into()),
            _ => Ok(work.await),
        }
    }
}

/// What is outside, shared by all fakes.
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) faults: Arc<Faults>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) objects: Arc<MemoryObjects>,
    pub(crate) queues: Arc<MemoryQueues>,
    pub(crate) notifies: Arc<MemoryNotifies>,
    pub(crate) bus: Arc<MemoryBus>,
    pub(crate) aws: Arc<Aws>,
}

/// The tenants' accounts.
pub(crate) struct Aws {
    clock: ManualClock,
    faults: Arc<Faults>,
    images: Mutex<BTreeMap<(RegistryId, RepositoryName, Digest), EcrImage>>,
    shelves: Mutex<BTreeMap<String, Shelf>>,
    /// What ECR's own scanning found.
    pub(crate) scans: Mutex<BTreeMap<Digest, RegistryScan>>,
    /// What ECR says next time when it is asked for that.
    pub(crate) scan_errors: Mutex<Vec<EcrError>>,
    /// What STS says next time.
    pub(crate) assume_errors: Mutex<Vec<AssumeError>>,
    /// What ECR says next time.
    pub(crate) ecr_errors: Mutex<Vec<EcrError>>,
    /// The names of the sessions that were opened.
    pub(crate) sessions: Mutex<Vec<String>>,
}

/// A tenant with one connected account.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) scope: TenantScope,
    pub(crate) integration: IntegrationId,
    pub(crate) account: AccountId,
}

pub(crate) fn region() -> Region {
    "eu-west-1".parse().unwrap()
}

pub(crate) fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::at("2026-11-23T12:00:00Z".parse().unwrap());
        let faults = Arc::new(Faults::default());
        Self {
            aws: Arc::new(Aws {
                clock: clock.clone(),
                faults: Arc::clone(&faults),
                images: Mutex::default(),
                shelves: Mutex::default(),
                scans: Mutex::default(),
                scan_errors: Mutex::default(),
                assume_errors: Mutex::default(),
                ecr_errors: Mutex::default(),
                sessions: Mutex::default(),
            }),
            clock,
            faults,
            store: Arc::default(),
            objects: Arc::default(),
            queues: Arc::default(),
            notifies: Arc::default(),
            bus: Arc::default(),
        }
    }

    /// A function's process that starts now.
    pub(crate) fn process(&self) -> Context {
        self.slow_process(1)
    }

    /// A process for whom each call of the table takes the time of `slowness` calls of others.
    pub(crate) fn slow_process(&self, slowness: usize) -> Context {
        let faults = || Arc::clone(&self.faults);
        let objects = Arc::new(Faulty(self.objects.clone(), faults()));
        let queues = Arc::new(Faulty(self.queues.clone(), faults()));
        Context::new(Outside {
            store: Arc::new(SlowStore(Faulty(self.store.clone(), faults()), slowness)),
            objects: objects.clone(),
            documents: objects,
            roles: self.aws.clone(),
            calls: Arc::default(),
            ecr: self.aws.clone(),
            registry_scans: self.aws.clone(),
            registries: self.aws.clone(),
            scans: queues.clone(),
            verifications: queues,
            notifies: Arc::new(Faulty(self.notifies.clone(), faults())),
            bus: Arc::new(Faulty(self.bus.clone(), faults())),
            cataloguing: Arc::new(Inline),
            metrics: Metrics::new(Arc::new(self.clock.clone())),
            clock: Arc::new(WaitingClock(self.clock.clone())),
            limits: Limits::default(),
            parallel: NonZeroUsize::new(2).unwrap(),
        })
    }

    pub(crate) async fn tenant(&self, account: &str) -> Party {
        let party = self.unproven_tenant(account).await;
        self.conclude(&party, true).await;
        party
    }

    pub(crate) async fn unproven_tenant(&self, account: &str) -> Party {
        let tenant = portwarden_core::id::TenantId::generate(&OsRandomness);
        let scope = OperatorScope::of_this_process().tenant(tenant);
        self.connect(&scope, account).await
    }

    pub(crate) async fn connect(&self, scope: &TenantScope, account: &str) -> Party {
        let integrations = Integrations::new(self.store.clone());
        let new = NewRegion::Classic {
            region: region(),
            username: Username::parse("portwarden").unwrap(),
            password: Password::parse(&"a-password-of-24-characters".to_owned().into()).unwrap(),
        };
        let now = self.clock.now();
        let connection = integrations
            .create(scope, "shop", &[new], now, &OsRandomness)
            .await;
        let party = Party {
            scope: scope.clone(),
            integration: connection.unwrap().integration.id,
            account: account.parse().unwrap(),
        };
        let (region, role) = (region(), party.role());
        let claimed = integrations
            .claim_role(scope, &party.integration, &region, &role, None)
            .await;
        assert!(claimed.unwrap());
        party
    }

    /// Stores that the party's role was found trustworthy, or not.
    pub(crate) async fn conclude(&self, party: &Party, is_good: bool) {
        let problem = portwarden_core::problem::Problem::new("refuses_nobody", "x", "x");
        let probe = |check| Probe {
            check,
            outcome: if is_good {
                ProbeOutcome::Passed
            } else {
                ProbeOutcome::Failed(problem.clone())
            },
        };
        let verdict = Verdict {
            at: self.clock.now(),
            request: RequestId::generate(&OsRandomness),
            probes: Check::OF_TRUST.map(probe).to_vec(),
        };
        Integrations::new(self.store.clone())
            .record_verdict(
                &party.scope,
                &party.integration,
                &region(),
                (&party.role(), NamedBy::Tenant(None)),
                &verdict,
            )
            .await
            .unwrap();
    }

    /// Returns a repository's content.
    pub(crate) fn shelf(&self, party: &Party, repository: &RepositoryName) -> Shelf {
        let name = format!("{}/{repository}", party.registry().host());
        let mut shelves = self.aws.shelves.lock().unwrap();
        shelves
            .entry(name)
            .or_insert_with(|| Shelf::new(&self.clock))
            .clone()
    }

    /// Pushes an image under some tags.
    pub(crate) fn push(&self, party: &Party, name: &str, tags: &[&str], artifact: &impl Artifact) {
        let repository = repository(name);
        self.shelf(party, &repository).put(artifact);
        self.tag(party, name, artifact.digest(), tags);
    }

    pub(crate) fn tag(&self, party: &Party, name: &str, digest: Digest, tags: &[&str]) {
        let image = EcrImage {
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
            pushed_at: Some(self.clock.now()),
            size: None,
            archived: false,
        };
        let key = (party.registry(), repository(name), digest);
        self.aws.images.lock().unwrap().insert(key, image);
    }

    pub(crate) fn archive(&self, party: &Party, name: &str, digest: Digest, archived: bool) {
        let key = (party.registry(), repository(name), digest);
        self.aws.images.lock().unwrap().get_mut(&key).unwrap().archived = archived;
    }

    pub(crate) fn delete(&self, party: &Party, name: &str, digest: Digest) {
        let key = (party.registry(), repository(name), digest);
        self.aws.images.lock().unwrap().remove(&key);
    }

    /// Receives an event about an image, as the receiver does it, and returns the request that it queues.
    pub(crate) async fn event(&self, party: &Party, name: &str, digest: Digest) -> ScanRequest {
        let event = self.event_of(party, name, digest);
        let recorded = self.record(party, &event).await;
        assert_eq!(recorded, Recorded::New);
        request(party, name, digest, Some(event.id), self.clock.now())
    }

    pub(crate) async fn record(&self, party: &Party, event: &UnverifiedEvent) -> Recorded {
        EventLog::new(self.store.clone())
            .record(&party.scope, &party.integration, event, trace(), self.clock.now())
            .await
            .unwrap()
            .recorded
    }

    pub(crate) fn event_of(&self, party: &Party, name: &str, digest: Digest) -> UnverifiedEvent {
        let body = json!({
            "id": format!("e-{}-{}", name.replace('/', "."), digest.hex()), "detail-type": "ECR Image Action", "source": "aws.ecr",
            "account": party.account, "time": self.clock.now(), "region": region(), "resources": [],
            "detail": {"repository-name": name, "image-digest": digest, "action-type": "PUSH", "result": "SUCCESS"},
        });
        UnverifiedEvent::parse(body.to_string().as_bytes()).unwrap()
    }

    /// Tells whether the event that led to a request is settled.
    pub(crate) fn is_settled(&self, party: &Party, request: &ScanRequest) -> bool {
        let id = request.event.as_ref().unwrap().to_string();
        self.store
            .dump()
            .into_iter()
            .filter(|item| item.key.to_string().contains(&id))
            .filter(|item| item.key.to_string().contains(party.scope.tenant().as_str()))
            .any(|item| item.body["settled"] == true)
    }

    /// Delivers requests in one batch and returns the ids of those that go back to the queue.
    pub(crate) async fn deliver(&self, process: &Context, requests: &[&ScanRequest]) -> Vec<String> {
        let bodies: Vec<_> = requests
            .iter()
            .map(|request| serde_json::to_string(request).unwrap())
            .collect();
        let ends = self.clock.now() + INVOCATION;
        failed(&handle(process, batch(&bodies), ends).await)
    }

    /// Delivers a request once and tells whether it is done.
    pub(crate) async fn is_done(&self, process: &Context, request: &ScanRequest) -> bool {
        self.deliver(process, &[request]).await.is_empty()
    }

    pub(crate) async fn summary(&self, party: &Party, digest: Digest) -> Option<ScanSummary> {
        Images::new(self.store.clone())
            .scan(&party.scope, &digest, CATALOG_VERSION)
            .await
            .unwrap()
    }

    pub(crate) async fn locations(&self, party: &Party, digest: Digest) -> Vec<Location> {
        Images::new(self.store.clone())
            .locations(&party.scope, &digest)
            .await
            .unwrap()
    }

    pub(crate) async fn report(&self, party: &Party, digest: Digest) -> Option<Report> {
        let json = self.document(party, digest, Document::Report).await?;
        Some(serde_json::from_slice(&json).unwrap())
    }

    pub(crate) async fn document(
        &self,
        party: &Party,
        digest: Digest,
        document: Document,
    ) -> Option<Vec<u8>> {
        let key = party.scope.image_object(&digest, CATALOG_VERSION, document);
        self.objects.read_object(&key).await.unwrap()
    }

    pub(crate) fn announced(&self) -> Vec<ImageScanned> {
        let announced = self.bus.take().into_iter();
        announced
            .map(|announcement| match announcement {
                Announcement::ImageScanned(scanned) => *scanned,
                other => panic!("not ours to say: {other:?}"),
            })
            .collect()
    }
}

pub(crate) fn batch(bodies: &[String]) -> aws_lambda_events::event::sqs::SqsEvent {
    let records: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| json!({"messageId": format!("m-{number}"), "body": body}))
        .collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

pub(crate) fn failed(response: &SqsBatchResponse) -> Vec<String> {
    let failures = response.batch_item_failures.iter();
    failures.map(|failure| failure.item_identifier.clone()).collect()
}

pub(crate) fn request(
    party: &Party,
    name: &str,
    digest: Digest,
    event: Option<EventId>,
    since: Timestamp,
) -> ScanRequest {
    ScanRequest {
        tenant: party.scope.tenant().clone(),
        integration: party.integration.clone(),
        account: party.account.clone(),
        region: region(),
        repository: repository(name),
        digest,
        known_by: KnownBy::Event,
        event,
        request: RequestId::generate(&OsRandomness),
        trace: trace(),
        since,
        continuation: 0,
    }
}

fn trace() -> TraceId {
    TraceId::generate(Timestamp::UNIX_EPOCH, &OsRandomness)
}

pub(crate) fn tags(tags: &[&str]) -> BTreeSet<Tag> {
    tags.iter().map(|tag| tag.parse().unwrap()).collect()
}

impl Party {
    pub(crate) fn role(&self) -> RoleArn {
        format!("arn:aws:iam::{}:role/portwarden", self.account)
            .parse()
            .unwrap()
    }

    pub(crate) fn registry(&self) -> RegistryId {
        RegistryId {
            account: self.account.clone(),
            region: region(),
        }
    }
}

#[async_trait]
impl AssumeRole for Aws {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        _: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        let opened = self.faults.call(async {
            if let Some(error) = self.assume_errors.lock().unwrap().pop() {
                return Err(error);
            }
            let mut sessions = self.sessions.lock().unwrap();
            sessions.push(name.as_str().to_owned());
            Ok(Session {
                access_key_id: format!("{}/{}", role.role().account(), role.region()),
                secret_access_key: "secret".to_owned().into(),
                session_token: "token".to_owned().into(),
                expires_at: self.clock.now() + Duration::from_hours(1),
                account: role.role().account().clone(),
            })
        });
        opened.await.map_err(AssumeError::Unreachable)?
    }
}

#[async_trait]
impl DescribeImage for Aws {
    async fn describe_image(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<EcrImage>, EcrError> {
        assert_eq!(
            session.access_key_id,
            registry.to_string(),
            "another account's session"
        );
        let described = self.faults.call(async {
            if let Some(error) = self.ecr_errors.lock().unwrap().pop() {
                return Err(error);
            }
            let key = (registry.clone(), repository.clone(), *digest);
            Ok(self.images.lock().unwrap().get(&key).cloned())
        });
        described.await.map_err(EcrError::Unreachable)?
    }

    async fn login(&self, session: &Session, registry: &RegistryId) -> Result<RegistryLogin, EcrError> {
        assert_eq!(
            session.access_key_id,
            registry.to_string(),
            "another account's session"
        );
        let login = self.faults.call(async {
            RegistryLogin {
                username: "AWS".to_owned(),
                password: registry.to_string().into(),
            }
        });
        login.await.map_err(EcrError::Unreachable)
    }
}

#[async_trait]
impl ReadRegistryScan for Aws {
    async fn registry_scan(
        &self,
        session: &Session,
        registry: &RegistryId,
        _: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<RegistryScan>, EcrError> {
        assert_eq!(
            session.access_key_id,
            registry.to_string(),
            "another account's session"
        );
        let read = self.faults.call(async {
            if let Some(error) = self.scan_errors.lock().unwrap().pop() {
                return Err(error);
            }
            Ok(self.scans.lock().unwrap().get(digest).cloned())
        });
        read.await.map_err(EcrError::Unreachable)?
    }
}

impl OpenRegistry for Aws {
    fn open(
        &self,
        host: &str,
        repository: &RepositoryName,
        credentials: Credentials,
    ) -> Result<Arc<dyn ImageSource>, RegistryError> {
        assert!(
            matches!(credentials, Credentials::Basic { ref user, .. } if user == "AWS"),
            "every registry is signed in to"
        );
        let shelves = self.shelves.lock().unwrap();
        let found = shelves.get(&format!("{host}/{repository}"));
        Ok(Arc::new(
            found.cloned().unwrap_or_else(|| Shelf::new(&self.clock)),
        ))
    }
}

/// Something of core's that may fail.
pub(crate) struct Faulty<T>(Arc<T>, Arc<Faults>);

/// A table that is slow: others make several calls during each of this one.
struct SlowStore(Faulty<MemoryStore>, usize);

impl SlowStore {
    async fn wait(&self) {
        for _ in 1..self.1 {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Store for SlowStore {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.wait().await;
        self.0.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.wait().await;
        self.0.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        self.wait().await;
        self.0.write(writes).await
    }
}

#[async_trait]
impl Store for Faulty<MemoryStore> {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.1
            .call(self.0.get(key))
            .await
            .map_err(StoreError::Unavailable)?
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let page = self.0.query(partition, prefix, after, limit);
        self.1.call(page).await.map_err(StoreError::Unavailable)?
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let written = self.1.call(self.0.write(writes)).await;
        written.map_err(StoreError::Unavailable)?
    }
}

#[async_trait]
impl ReadObject for Faulty<MemoryObjects> {
    async fn read_object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, ObjectError> {
        self.1.call(self.0.read_object(key)).await.map_err(ObjectError)?
    }
}

#[async_trait]
impl WriteObject for Faulty<MemoryObjects> {
    async fn write_object(
        &self,
        key: &ObjectKey,
        content_type: &'static str,
        content: Vec<u8>,
    ) -> Result<(), ObjectError> {
        let written = self.0.write_object(key, content_type, content);
        self.1.call(written).await.map_err(ObjectError)?
    }
}

#[async_trait]
impl QueueScan for Faulty<MemoryQueues> {
    async fn queue_scan(&self, request: &ScanRequest) -> Result<(), QueueError> {
        self.1
            .call(self.0.queue_scan(request))
            .await
            .map_err(QueueError)?
    }
}

#[async_trait]
impl QueueNotify for Faulty<MemoryNotifies> {
    async fn queue_notify(&self, request: &NotifyRequest, delay: Option<Duration>) -> Result<(), QueueError> {
        self.1
            .call(self.0.queue_notify(request, delay))
            .await
            .map_err(QueueError)?
    }
}

#[async_trait]
impl QueueVerify for Faulty<MemoryQueues> {
    async fn queue_verify(&self, request: &VerifyRequest) -> Result<(), QueueError> {
        self.1
            .call(self.0.queue_verify(request))
            .await
            .map_err(QueueError)?
    }
}

#[async_trait]
impl Announce for Faulty<MemoryBus> {
    async fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError> {
        self.1
            .call(self.0.announce(announcement))
            .await
            .map_err(AnnounceError)?
    }
}
