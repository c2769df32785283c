//! What the handler works with, built once when the function starts.

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

use portwarden_aws::{
    Aws, AwsSettings, Connector, DynamoStore, Ecr, EventBus, InventoryQueue, Metrics, ScanQueue, Settings,
    SettingsError, SystemClock, TenantSessions, VerifyQueue,
};
use portwarden_core::{
    announce::Announce,
    arn::RoleArn,
    clock::Clock,
    ecr::ListRegistry,
    event::EventLog,
    id::{IdError, Region},
    image::Images,
    integration::Integrations,
    random::{OsRandomness, Randomness},
    receipt::{AccessReceipts, CallCounter, ReceiptedSessions},
    reconcile::Inventories,
    session::{AssumeRole, CachedSessions},
    store::Store,
    tenant_template::launch,
    work::{QueueInventory, QueueScan, QueueVerify},
};

/// The rights of the reconciler, and what its process remembers.
pub struct Context {
    pub(crate) integrations: Integrations,
    pub(crate) images: Images,
    pub(crate) inventories: Inventories,
    pub(crate) events: EventLog,
    pub(crate) receipts: Arc<ReceiptedSessions<Arc<dyn AssumeRole>>>,
    pub(crate) sessions: CachedSessions<Arc<ReceiptedSessions<Arc<dyn AssumeRole>>>>,
    pub(crate) outside: Outside,
}

/// The world outside.
#[derive(Clone)]
pub struct Outside {
    /// The table.
    pub store: Arc<dyn Store>,
    /// Opens tenants' roles.
    pub roles: Arc<dyn AssumeRole>,
    /// Counts the calls that are made with sessions.
    pub calls: Arc<CallCounter>,
    /// Lists registries.
    pub ecr: Arc<dyn ListRegistry>,
    /// The scanner's queue for what need not be done at once.
    pub scans: Arc<dyn QueueScan>,
    /// The regions that can be connected, in which the names of repositories are looked for.
    pub launch_regions: BTreeSet<Region>,
    /// Our own queue.
    pub inventories: Arc<dyn QueueInventory>,
    /// The verifier's queue, for connections that were refused.
    pub verifications: Arc<dyn QueueVerify>,
    /// Tells who listens.
    pub bus: Arc<dyn Announce>,
    /// Counts.
    pub metrics: Metrics,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
}

impl Context {
    /// Makes a context that remembers nothing yet.
    pub fn new(outside: Outside) -> Self {
        let receipts = Arc::new(ReceiptedSessions::new(
            outside.roles.clone(),
            AccessReceipts::new(outside.store.clone()),
            outside.calls.clone(),
            outside.clock.clone(),
        ));
        Self {
            integrations: Integrations::new(outside.store.clone()),
            images: Images::new(outside.store.clone()),
            inventories: Inventories::new(outside.store.clone()),
            events: EventLog::new(outside.store.clone()),
            sessions: CachedSessions::new(receipts.clone(), outside.clock.clone()),
            receipts,
            outside,
        }
    }
}

/// What the function is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcilerSettings {
    aws: AwsSettings,
    table: String,
    backfill_queue: String,
    inventory_queue: String,
    verify_queue: String,
    bus: String,
    connector: RoleArn,
    launch_regions: BTreeSet<Region>,
}

/// Regions with commas between them.
struct Regions(Vec<Region>);

impl FromStr for Regions {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl ReconcilerSettings {
    /// Reads the settings, or says everything that is wrong with them.
    pub fn read(mut settings: Settings) -> Result<Self, SettingsError> {
        let aws = AwsSettings::read(&mut settings);
        let table = settings.required("TABLE_NAME");
        let backfill_queue = settings.required("BACKFILL_QUEUE_URL");
        let inventory_queue = settings.required("INVENTORY_QUEUE_URL");
        let verify_queue = settings.required("VERIFY_QUEUE_URL");
        let bus = settings.required("EVENT_BUS_NAME");
        let connector = settings.required("CONNECTOR_ROLE_ARN");
        let more_regions: Option<Regions> = settings.optional("MORE_LAUNCH_REGIONS");
        settings.finish(|| {
            let mut launch_regions = launch::constant_regions();
            launch_regions.extend(more_regions.into_iter().flat_map(|regions| regions.0));
            Some(Self {
                launch_regions,
                aws: aws?,
                table: table?,
                backfill_queue: backfill_queue?,
                inventory_queue: inventory_queue?,
                verify_queue: verify_queue?,
                bus: bus?,
                connector: connector?,
            })
        })
    }
}

impl Outside {
    /// Connects to AWS.
    pub fn connect(settings: ReconcilerSettings) -> Self {
        let aws = Aws::of_function(&settings.aws);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let connector = Connector::new(&aws, settings.connector, Arc::clone(&clock));
        Self {
            store: Arc::new(DynamoStore::new(&aws, settings.table)),
            roles: Arc::new(TenantSessions::new(Arc::new(connector))),
            calls: aws.calls(),
            ecr: Arc::new(Ecr::new(&aws)),
            scans: Arc::new(ScanQueue::new(&aws, settings.backfill_queue)),
            launch_regions: settings.launch_regions,
            inventories: Arc::new(InventoryQueue::new(&aws, settings.inventory_queue)),
            verifications: Arc::new(VerifyQueue::new(&aws, settings.verify_queue)),
            bus: Arc::new(EventBus::new(&aws, settings.bus)),
            metrics: Metrics::new(Arc::clone(&clock)),
            clock,
            randomness: Arc::new(OsRandomness),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_setting_is_named_at_once() {
        let error = ReconcilerSettings::read(Settings::from_vars([])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "AWS_REGION is missing; TABLE_NAME is missing; BACKFILL_QUEUE_URL is missing; \
             INVENTORY_QUEUE_URL is missing; VERIFY_QUEUE_URL is missing; EVENT_BUS_NAME is missing; \
             CONNECTOR_ROLE_ARN is missing"
        );
    }
}
