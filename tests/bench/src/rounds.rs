//! A day of the verifier's rounds over many integrations: how often STS is asked, and how much of each round it takes.
//!
//! The verifier is the real one; the table and the clock are in memory, and a call to STS takes as long as one does in a
//! region of AWS. Nothing here depends on how fast the machine is.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portwarden_aws::Metrics;
use portwarden_core::{
    announce::MemoryBus,
    arn::{RoleArn, SecretArn},
    clock::{Clock as _, ManualClock},
    ecr::{EcrError, ProbeEcr, RegistryId},
    id::{AccountId, ExternalId, Region, RequestId, TenantId},
    integration::{Directory, Integrations, NewRegion, Slot},
    object::MemoryObjects,
    purge::Purge,
    random::OsRandomness,
    receipt::AccessReceipts,
    reconcile::Inventories,
    scope::OperatorScope,
    session::{AssumeError, AssumeRole, ProbeRole, Purpose, Session, SessionName, TrustedRole},
    store::MemoryStore,
    tenant_account::{ReadError, ReadSecret, ReadTrustPolicy},
    trace::TraceId,
    work::{MemoryQueues, VerifyReason, VerifyRequest},
};
use portwarden_matching::Index;
use portwarden_oci::{Digest, RepositoryName};
use portwarden_verifier::{context::Context, handler::verify, round::go_round};
use secrecy::SecretString;
use serde_json::json;

use crate::{
    Failure,
    sheet::{Sheet, Table, Unit},
};

/// How many integrations there are.
const POPULATIONS: [usize; 3] = [100, 1_000, 10_000];

/// How many calls to STS a second may have.
const CALLS_A_SECOND: f64 = 5.0;

/// How long a call to STS takes.
const LATENCY: Duration = Duration::from_millis(40);

/// How long the connector's own session lasts: role chaining allows no longer one.
const CONNECTOR_LASTS: SignedDuration = SignedDuration::from_hours(1);

const DAY: SignedDuration = SignedDuration::from_hours(24);

const CONNECTOR: &str = "arn:aws:iam::999988887777:role/portwarden-connector";

pub(crate) async fn measure() -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new("rounds");
    let columns = [
        ("tested", Unit::Count),
        ("calls to STS", Unit::Count),
        ("most in a second", Unit::Count),
        ("longest round", Unit::Milliseconds),
    ];
    let mut table = Table::new("a simulated day of rounds", &columns);
    for count in POPULATIONS {
        let day = Day::of(count).await?;
        let [tested, calls, busiest] = [day.tested, day.calls, day.busiest].map(figure);
        table.row(
            format!("{count} integrations"),
            [
                Some(tested),
                Some(calls),
                Some(busiest),
                Some(day.longest.as_secs_f64() * 1000.0),
            ],
        );
        if count == 10_000 {
            sheet.aim(
                "calls to STS in the busiest second, 10,000 integrations",
                busiest,
                CALLS_A_SECOND,
                Unit::Count,
            );
            let left_out = figure(count - day.tested);
            sheet.aim(
                "integrations of 10,000 that a day leaves out",
                left_out,
                0.0,
                Unit::Count,
            );
        }
    }
    sheet.add(table);
    Ok(sheet)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn figure(count: usize) -> f64 {
    count as f64
}

/// What a day of rounds took.
struct Day {
    tested: usize,
    calls: usize,
    busiest: usize,
    longest: SignedDuration,
}

impl Day {
    async fn of(count: usize) -> Result<Self, Failure> {
        let town = Arc::new(Town::new());
        let store = Arc::new(MemoryStore::default());
        let context = context(&town, &store)?;
        let region: Region = "eu-central-1".parse()?;
        for number in 0..count {
            let tenant = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
            let new = [NewRegion::Quick {
                region: region.clone(),
            }];
            let made = context
                .integrations
                .create(&tenant, "n", &new, town.clock.now(), &OsRandomness)
                .await?
                .integration;
            let role: RoleArn =
                format!("arn:aws:iam::{:012}:role/portwarden", 100_000_000_000 + number).parse()?;
            town.ids().insert(role.to_string(), made.external_id);
            let request = VerifyRequest {
                tenant: made.tenant,
                integration: made.id,
                region: region.clone(),
                role: Some(role),
                claim: None,
                said_at: None,
                reason: VerifyReason::Asked,
                request: RequestId::generate(&OsRandomness),
                trace: TraceId::generate(town.clock.now(), &OsRandomness),
                attempt: 0,
            };
            verify(&context, &request).await?;
        }
        // Longer than what counts as tested just now.
        town.clock.advance(Duration::from_hours(2));
        town.asked().clear();
        let longest = go_round_for_a_day(&context, &town.clock).await?;
        let asked = town.asked();
        let at: Vec<Timestamp> = asked.iter().map(|(at, _)| *at).collect();
        let tested: BTreeSet<&str> = asked.iter().filter_map(|(_, role)| role.as_deref()).collect();
        Ok(Self {
            tested: tested.len(),
            calls: asked.len(),
            busiest: most_in_a_second(&at),
            longest,
        })
    }
}

/// Makes the rounds of a day, and returns how long the longest of them took.
async fn go_round_for_a_day(context: &Context, clock: &ManualClock) -> Result<SignedDuration, Failure> {
    let metrics = Metrics::written_by(context.clock.clone(), |_| {});
    let mut longest = SignedDuration::ZERO;
    for _ in 0..DAY.as_secs() / Slot::LENGTH.as_secs() {
        let began = clock.now();
        let next = began + Slot::LENGTH;
        let rounded = go_round(context, &metrics, next).await?;
        if !rounded.is_some_and(|rounded| rounded.finished) {
            return Err("a round was not finished in its time".into());
        }
        longest = longest.max(clock.now().duration_since(began));
        clock.advance(Duration::try_from(next.duration_since(clock.now()))?);
    }
    Ok(longest)
}

