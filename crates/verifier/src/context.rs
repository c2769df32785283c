//! What the handler works with, built once when the function starts.

use std::{sync::Arc, time::Duration};

use portwarden_aws::{
    Aws, AwsSettings, Bucket, Connector, DynamoStore, Ecr, EventBus, Iam, InventoryQueue, RoleProber,
    SecretsManager, Settings, SettingsError, SystemClock, TenantSessions, VerifyQueue,
};
use portwarden_core::{
    announce::Announce,
    arn::RoleArn,
    clock::Clock,
    ecr::ProbeEcr,
    endpoint::CredentialChecker,
    integration::{Directory, Integrations},
    purge::Purge,
    random::{OsRandomness, Randomness},
    receipt::{AccessReceipts, CallCounter},
    reconcile::Inventories,
    session::{AssumeRole, ProbeRole},
    store::Store,
    tenant_account::{ReadSecret, ReadTrustPolicy},
    work::{QueueInventory, QueueVerifyLater},
};
use portwarden_matching::Index;

use crate::probe::PATIENCE;

/// The rights of the verifier.
#[derive(Clone)]
pub struct Context {
    /// Reads connections and stores verdicts.
    pub integrations: Integrations,
    /// Tells whether a role is free.
    pub directory: Directory,
    /// Tells whether a region was ever compared with ECR.
    pub inventories: Inventories,
    /// The reconciler's queue, for regions whose role is proven.
    pub comparisons: Arc<dyn QueueInventory>,
    /// Tries to assume roles; no other function has this.
    pub roles: Arc<dyn ProbeRole>,
    /// Reads what a role's own trust policy says.
    pub policies: Arc<dyn ReadTrustPolicy>,
    /// Opens proven roles, to read the secrets of their stacks.
    pub sessions: Arc<dyn AssumeRole>,
    /// Writes down each session.
    pub receipts: AccessReceipts,
    /// Counts the calls that are made with sessions.
    pub calls: Arc<CallCounter>,
    /// Deletes what is known of removed integrations.
    pub purge: Purge,
    /// Reads the secrets of stacks.
    pub secrets: Arc<dyn ReadSecret>,
    /// Our own queue, for what could not be found out.
    pub again: Arc<dyn QueueVerifyLater>,
    /// Tries what a session may do.
    pub ecr: Arc<dyn ProbeEcr>,
    /// Tells when a connection changed.
    pub bus: Arc<dyn Announce>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
    /// Our connector role, which tenants' roles trust.
    pub connector: RoleArn,
    /// How long to wait between attempts to open a role that may be new.
    pub patience: Vec<Duration>,
}

/// What the function is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierSettings {
    aws: AwsSettings,
    table: String,
    bucket: String,
    bus: String,
    queue: String,
    inventory_queue: String,
    connector: RoleArn,
    canary: RoleArn,
}

impl VerifierSettings {
    /// Reads the settings, or says everything that is wrong with them.
    pub fn read(mut settings: Settings) -> Result<Self, SettingsError> {
        let aws = AwsSettings::read(&mut settings);
        let table = settings.required("TABLE_NAME");
        let bucket = settings.required("REPORT_BUCKET");
        let bus = settings.required("EVENT_BUS_NAME");
        let queue = settings.required("VERIFY_QUEUE_URL");
        let inventory_queue = settings.required("INVENTORY_QUEUE_URL");
        let connector = settings.required("CONNECTOR_ROLE_ARN");
        let canary = settings.required("CANARY_ROLE_ARN");
        settings.finish(|| {
            Some(Self {
                aws: aws?,
                table: table?,
                bucket: bucket?,
                bus: bus?,
                queue: queue?,
                inventory_queue: inventory_queue?,
                connector: connector?,
                canary: canary?,
            })
        })
    }
}

impl Context {
    /// Connects to AWS.
    pub fn connect(settings: VerifierSettings) -> Self {
        let aws = Aws::of_function(&settings.aws);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store: Arc<dyn Store> = Arc::new(DynamoStore::new(&aws, settings.table));
        let bucket = Arc::new(Bucket::new(&aws, settings.bucket));
        let connector = Arc::new(Connector::new(&aws, settings.connector.clone(), clock.clone()));
        Self {
            integrations: Integrations::new(store.clone())
                .remembering(Arc::new(CredentialChecker::new(&OsRandomness))),
            directory: Directory::new(store.clone()),
            inventories: Inventories::new(store.clone()),
            comparisons: Arc::new(InventoryQueue::new(&aws, settings.inventory_queue)),
            roles: Arc::new(RoleProber::new(connector.clone(), settings.canary)),
            policies: Arc::new(Iam::new(&aws)),
            sessions: Arc::new(TenantSessions::new(connector)),
            receipts: AccessReceipts::new(store.clone()),
            purge: Purge::new(store.clone(), bucket.clone(), Arc::new(Index::new(store, bucket))),
            calls: aws.calls(),
            secrets: Arc::new(SecretsManager::new(&aws)),
            again: Arc::new(VerifyQueue::new(&aws, settings.queue)),
            ecr: Arc::new(Ecr::new(&aws)),
            bus: Arc::new(EventBus::new(&aws, settings.bus)),
            clock,
            randomness: Arc::new(OsRandomness),
            connector: settings.connector,
            // An emulator's roles are assumable at once, so that waiting would only delay a refusal.
            patience: if settings.aws.emulator.is_some() {
                Vec::new()
            } else {
                PATIENCE.to_vec()
            },
        }
    }
}
