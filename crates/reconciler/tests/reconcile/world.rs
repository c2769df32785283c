use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::SignedDuration;
use portwarden_aws::Metrics;
use portwarden_core::{
    announce::{Announce, AnnounceError, Announcement, MemoryBus},
    clock::{Clock as _, ManualClock},
    ecr::{EcrError, EcrImage, ListRegistry, Listing, PageToken, RegistryId},
    id::{IntegrationId, Region, RequestId, TenantId},
    image::{Claimed, Images, Located, Location, Presence, RepositoryId, ScanResult},
    integration::{Integrations, NamedBy, NewRegion},
    random::OsRandomness,
    receipt::CallCounter,
    reconcile::Inventories,
    scope::{OperatorScope, TenantScope},
    session::{AssumeError, AssumeRole, Purpose, Session, SessionName, TrustedRole},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
    trace::TraceId,
    verdict::{Check, Outcome as ProbeOutcome, Probe, Verdict},
    work::{
        InventoryReason, InventoryRequest, KnownBy, MemoryQueues, QueueError, QueueInventory, QueueScan,
        QueueVerify, ScanRequest, VerifyRequest,
    },
};
use portwarden_oci::{Digest, RepositoryName};
use portwarden_reconciler::{Context, Failure, Outcome, Outside, look};

/// The access keys of sessions, by what they are for.
const REGISTRY: &str = "ASIAREGISTRY";
const NAMES: &str = "ASIANAMES";

/// How long an invocation may take.
pub(crate) const INVOCATION: SignedDuration = SignedDuration::from_mins(15);

/// ECR, the table, the queues and the bus, which can fail.
pub(crate) struct Aws {
    store: MemoryStore,
    queues: MemoryQueues,
    bus: MemoryBus,
    clock: ManualClock,
    repositories: Mutex<BTreeMap<RepositoryName, BTreeMap<Digest, EcrImage>>>,
    pub(crate) calls: AtomicUsize,
    /// The call at which the process dies, and whether after its effect.
    pub(crate) crash: Mutex<Option<(usize, bool)>>,
    /// How many of the next calls of ECR are throttled.
    pub(crate) throttled: AtomicUsize,
    /// How many images a page of ECR's has.
    pub(crate) page: AtomicUsize,
    /// How long a call of ECR takes.
    pub(crate) latency: Mutex<Duration>,
    /// What may not be read.
    pub(crate) closed: Mutex<Option<RepositoryName>>,
    /// Whether the role opens at all.
    pub(crate) is_shut: Mutex<bool>,
    pub(crate) sessions: AtomicUsize,
    counter: Arc<CallCounter>,
    /// The repositories of other regions; none where the role may not ask.
    pub(crate) elsewhere: Mutex<BTreeMap<Region, Option<Vec<RepositoryName>>>>,
}

pub(crate) struct World {
    pub(crate) aws: Arc<Aws>,
    pub(crate) clock: ManualClock,
    pub(crate) scope: TenantScope,
    pub(crate) integration: IntegrationId,
    pub(crate) images: Images,
    pub(crate) inventories: Inventories,
}

pub(crate) fn registry() -> RegistryId {
    RegistryId {
        account: "111122223333".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
    }
}

