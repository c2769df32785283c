//! Bugs that are put between the functions and the world; each must be found, and by its own name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use portwarden_core::notification::{NotifyRequest, QueueNotify};
use portwarden_core::work::{KnownBy, QueueError, QueueScan, ScanRequest};
use portwarden_core::{
    arn::RoleArn,
    ecr::{DescribeImage, EcrError, EcrImage, ListRegistry, Listing, PageToken, RegistryId, RegistryLogin},
    id::Region,
    image::{Images, Presence},
    session::{AssumeError, AssumeRole, ProbeRole, Purpose, Session, SessionName, TrustedRole},
    store::{Condition, Conflict, Key, Page, Partition, Store, StoreError, Stored, Write, WriteError},
};
use portwarden_oci::{Digest, RepositoryName};
use portwarden_reconciler::Outside as Reconciler;
use portwarden_simulation::{Invariant, Wiring, run};
use serde_json::{Value, json};

use crate::seeds::settings;

/// Asserts that a run with the bug ends with a violation of `invariant` that speaks of `what`.
///
/// Some bugs need a coincidence, such as a message that comes twice at the right moment, which not every run has: the first of
/// a few that has it counts.
pub(crate) fn caught(bug: impl Wiring + 'static, invariant: Invariant, what: &str) {
    let bug = Arc::new(bug);
    let violation = (1..=8).find_map(|seed| run(&settings(seed), bug.clone()).err());
    let violation = violation.expect("the bug is caught");
    assert_eq!(violation.invariant, invariant, "{violation}");
    assert!(violation.what.contains(what), "{violation}");
}

/// A table with a bug in how it takes events.
struct Table {
    store: Arc<dyn Store>,
    decide: Decide,
    change: fn(WriteError) -> WriteError,
}

/// Decides what becomes of the write of an event; nothing if it is made as it should be.
type Decide = Box<dyn Fn(&Write) -> Option<Result<(), WriteError>> + Send + Sync>;

#[async_trait]
impl Store for Table {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.store.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.store.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let [write] = writes else {
            return self.store.write(writes).await;
        };
        if !write.key().partition().as_str().contains("#event#") {
            return self.store.write(writes).await;
        }
        match (self.decide)(write) {
            Some(decided) => decided,
            None => self.store.write(writes).await.map_err(self.change),
        }
    }
}

fn table(store: Arc<dyn Store>, decide: Decide, change: fn(WriteError) -> WriteError) -> Arc<dyn Store> {
    Arc::new(Table {
        store,
        decide,
        change,
    })
}

/// Says that an event is stored, and stores it some other time.
struct AnswerBeforeStoring;

impl Wiring for AnswerBeforeStoring {
    fn receiver(
        &self,
        mut outside: portwarden_receiver::context::Outside,
    ) -> portwarden_receiver::context::Outside {
        outside.store = table(outside.store, Box::new(|_| Some(Ok(()))), |error| error);
        outside
    }
}

#[test]
fn an_answer_before_storing_is_caught() {
    caught(
        AnswerBeforeStoring,
        Invariant::AcceptedMeansKept,
        "it is not stored",
    );
}

/// Takes every event that is stored already for one whose work was taken up.
struct TrustTheFirstDelivery;

impl Wiring for TrustTheFirstDelivery {
    fn receiver(
        &self,
        mut outside: portwarden_receiver::context::Outside,
    ) -> portwarden_receiver::context::Outside {
        outside.store = table(outside.store, Box::new(|_| None), |error| match error {
            WriteError::Conflict(Conflict {
                index,
                existing: Some(mut existing),
            }) => {
                Arc::make_mut(&mut existing.body)["settled"] = json!(true);
                let existing = Some(existing);
                WriteError::Conflict(Conflict { index, existing })
            }
            other => other,
        });
        outside
    }
}

#[test]
fn a_duplicate_answered_without_its_work_queued_is_caught() {
    caught(
        TrustTheFirstDelivery,
        Invariant::AcceptedMeansKept,
        "its work is neither queued nor taken up",
    );
}

/// Knows events by their ids alone, whosever they are.
#[derive(Default)]
struct OneListOfEvents(Arc<Mutex<BTreeMap<String, Stored>>>);

impl Wiring for OneListOfEvents {
    fn receiver(
        &self,
        mut outside: portwarden_receiver::context::Outside,
    ) -> portwarden_receiver::context::Outside {
        let events = Arc::clone(&self.0);
        let decide = move |write: &Write| {
            let Write::Put {
                key,
                body,
                condition: Condition::Absent,
                ..
            } = write
            else {
                return None;
            };
            let id = key.partition().as_str().rsplit('#').next()?.to_owned();
            let mut events = events.lock().unwrap();
            if let Some(existing) = events.get(&id).filter(|existing| existing.key != *key) {
                let existing = Some(existing.clone());
                let index = Some(0);
                return Some(Err(WriteError::Conflict(Conflict { index, existing })));
            }
            let revision = portwarden_core::store::Revision(1);
            let stored = Stored {
                key: key.clone(),
                revision,
                body: body.clone(),
            };
            events.insert(id, stored);
            None
        };
        outside.store = table(outside.store, Box::new(decide), |error| error);
        outside
    }
}