/// Counts the most calls that any second has, wherever it begins.
fn most_in_a_second(at: &[Timestamp]) -> usize {
    let second = SignedDuration::from_secs(1);
    let from = |first: usize| at[first..].partition_point(|call| *call < at[first] + second);
    (0..at.len()).map(from).max().unwrap_or_default()
}

/// An STS and an IAM with a role for each integration, which trusts its ExternalId and nothing else.
struct Town {
    clock: ManualClock,
    ids: Mutex<HashMap<String, ExternalId>>,
    /// When STS was asked, and which role opened.
    asked: Mutex<Vec<(Timestamp, Option<String>)>>,
    connector_until: Mutex<Timestamp>,
}

impl Town {
    fn new() -> Self {
        Self {
            clock: ManualClock::at(Timestamp::UNIX_EPOCH),
            ids: Mutex::default(),
            asked: Mutex::default(),
            connector_until: Mutex::new(Timestamp::UNIX_EPOCH),
        }
    }

    fn ids(&self) -> std::sync::MutexGuard<'_, HashMap<String, ExternalId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<(Timestamp, Option<String>)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call to STS, and before it one for the connector's own session if that has ended.
    fn ask(&self, role: Option<&RoleArn>, opens: bool) -> Result<Session, AssumeError> {
        let mut until = self
            .connector_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *until <= self.clock.now() {
            self.asked().push((self.clock.now(), None));
            self.clock.advance(LATENCY);
            *until = self.clock.now() + CONNECTOR_LASTS;
        }
        let opened = role.filter(|_| opens).map(ToString::to_string);
        self.asked().push((self.clock.now(), opened));
        self.clock.advance(LATENCY);
        if !opens {
            return Err(AssumeError::NotAllowed("AccessDenied".into()));
        }
        let account = role.map_or("999988887777", |role| role.account().as_str());
        Ok(Session {
            access_key_id: "ASIA".to_owned(),
            secret_access_key: "secret".to_owned().into(),
            session_token: "token".to_owned().into(),
            expires_at: Timestamp::MAX,
            account: account
                .parse::<AccountId>()
                .map_err(|error| AssumeError::Unreachable(error.into()))?,
        })
    }
}

#[async_trait]
impl ProbeRole for Town {
    async fn probe_role(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        _: &Region,
        _: &SessionName,
    ) -> Result<Session, AssumeError> {
        let right = self.ids().get(role.as_str()).map(ToString::to_string);
        self.ask(Some(role), right.is_some() && right.as_deref() == external_id)
    }

    async fn probe_canary(&self, _: &Region, _: &SessionName) -> Result<Session, AssumeError> {
        self.ask(None, true)
    }
}

#[async_trait]
impl AssumeRole for Town {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        _: Purpose,
        _: &SessionName,
    ) -> Result<Session, AssumeError> {
        self.ask(Some(role.role()), true)
    }
}

#[async_trait]
impl ReadTrustPolicy for Town {
    async fn read_trust_policy(&self, _: &Session, role: &RoleArn, _: &Region) -> Result<String, ReadError> {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": CONNECTOR}, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": self.ids().get(role.as_str())}},
        }]});
        Ok(policy.to_string())
    }
}

#[async_trait]
impl ReadSecret for Town {
    async fn read_secret(&self, _: &Session, _: &SecretArn, _: &Region) -> Result<SecretString, ReadError> {
        Err(ReadError::Missing("no stack has one here".into()))
    }
}

/// A registry without anything in it.
#[async_trait]
impl ProbeEcr for Town {
    async fn describe_repositories(
        &self,
        _: &Session,
        _: &RegistryId,
    ) -> Result<Vec<RepositoryName>, EcrError> {
        Ok(Vec::new())
    }

    async fn describe_images(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        Ok(Vec::new())
    }

    async fn list_images(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        Ok(Vec::new())
    }

    async fn batch_get_image(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
        _: &Digest,
    ) -> Result<Option<Vec<u8>>, EcrError> {
        Ok(None)
    }

    async fn get_download_url_for_layer(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
        _: &Digest,
    ) -> Result<(), EcrError> {
        Ok(())
    }

    async fn batch_check_layer_availability(
        &self,
        _: &Session,
        _: &RegistryId,
        _: &RepositoryName,
        _: &Digest,
    ) -> Result<(), EcrError> {
        Ok(())
    }

    async fn get_authorization_token(&self, _: &Session, _: &RegistryId) -> Result<(), EcrError> {
        Ok(())
    }
}

fn context(town: &Arc<Town>, store: &Arc<MemoryStore>) -> Result<Context, Failure> {
    let queues = Arc::new(MemoryQueues::default());
    let objects = Arc::new(MemoryObjects::default());
    let index = Arc::new(Index::new(store.clone(), objects.clone()));
    Ok(Context {
        integrations: Integrations::new(store.clone()),
        directory: Directory::new(store.clone()),
        inventories: Inventories::new(store.clone()),
        comparisons: queues.clone(),
        roles: town.clone(),
        policies: town.clone(),
        sessions: town.clone(),
        receipts: AccessReceipts::new(store.clone()),
        calls: Arc::default(),
        purge: Purge::new(store.clone(), objects, index),
        secrets: town.clone(),
        again: queues,
        ecr: town.clone(),
        bus: Arc::new(MemoryBus::default()),
        clock: Arc::new(town.clock.clone()),
        randomness: Arc::new(OsRandomness),
        connector: CONNECTOR.parse()?,
        patience: Vec::new(),
    })
}
