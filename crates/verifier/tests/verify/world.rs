//! A world in memory: an STS with one role, a registry, a table and a bus.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_core::{
    announce::{Announcement, MemoryBus},
    arn::{RoleArn, SecretArn},
    clock::ManualClock,
    ecr::{EcrError, ProbeEcr, RegistryId},
    endpoint::{Password, Username},
    id::{ExternalId, IntegrationId, Region, RequestId, TenantId},
    integration::{Connection, Directory, Integrations, Light, NewRegion, Trust},
    object::MemoryObjects,
    purge::Purge,
    random::OsRandomness,
    receipt::{AccessReceipts, CallCounter},
    reconcile::Inventories,
    scope::{OperatorScope, TenantScope},
    session::{AssumeError, AssumeRole, ProbeRole, Purpose, Session, SessionName, TrustedRole},
    store::MemoryStore,
    tenant_account::{ReadError, ReadSecret, ReadTrustPolicy},
    trace::TraceId,
    verdict::{Check, Outcome, Verdict},
    work::{MemoryQueues, VerifyReason, VerifyRequest},
};
use portwarden_matching::Index;
use portwarden_oci::{Digest, RepositoryName};
use portwarden_verifier::{
    context::Context,
    handler::{Verified, verify},
    probe::PATIENCE,
};
use secrecy::SecretString;
use serde_json::json;

pub(crate) const CONNECTOR: &str = "arn:aws:iam::999988887777:role/portwarden-connector";
pub(crate) const SECRET: &str = r#"{"username":"portwarden","password":"made-by-the-stack-0123456789"}"#;
pub(crate) const ROLE: &str = "arn:aws:iam::111122223333:role/portwarden-Role";

/// How a role's trust policy treats the ExternalId; the right one is given.
pub(crate) type Trusts = fn(right: &str, given: Option<&str>) -> bool;

pub(crate) fn refuse() -> AssumeError {
    AssumeError::NotAllowed("AccessDenied".into())
}

pub(crate) struct World {
    pub(crate) right: Mutex<String>,
    pub(crate) trusts: Trusts,
    pub(crate) canary_opens: bool,
    /// Answers of STS to come before the policies are asked.
    pub(crate) failures: Mutex<Vec<Option<AssumeError>>>,
    pub(crate) session_account: &'static str,
    pub(crate) denied: BTreeSet<&'static str>,
    /// What ECR answers to an action, if it is something else than a plain denial.
    pub(crate) ecr_answers: BTreeMap<&'static str, fn() -> EcrError>,
    /// What the role's trust policy says, if it is not what it should.
    pub(crate) policy: Option<String>,
    /// What the stack's secret holds.
    pub(crate) secret: &'static str,
    /// The manifest of each image.
    pub(crate) manifest: Vec<u8>,
    /// Which layers ECR was asked about.
    pub(crate) layers: Mutex<Vec<Digest>>,
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) clock: ManualClock,
}

impl World {
    pub(crate) fn new(trusts: Trusts) -> Self {
        Self {
            right: Mutex::default(),
            trusts,
            canary_opens: true,
            failures: Mutex::default(),
            session_account: "111122223333",
            denied: BTreeSet::new(),
            ecr_answers: BTreeMap::new(),
            policy: None,
            secret: SECRET,
            manifest: b"garbage".to_vec(),
            layers: Mutex::default(),
            calls: Mutex::default(),
            clock: ManualClock::at(Timestamp::UNIX_EPOCH),
        }
    }

    pub(crate) fn answer(&self, call: String, opens: bool) -> Result<Session, AssumeError> {
        self.calls.lock().unwrap().push(call);
        let mut failures = self.failures.lock().unwrap();
        if !failures.is_empty()
            && let Some(failure) = failures.remove(0)
        {
            return Err(failure);
        }
        if !opens {
            return Err(refuse());
        }
        Ok(Session {
            access_key_id: "ASIA".to_owned(),
            secret_access_key: "secret".to_owned().into(),
            session_token: "token".to_owned().into(),
            expires_at: Timestamp::MAX,
            account: self.session_account.parse().unwrap(),
        })
    }