#[test]
fn events_deduplicated_across_tenants_are_caught() {
    caught(
        OneListOfEvents::default(),
        Invariant::AcceptedMeansKept,
        "it is not stored",
    );
}

/// Keeps sessions by the role's ARN only.
#[derive(Default, Clone)]
struct SessionsByRole(Arc<Mutex<BTreeMap<String, Session>>>);

struct ByRole(Arc<dyn AssumeRole>, SessionsByRole);

#[async_trait]
impl AssumeRole for ByRole {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        let kept = self.1.0.lock().unwrap().get(role.role().as_str()).cloned();
        if let Some(session) = kept {
            return Ok(session);
        }
        let session = self.0.assume_role(role, purpose, name).await?;
        let arn = role.role().to_string();
        self.1.0.lock().unwrap().insert(arn, session.clone());
        Ok(session)
    }
}

impl Wiring for SessionsByRole {
    fn scanner(&self, mut outside: portwarden_scanner::Outside) -> portwarden_scanner::Outside {
        outside.roles = Arc::new(ByRole(outside.roles, self.clone()));
        outside
    }
}

#[test]
fn a_session_cached_by_role_only_is_caught() {
    caught(
        SessionsByRole::default(),
        Invariant::SessionsScopedDown,
        "in a session of another",
    );
}

/// Believes what a DELETE event says, and does not ask ECR.
#[derive(Default, Clone)]
struct BelieveDeletes(Arc<Mutex<BTreeSet<String>>>);

struct Believing(Arc<dyn DescribeImage>, BelieveDeletes);

#[async_trait]
impl DescribeImage for Believing {
    async fn describe_image(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<EcrImage>, EcrError> {
        if self.1.0.lock().unwrap().contains(&digest.to_string()) {
            return Ok(None);
        }
        self.0.describe_image(session, registry, repository, digest).await
    }

    async fn login(&self, session: &Session, registry: &RegistryId) -> Result<RegistryLogin, EcrError> {
        self.0.login(session, registry).await
    }
}

impl Wiring for BelieveDeletes {
    fn receiver(
        &self,
        mut outside: portwarden_receiver::context::Outside,
    ) -> portwarden_receiver::context::Outside {
        let deleted = Arc::clone(&self.0);
        let decide = move |write: &Write| {
            if let Write::Put { body, .. } = write
                && body["kind"] == "image_deleted"
            {
                let digest = body["digest"].as_str().unwrap().to_owned();
                deleted.lock().unwrap().insert(digest);
            }
            None
        };
        outside.store = table(outside.store, Box::new(decide), |error| error);
        outside
    }

    fn scanner(&self, mut outside: portwarden_scanner::Outside) -> portwarden_scanner::Outside {
        outside.ecr = Arc::new(Believing(outside.ecr, self.clone()));
        outside
    }
}

#[test]
fn an_image_deleted_on_an_event_alone_is_caught() {
    caught(
        BelieveDeletes::default(),
        Invariant::OneEffect,
        "ECR never said so",
    );
}

/// Takes a throttled probe for a refusal.
struct ThrottledIsRefused;

struct Impatient(Arc<dyn ProbeRole>);

#[async_trait]
impl ProbeRole for Impatient {
    async fn probe_role(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        region: &Region,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        match self.0.probe_role(role, external_id, region, name).await {
            Err(AssumeError::Throttled) => Err(AssumeError::NotAllowed("throttled".into())),
            other => other,
        }
    }

    async fn probe_canary(&self, region: &Region, name: &SessionName) -> Result<Session, AssumeError> {
        self.0.probe_canary(region, name).await
    }
}

impl Wiring for ThrottledIsRefused {
    fn verifier(
        &self,
        mut context: portwarden_verifier::context::Context,
    ) -> portwarden_verifier::context::Context {
        context.roles = Arc::new(Impatient(context.roles));
        context
    }
}

#[test]
fn a_throttled_probe_counted_as_passed_is_caught() {
    caught(
        ThrottledIsRefused,
        Invariant::TrustedOnlyIfItRefuses,
        "passed, and STS told",
    );
}

/// Answers bad credentials as HTTP has it.
struct Unauthorized;

impl Wiring for Unauthorized {
    fn answer(&self, mut answer: Value) -> Value {
        if answer["statusCode"] == 429 {
            answer["statusCode"] = json!(401);
        }
        answer
    }
}

#[test]
fn a_401_sent_to_eventbridge_is_caught() {
    caught(
        Unauthorized,
        Invariant::AnswersOfTheTable,
        "was answered with 401",
    );
}

/// Takes the first page of a listing for the whole.
struct FirstPage(Arc<dyn ListRegistry>);

#[async_trait]
impl ListRegistry for FirstPage {
    async fn list_repositories(
        &self,
        session: &Session,
        registry: &RegistryId,
        next: Option<&PageToken>,
    ) -> Result<Listing<RepositoryName>, EcrError> {
        self.0.list_repositories(session, registry, next).await
    }