pub(crate) fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = ManualClock::at("2026-11-28T12:00:00Z".parse().unwrap());
        let aws = Arc::new(Aws {
            store: MemoryStore::default(),
            queues: MemoryQueues::default(),
            bus: MemoryBus::default(),
            clock: clock.clone(),
            repositories: Mutex::default(),
            calls: AtomicUsize::new(0),
            crash: Mutex::default(),
            throttled: AtomicUsize::new(0),
            page: AtomicUsize::new(1000),
            latency: Mutex::new(Duration::from_millis(20)),
            closed: Mutex::default(),
            is_shut: Mutex::default(),
            sessions: AtomicUsize::new(0),
            counter: Arc::default(),
            elsewhere: Mutex::default(),
        });
        let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
        let integrations = Integrations::new(aws.clone());
        let regions = [NewRegion::Quick {
            region: registry().region,
        }];
        let made = integrations
            .create(&scope, "shop", &regions, clock.now(), &OsRandomness)
            .await;
        let world = Self {
            integration: made.unwrap().integration.id,
            images: Images::new(aws.clone()),
            inventories: Inventories::new(aws.clone()),
            aws,
            clock,
            scope,
        };
        world.conclude(true).await;
        world
    }

    /// Records that the region's role was tested.
    pub(crate) async fn conclude(&self, is_trusted: bool) {
        let role = "arn:aws:iam::111122223333:role/r".parse().unwrap();
        let probe = |check| Probe {
            check,
            outcome: if is_trusted {
                ProbeOutcome::Passed
            } else {
                ProbeOutcome::Failed(portwarden_core::problem::Problem::new("code", "what", "fix"))
            },
        };
        let verdict = Verdict {
            at: self.clock.now(),
            request: RequestId::generate(&OsRandomness),
            probes: Check::OF_TRUST.map(probe).to_vec(),
        };
        let (integrations, region) = (Integrations::new(self.aws.clone()), registry().region);
        integrations
            .claim_role(&self.scope, &self.integration, &region, &role, None)
            .await
            .unwrap();
        integrations
            .record_verdict(
                &self.scope,
                &self.integration,
                &region,
                (&role, NamedBy::Tenant(None)),
                &verdict,
            )
            .await
            .unwrap();
    }

    pub(crate) fn push(&self, repository: &str, content: &str, tags: &[&str]) -> Digest {
        let digest = Digest::of(format!("{repository} {content}").as_bytes());
        let image = EcrImage {
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
            pushed_at: Some(self.clock.now()),
            size: Some(1),
            archived: false,
        };
        self.aws
            .ecr()
            .entry(name(repository))
            .or_default()
            .insert(digest, image);
        digest
    }

    /// Does what the scanner does when an event tells of an image.
    pub(crate) async fn tell(&self, repository: &str, digest: Digest) {
        self.scan(&self.event(repository, digest)).await;
    }

    /// What is queued when an event tells of an image.
    pub(crate) fn event(&self, repository: &str, digest: Digest) -> ScanRequest {
        ScanRequest {
            tenant: self.scope.tenant().clone(),
            integration: self.integration.clone(),
            account: registry().account,
            region: registry().region,
            repository: name(repository),
            digest,
            known_by: KnownBy::Event,
            event: None,
            request: RequestId::generate(&OsRandomness),
            trace: TraceId::generate(self.clock.now(), &OsRandomness),
            since: self.clock.now(),
            continuation: 0,
        }
    }

    /// Notes what ECR says of an image and scans it, as the scanner does.
    pub(crate) async fn scan(&self, request: &ScanRequest) {
        if !self.look(request).await {
            return;
        }
        let (digest, now) = (&request.digest, self.clock.now());
        let until = now + SignedDuration::from_mins(15);
        let claimed = self
            .images
            .claim_scan(&self.scope, digest, 1, &request.request, now, until)
            .await;
        // One that was done before is not done again.
        if let Claimed::Ours(lease) = claimed.unwrap() {
            let result = ScanResult::Reported {
                packages: 1,
                partial: false,
                pulled_bytes: 1,
                spared_bytes: 0,
            };
            let finished = self
                .images
                .finish_scan(&self.scope, &lease, request.trace, now, result)
                .await;
            finished.unwrap();
        }
    }

    /// Notes what ECR says of an image; tells whether there is anything to scan.
    pub(crate) async fn look(&self, request: &ScanRequest) -> bool {
        self.clock.advance(Duration::from_millis(1));
        let image = {
            let ecr = self.aws.ecr();
            ecr.get(&request.repository)
                .and_then(|images| images.get(&request.digest))
                .cloned()
        };
        let location = Location {
            integration: request.integration.clone(),
            account: request.account.clone(),
            region: request.region.clone(),
            repository: request.repository.clone(),
            presence: image.as_ref().map_or(Presence::Deleted, EcrImage::presence),
            observed_at: self.clock.now(),
            known_by: request.known_by,
            known_at: request.since,
        };
        self.images
            .observe(&self.scope, &request.digest, &location)
            .await
            .unwrap();
        image.is_some_and(|image| !image.archived)
    }

    /// Works on all that is queued for the scanner.
    pub(crate) async fn scan_all(&self) -> Vec<ScanRequest> {
        let requests = self.aws.queues.take_scans();
        for request in &requests {
            self.scan(request).await;
        }
        requests
    }

    pub(crate) fn request(&self, reason: InventoryReason) -> InventoryRequest {
        InventoryRequest {
            tenant: self.scope.tenant().clone(),
            integration: self.integration.clone(),
            region: registry().region,
            reason,
            repository: None,
            event: None,
            request: RequestId::generate(&OsRandomness),
            trace: TraceId::generate(self.clock.now(), &OsRandomness),
            continuation: 0,
        }
    }

    /// Invokes the reconciler once, in a new process.
    pub(crate) async fn invoke(&self, request: &InventoryRequest) -> Result<Outcome, Failure> {
        let context = Context::new(Outside {
            store: self.aws.clone(),
            roles: self.aws.clone(),
            calls: self.aws.counter.clone(),
            ecr: self.aws.clone(),
            scans: self.aws.clone(),
            launch_regions: self.aws.elsewhere.lock().unwrap().keys().cloned().collect(),
            inventories: self.aws.clone(),
            verifications: self.aws.clone(),
            bus: self.aws.clone(),
            metrics: Metrics::written_by(Arc::new(self.clock.clone()), |_| {}),
            clock: Arc::new(self.clock.clone()),
            randomness: Arc::new(OsRandomness),
        });
        look(&context, request, self.clock.now() + INVOCATION).await
    }

    /// Invokes the reconciler until nothing is queued for it; returns the last outcome and the number of invocations.
    pub(crate) async fn run(&self, request: InventoryRequest) -> (Outcome, usize) {
        let mut next = request;
        for count in 1.. {
            let outcome = self.invoke(&next).await.unwrap();
            let Some((request, delay)) = self.aws.queues.take_inventories().pop() else {
                return (outcome, count);
            };
            self.clock.advance(delay);
            next = request;
        }
        unreachable!("it ends at some time")
    }

    /// A day later, the next sweep.
    pub(crate) async fn sweep(&self) -> Outcome {
        self.clock.advance(Duration::from_hours(24));
        let (outcome, _) = self.run(self.request(InventoryReason::Schedule)).await;
        outcome
    }

    pub(crate) async fn known(&self, repository: &str) -> Vec<Located> {
        let repository = RepositoryId::in_registry(&registry(), name(repository));
        self.images
            .in_repository(&self.scope, &repository, None, 1_000_000)
            .await
            .unwrap()
            .items
    }

    /// Checks that what is known is what ECR says, everywhere.
    pub(crate) async fn check(&self) {
        let ecr = self.aws.ecr().clone();
        let listed = self
            .images
            .repositories(&self.scope, None, None, 10_000)
            .await
            .unwrap()
            .items;
        let names = ecr
            .keys()
            .cloned()
            .chain(listed.into_iter().map(|known| known.repository));
        for repository in names {
            let expected: BTreeMap<Digest, Presence> = ecr
                .get(&repository)
                .into_iter()
                .flatten()
                .map(|(digest, image)| (*digest, image.presence()))
                .collect();
            let known = self.known(repository.as_str()).await;
            let known: BTreeMap<Digest, Presence> = known
                .into_iter()
                .map(|known| (known.digest, known.location.presence))
                .collect();
            assert_eq!(known, expected, "{repository}");
        }
    }

    /// Takes what is queued for the scanner.
    pub(crate) fn take_scans(&self) -> Vec<ScanRequest> {
        self.aws.queues.take_scans()
    }

    pub(crate) fn announced(&self) -> Vec<Announcement> {
        self.aws.bus.take()
    }

    pub(crate) fn verifications(&self) -> Vec<VerifyRequest> {
        self.aws.queues.take_verifications()
    }
}