    pub(crate) fn ecr<T>(&self, action: &'static str, value: T) -> Result<T, EcrError> {
        self.calls.lock().unwrap().push(action.to_owned());
        if let Some(answer) = self.ecr_answers.get(action) {
            return Err(answer());
        }
        if self.denied.contains(action) {
            return Err(EcrError::Denied {
                action,
                source: "AccessDenied".into(),
            });
        }
        Ok(value)
    }
}

#[async_trait]
impl ProbeRole for World {
    async fn probe_role(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        _: &Region,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        assert!(name.as_str().starts_with("verify-"), "{name:?}");
        let right = self.right.lock().unwrap().clone();
        let kind = match external_id {
            None => "without",
            Some(given) if given == right => "right",
            Some(_) => "wrong",
        };
        self.answer(format!("{kind} {role}"), (self.trusts)(&right, external_id))
    }

    async fn probe_canary(&self, _: &Region, _: &SessionName) -> Result<Session, AssumeError> {
        self.answer("canary".to_owned(), self.canary_opens)
    }
}

#[async_trait]
impl ReadTrustPolicy for World {
    async fn read_trust_policy(&self, _: &Session, _: &RoleArn, _: &Region) -> Result<String, ReadError> {
        self.calls.lock().unwrap().push("iam:GetRole".to_owned());
        if self.denied.contains("iam:GetRole") {
            return Err(ReadError::Denied("AccessDenied".into()));
        }
        let right = self.right.lock().unwrap().clone();
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": CONNECTOR}, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": right}},
        }]});
        Ok(self.policy.clone().unwrap_or_else(|| policy.to_string()))
    }
}

#[async_trait]
impl AssumeRole for World {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        assert_eq!(role.external_id().as_str(), *self.right.lock().unwrap());
        assert!(name.as_str().starts_with("verify-credentials-"), "{name:?}");
        assert!(matches!(purpose, Purpose::Credentials(_)), "{purpose:?}");
        self.answer("credentials".to_owned(), true)
    }
}

#[async_trait]
impl ReadSecret for World {
    async fn read_secret(&self, _: &Session, _: &SecretArn, _: &Region) -> Result<SecretString, ReadError> {
        self.calls
            .lock()
            .unwrap()
            .push("secretsmanager:GetSecretValue".to_owned());
        if self.denied.contains("secretsmanager:GetSecretValue") {
            return Err(ReadError::Denied("AccessDenied".into()));
        }
        Ok(self.secret.to_owned().into())
    }
}

#[async_trait]
impl ProbeEcr for World {
    async fn describe_repositories(
        &self,
        _: &Session,
        _: &RegistryId,
    ) -> Result<Vec<RepositoryName>, EcrError> {
        self.ecr("ecr:DescribeRepositories", vec!["shop/web".parse().unwrap()])
    }

    async fn describe_images(
        &self,
        _: &Session,
        _: &RegistryId,
        repository: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        self.ecr(
            "ecr:DescribeImages",
            vec![Digest::of(repository.as_str().as_bytes())],
        )
    }

    async fn list_images(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        self.ecr("ecr:ListImages", Vec::new())
    }

    async fn batch_get_image(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
        _: &Digest,
    ) -> Result<Option<Vec<u8>>, EcrError> {
        self.ecr("ecr:BatchGetImage", Some(self.manifest.clone()))
    }

    async fn get_download_url_for_layer(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
        layer: &Digest,
    ) -> Result<(), EcrError> {
        self.layers.lock().unwrap().push(*layer);
        self.ecr("ecr:GetDownloadUrlForLayer", ())
    }

    async fn batch_check_layer_availability(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
        layer: &Digest,
    ) -> Result<(), EcrError> {
        self.layers.lock().unwrap().push(*layer);
        self.ecr("ecr:BatchCheckLayerAvailability", ())
    }

    async fn get_authorization_token(&self, _: &Session, _: &RegistryId) -> Result<(), EcrError> {
        self.ecr("ecr:GetAuthorizationToken", ())
    }
}

/// The table and the bus, with one or more integrations in them.
pub(crate) struct Bench {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) bus: Arc<MemoryBus>,
    pub(crate) queues: Arc<MemoryQueues>,
}