    async fn list_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        next: Option<&PageToken>,
    ) -> Result<Option<Listing<(Digest, EcrImage)>>, EcrError> {
        let listed = self.0.list_images(session, registry, repository, next).await?;
        Ok(listed.map(|listing| Listing {
            next: None,
            ..listing
        }))
    }
}

/// Sweeps that never come to a second page.
struct ShortSweeps;

impl Wiring for ShortSweeps {
    fn reconciler(&self, mut outside: Reconciler) -> Reconciler {
        outside.ecr = Arc::new(FirstPage(outside.ecr));
        outside
    }
}

#[test]
fn a_sweep_that_stops_after_the_first_page_is_caught() {
    let mut settings = settings(1);
    settings.faults.unsent = 100;
    let violation = run(&settings, Arc::new(ShortSweeps)).expect_err("the bug is caught");
    assert_eq!(violation.invariant, Invariant::OneEffect, "{violation}");
}

/// Notes as deleted what a listing does not hold, without asking ECR for it.
struct Hasty {
    images: Images,
    scans: Arc<dyn QueueScan>,
    clock: Arc<dyn portwarden_core::clock::Clock>,
}

#[async_trait]
impl QueueScan for Hasty {
    async fn queue_scan(&self, request: &ScanRequest) -> Result<(), QueueError> {
        let scope = request.scope();
        let known = self.images.locations(&scope, &request.digest).await;
        let known = known.map_err(|error| QueueError(error.into()))?.into_iter();
        let here = |location: &portwarden_core::image::Location| {
            location.region == request.region && location.repository == request.repository
        };
        let Some(location) = known
            .filter(here)
            .find(portwarden_core::image::Location::is_present)
        else {
            return self.scans.queue_scan(request).await;
        };
        assert_ne!(request.known_by, KnownBy::Event);
        let gone = portwarden_core::image::Location {
            presence: Presence::Deleted,
            observed_at: self.clock.now(),
            ..location
        };
        let noted = self.images.observe(&scope, &request.digest, &gone).await;
        noted.map_err(|error| QueueError(error.into()))
    }
}

/// Sweeps that take what is on a later page for deleted.
struct HastySweeps;

impl Wiring for HastySweeps {
    fn reconciler(&self, outside: Reconciler) -> Reconciler {
        let hasty = Hasty {
            images: Images::new(outside.store.clone()),
            scans: outside.scans.clone(),
            clock: outside.clock.clone(),
        };
        Reconciler {
            scans: Arc::new(hasty),
            ecr: Arc::new(FirstPage(outside.ecr.clone())),
            ..outside
        }
    }
}

#[test]
fn a_sweep_that_deletes_what_is_on_a_later_page_is_caught() {
    caught(HastySweeps, Invariant::OneEffect, "is noted as \"deleted\"");
}

/// A table that forgets that a webhook took something.
struct ForgetsWhatWasTaken(Arc<dyn Store>);

#[async_trait]
impl Store for ForgetsWhatWasTaken {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.0.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.0.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let is_taken = |write: &Write| {
            matches!(write, Write::Put { key, body, .. }
                if key.partition().as_str().contains("#deliveries#") && body["state"]["state"] == "delivered")
        };
        if writes.iter().any(is_taken) {
            return Ok(());
        }
        self.0.write(writes).await
    }
}

struct ForgetDeliveries;

impl Wiring for ForgetDeliveries {
    fn notifier(&self, mut outside: portwarden_notifier::Outside) -> portwarden_notifier::Outside {
        outside.store = Arc::new(ForgetsWhatWasTaken(outside.store));
        outside
    }
}

#[test]
fn a_webhook_that_is_told_again_is_caught() {
    caught(
        ForgetDeliveries,
        Invariant::ToldOnce,
        "is sent again after it was taken",
    );
}

/// Says that a message for the notifier is queued, and drops every third.
struct Drops(Arc<dyn QueueNotify>, AtomicUsize);

#[async_trait]
impl QueueNotify for Drops {
    async fn queue_notify(&self, request: &NotifyRequest, delay: Option<Duration>) -> Result<(), QueueError> {
        if self.1.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
            return Ok(());
        }
        self.0.queue_notify(request, delay).await
    }
}

struct DropNews;

impl Wiring for DropNews {
    fn scanner(&self, mut outside: portwarden_scanner::Outside) -> portwarden_scanner::Outside {
        outside.notifies = Arc::new(Drops(outside.notifies, AtomicUsize::new(0)));
        outside
    }
}

#[test]
fn a_change_that_is_noted_and_not_queued_is_caught() {
    caught(DropNews, Invariant::ToldOnce, "was never announced");
}