impl Aws {
    pub(crate) fn ecr(&self) -> MutexGuard<'_, BTreeMap<RepositoryName, BTreeMap<Digest, EcrImage>>> {
        self.repositories.lock().unwrap()
    }

    /// Tells whether the process is dead before, or after, the effect of this call.
    fn dies(&self) -> (bool, bool) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match *self.crash.lock().unwrap() {
            Some((at, is_after)) if call == at => (!is_after, is_after),
            Some((at, _)) if call > at => (true, false),
            _ => (false, false),
        }
    }

    fn call<T, E>(&self, dead: impl Fn() -> E, effect: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let (before, after) = self.dies();
        if before {
            return Err(dead());
        }
        let answer = effect();
        if after { Err(dead()) } else { answer }
    }

    fn ask<T>(&self, effect: impl FnOnce() -> Result<T, EcrError>) -> Result<T, EcrError> {
        self.clock.advance(*self.latency.lock().unwrap());
        let throttled = self.throttled.load(Ordering::SeqCst);
        if throttled > 0 {
            self.throttled.store(throttled - 1, Ordering::SeqCst);
            self.calls.fetch_add(1, Ordering::SeqCst);
            return Err(EcrError::Throttled);
        }
        // A dead process waits for nothing.
        let dead = || EcrError::KeyClosed("the process is dead".into());
        self.call(dead, effect)
    }

    /// Cuts a page out of a list; a token is the number of the next item.
    fn page<T: Clone>(&self, all: &[T], next: Option<&PageToken>) -> Listing<T> {
        let start: usize = next.map_or(0, |token| token.0.parse().unwrap());
        let end = (start + self.page.load(Ordering::SeqCst)).min(all.len());
        Listing {
            items: all[start..end].to_vec(),
            next: (end < all.len()).then(|| PageToken(end.to_string())),
        }
    }
}