pub(crate) struct Party {
    pub(crate) scope: TenantScope,
    pub(crate) integration: IntegrationId,
    pub(crate) external_id: ExternalId,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::default(),
            bus: Arc::default(),
            queues: Arc::default(),
        }
    }

    pub(crate) fn integrations(&self) -> Integrations {
        Integrations::new(self.store.clone())
    }

    /// Makes an integration whose credentials are chosen.
    pub(crate) async fn party(&self) -> Party {
        self.make(NewRegion::Classic {
            region: region(),
            username: Username::parse("events").unwrap(),
            password: Password::generate(&OsRandomness),
        })
        .await
    }

    /// Makes an integration whose stack makes its credentials.
    pub(crate) async fn quick_party(&self) -> Party {
        self.make(NewRegion::Quick { region: region() }).await
    }

    async fn make(&self, region: NewRegion) -> Party {
        let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
        let now = Timestamp::UNIX_EPOCH;
        let made = self
            .integrations()
            .create(&scope, "n", &[region], now, &OsRandomness)
            .await
            .unwrap();
        let Connection { integration, .. } = made;
        Party {
            scope,
            integration: integration.id,
            external_id: integration.external_id,
        }
    }

    pub(crate) async fn verify(&self, world: &Arc<World>, party: &Party, role: &str) -> Verified {
        let role = Some(role.parse().unwrap());
        self.run(
            world,
            party,
            VerifyRequest {
                role,
                ..party.request(VerifyReason::Asked)
            },
        )
        .await
    }

    /// Takes what was told: the numbers of the changes, and what the status became.
    pub(crate) fn told(&self) -> Vec<(u64, Light, Option<String>)> {
        let told = self.bus.take().into_iter().map(|told| match told {
            Announcement::ConnectionChanged(changed) => (changed.number, changed.status, changed.code),
            other => panic!("not ours to say: {other:?}"),
        });
        told.collect()
    }

    pub(crate) fn context(&self, world: &Arc<World>) -> Context {
        Context {
            integrations: self.integrations(),
            directory: Directory::new(self.store.clone()),
            roles: world.clone(),
            ecr: world.clone(),
            policies: world.clone(),
            sessions: world.clone(),
            receipts: AccessReceipts::new(self.store.clone()),
            calls: Arc::new(CallCounter::default()),
            purge: {
                let objects = Arc::new(MemoryObjects::default());
                let index = Index::new(self.store.clone(), objects.clone());
                Purge::new(self.store.clone(), objects, Arc::new(index))
            },
            secrets: world.clone(),
            again: self.queues.clone(),
            inventories: Inventories::new(self.store.clone()),
            comparisons: self.queues.clone(),
            bus: self.bus.clone(),
            clock: Arc::new(world.clock.clone()),
            randomness: Arc::new(OsRandomness),
            connector: CONNECTOR.parse().unwrap(),
            patience: PATIENCE.to_vec(),
        }
    }

    pub(crate) async fn run(&self, world: &Arc<World>, party: &Party, request: VerifyRequest) -> Verified {
        *world.right.lock().unwrap() = party.external_id.to_string();
        verify(&self.context(world), &request).await.unwrap()
    }

    pub(crate) async fn verdict(&self, world: &Arc<World>, party: &Party) -> Verdict {
        match self.verify(world, party, ROLE).await {
            Verified::Tested { verdict, .. } => verdict,
            other @ Verified::Dropped { .. } => panic!("{other:?}"),
        }
    }

    pub(crate) async fn trust(&self, party: &Party) -> Trust {
        let connection = self
            .integrations()
            .find(&party.scope, &party.integration)
            .await
            .unwrap()
            .unwrap();
        connection.regions[&region()].trust.clone()
    }
}

impl Party {
    pub(crate) fn request(&self, reason: VerifyReason) -> VerifyRequest {
        VerifyRequest {
            tenant: self.scope.tenant().clone(),
            integration: self.integration.clone(),
            region: region(),
            role: None,
            claim: None,
            said_at: None,
            reason,
            request: RequestId::generate(&OsRandomness),
            trace: TraceId::generate(Timestamp::UNIX_EPOCH, &OsRandomness),
            attempt: 0,
        }
    }
}

pub(crate) fn region() -> Region {
    "us-east-1".parse().unwrap()
}

pub(crate) fn code(verdict: &Verdict, check: Check) -> Option<&str> {
    match verdict.outcome(check)? {
        Outcome::Failed(problem) | Outcome::Unknown(problem) => Some(&problem.code),
        Outcome::Passed | Outcome::Skipped { .. } => None,
    }
}

pub(crate) const GOOD: Trusts = |right, given| given == Some(right);
