//! What the handler works with, built once when the function starts.

use std::{num::NonZeroUsize, sync::Arc, thread};

use portwarden_aws::{
    Aws, AwsSettings, Bucket, Connector, DynamoStore, Ecr, EcrRegistries, EventBus, Metrics, NotifyQueue,
    ScanQueue, Settings, SettingsError, SystemClock, TenantSessions, VerifyQueue,
};
use portwarden_catalog::Limits;
use portwarden_core::{
    announce::Announce,
    arn::RoleArn,
    clock::Clock,
    ecr::DescribeImage,
    event::EventLog,
    image::Images,
    integration::Integrations,
    notification::QueueNotify,
    object::{ReadObject, WriteObject},
    receipt::{AccessReceipts, CallCounter, ReceiptedSessions},
    reconcile::Inventories,
    registry_scan::ReadRegistryScan,
    session::{AssumeRole, CachedSessions},
    store::Store,
    work::{QueueScan, QueueVerify},
};
use portwarden_matching::Matcher;
use portwarden_registry::{NetworkError, OpenRegistry};

use crate::{BlockingThreads, CatalogLayers};

/// The rights of the scanner, and what its process remembers.
pub struct Context {
    pub(crate) integrations: Integrations,
    pub(crate) images: Images,
    pub(crate) inventories: Inventories,
    pub(crate) events: EventLog,
    pub(crate) matcher: Matcher,
    pub(crate) receipts: Arc<ReceiptedSessions<Arc<dyn AssumeRole>>>,
    pub(crate) sessions: CachedSessions<Arc<ReceiptedSessions<Arc<dyn AssumeRole>>>>,
    pub(crate) outside: Outside,
}

/// The world outside.
#[derive(Clone)]
pub struct Outside {
    /// The table.
    pub store: Arc<dyn Store>,
    /// Reads layers' catalogues, and the advisory database.
    pub objects: Arc<dyn ReadObject>,
    /// Writes layers' catalogues, reports, SBOMs and findings.
    pub documents: Arc<dyn WriteObject>,
    /// Opens tenants' roles.
    pub roles: Arc<dyn AssumeRole>,
    /// Counts the calls that are made with sessions.
    pub calls: Arc<CallCounter>,
    /// Asks ECR about images.
    pub ecr: Arc<dyn DescribeImage>,
    /// Reads what ECR's own scanning found.
    pub registry_scans: Arc<dyn ReadRegistryScan>,
    /// Opens registries.
    pub registries: Arc<dyn OpenRegistry>,
    /// Our own queue, for scans that take longer than one invocation.
    pub scans: Arc<dyn QueueScan>,
    /// The verifier's queue, for connections that were refused.
    pub verifications: Arc<dyn QueueVerify>,
    /// The notifier's queue.
    pub notifies: Arc<dyn QueueNotify>,
    /// Tells who listens.
    pub bus: Arc<dyn Announce>,
    /// Reads layers.
    pub cataloguing: Arc<dyn CatalogLayers>,
    /// Counts and measures.
    pub metrics: Metrics,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How much of one layer is read and kept.
    pub limits: Limits,
    /// How many layers are read at the same time.
    pub parallel: NonZeroUsize,
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
            matcher: Matcher::new(
                outside.store.clone(),
                outside.objects.clone(),
                outside.documents.clone(),
                outside.notifies.clone(),
                outside.clock.clone(),
            ),
            sessions: CachedSessions::new(receipts.clone(), outside.clock.clone()),
            receipts,
            outside,
        }
    }
}

/// What the function is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannerSettings {
    aws: AwsSettings,
    table: String,
    bucket: String,
    scan_queue: String,
    verify_queue: String,
    notify_queue: String,
    bus: String,
    connector: RoleArn,
}

impl ScannerSettings {
    /// Reads the settings, or says everything that is wrong with them.
    pub fn read(mut settings: Settings) -> Result<Self, SettingsError> {
        let aws = AwsSettings::read(&mut settings);
        let table = settings.required("TABLE_NAME");
        let bucket = settings.required("REPORT_BUCKET");
        let scan_queue = settings.required("SCAN_QUEUE_URL");
        let verify_queue = settings.required("VERIFY_QUEUE_URL");
        let notify_queue = settings.required("NOTIFY_QUEUE_URL");
        let bus = settings.required("EVENT_BUS_NAME");
        let connector = settings.required("CONNECTOR_ROLE_ARN");
        settings.finish(|| {
            Some(Self {
                aws: aws?,
                table: table?,
                bucket: bucket?,
                scan_queue: scan_queue?,
                verify_queue: verify_queue?,
                notify_queue: notify_queue?,
                bus: bus?,
                connector: connector?,
            })
        })
    }
}

impl Outside {
    /// Connects to AWS.
    pub fn connect(settings: ScannerSettings) -> Result<Self, NetworkError> {
        let aws = Aws::of_function(&settings.aws);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let connector = Connector::new(&aws, settings.connector, Arc::clone(&clock));
        let bucket = Arc::new(Bucket::new(&aws, settings.bucket));
        let ecr = Arc::new(Ecr::new(&aws));
        Ok(Self {
            store: Arc::new(DynamoStore::new(&aws, settings.table)),
            objects: bucket.clone(),
            documents: bucket,
            roles: Arc::new(TenantSessions::new(Arc::new(connector))),
            calls: aws.calls(),
            ecr: ecr.clone(),
            registry_scans: ecr,
            registries: Arc::new(EcrRegistries::new(settings.aws.emulator)?),
            scans: Arc::new(ScanQueue::new(&aws, settings.scan_queue)),
            verifications: Arc::new(VerifyQueue::new(&aws, settings.verify_queue)),
            notifies: Arc::new(NotifyQueue::new(&aws, settings.notify_queue)),
            bus: Arc::new(EventBus::new(&aws, settings.bus)),
            cataloguing: Arc::new(BlockingThreads),
            metrics: Metrics::new(Arc::clone(&clock)),
            clock,
            limits: Limits::default(),
            parallel: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_setting_is_named_at_once() {
        let error = ScannerSettings::read(Settings::from_vars([])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "AWS_REGION is missing; TABLE_NAME is missing; REPORT_BUCKET is missing; SCAN_QUEUE_URL is missing; \
             VERIFY_QUEUE_URL is missing; NOTIFY_QUEUE_URL is missing; EVENT_BUS_NAME is missing; CONNECTOR_ROLE_ARN is missing"
        );
    }
}