fn dead_store() -> StoreError {
    StoreError::Unavailable("the process is dead".into())
}

#[async_trait]
impl Store for Aws {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        let answer = self.store.get(key).await;
        self.call(dead_store, || answer)
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let answer = self.store.query(partition, prefix, after, limit).await;
        self.call(dead_store, || answer)
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let (before, after) = self.dies();
        if before {
            return Err(dead_store().into());
        }
        let answer = self.store.write(writes).await;
        if after { Err(dead_store().into()) } else { answer }
    }
}

#[async_trait]
impl ListRegistry for Aws {
    async fn list_repositories(
        &self,
        session: &Session,
        at: &RegistryId,
        next: Option<&PageToken>,
    ) -> Result<Listing<RepositoryName>, EcrError> {
        self.counter.count(session);
        if *at != registry() {
            assert_eq!(
                (session.access_key_id.as_str(), &at.account),
                (NAMES, &registry().account)
            );
            let names = self.elsewhere.lock().unwrap()[&at.region].clone();
            return self.ask(|| {
                let action = "ecr:DescribeRepositories";
                let names = names.ok_or(EcrError::Denied {
                    action,
                    source: "no".into(),
                })?;
                Ok(self.page(&names, next))
            });
        }
        assert_eq!(session.access_key_id, REGISTRY);
        self.ask(|| {
            let names: Vec<RepositoryName> = self.ecr().keys().cloned().collect();
            Ok(self.page(&names, next))
        })
    }

    async fn list_images(
        &self,
        session: &Session,
        _: &RegistryId,
        repository: &RepositoryName,
        next: Option<&PageToken>,
    ) -> Result<Option<Listing<(Digest, EcrImage)>>, EcrError> {
        assert_eq!(session.access_key_id, REGISTRY);
        self.counter.count(session);
        self.ask(|| {
            if self.closed.lock().unwrap().as_ref() == Some(repository) {
                let action = "ecr:DescribeImages";
                return Err(EcrError::Denied {
                    action,
                    source: "no".into(),
                });
            }
            let ecr = self.ecr();
            let Some(images) = ecr.get(repository) else {
                return Ok(None);
            };
            let images: Vec<_> = images
                .iter()
                .map(|(digest, image)| (*digest, image.clone()))
                .collect();
            Ok(Some(self.page(&images, next)))
        })
    }
}

#[async_trait]
impl AssumeRole for Aws {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        session: &SessionName,
    ) -> Result<Session, AssumeError> {
        assert!(session.as_str().starts_with("reconcile-"));
        if *self.is_shut.lock().unwrap() {
            return Err(AssumeError::NotAllowed("no".into()));
        }
        self.sessions.fetch_add(1, Ordering::SeqCst);
        Ok(Session {
            access_key_id: match purpose {
                Purpose::Registry => REGISTRY,
                Purpose::Names => NAMES,
                other => panic!("{other:?}"),
            }
            .to_owned(),
            secret_access_key: "secret".to_owned().into(),
            session_token: "token".to_owned().into(),
            expires_at: self.clock.now() + SignedDuration::from_hours(1),
            account: role.role().account().clone(),
        })
    }
}

fn dead_queue() -> QueueError {
    QueueError("the process is dead".into())
}

#[async_trait]
impl QueueScan for Aws {
    async fn queue_scan(&self, request: &ScanRequest) -> Result<(), QueueError> {
        let (before, after) = self.dies();
        if before {
            return Err(dead_queue());
        }
        self.queues.queue_scan(request).await?;
        if after { Err(dead_queue()) } else { Ok(()) }
    }
}

#[async_trait]
impl QueueInventory for Aws {
    async fn queue_inventory(&self, request: &InventoryRequest, delay: Duration) -> Result<(), QueueError> {
        self.queues.queue_inventory(request, delay).await
    }
}

#[async_trait]
impl QueueVerify for Aws {
    async fn queue_verify(&self, request: &VerifyRequest) -> Result<(), QueueError> {
        self.queues.queue_verify(request).await
    }
}

#[async_trait]
impl Announce for Aws {
    async fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError> {
        let (before, after) = self.dies();
        let dead = || AnnounceError("the process is dead".into());
        if before {
            return Err(dead());
        }
        self.bus.announce(announcement).await?;
        if after { Err(dead()) } else { Ok(()) }
    }
}

/// Some hours.
pub(crate) fn hours(count: u64) -> Duration {
    Duration::from_hours(count)
}
