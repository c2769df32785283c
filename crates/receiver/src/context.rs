//! What the handler needs from outside, built once.

use std::sync::Arc;

use jiff::SignedDuration;
use portwarden_core::{
    budget::Budgets,
    clock::Clock,
    endpoint::CredentialChecker,
    event::EventLog,
    integration::{Directory, Integrations},
    random::{OsRandomness, Randomness},
    store::Store,
    work::{QueueInventory, QueueScan, QueueVerify},
};

use portwarden_aws::{
    Aws, AwsSettings, DynamoStore, InventoryQueue, Metric, Metrics, ScanQueue, Settings, SettingsError,
    SystemClock, VerifyQueue, telemetry,
};

use crate::{endpoint_cache::EndpointCache, operator::Operator};
pub use crate::{operator::OperatorSettings, report::CountEvents};

/// Everything that the handler uses: the world outside, and what a process remembers of it.
pub struct Context {
    pub(crate) integrations: Integrations,
    pub(crate) directory: Directory,
    pub(crate) events: EventLog,
    pub(crate) scans: Arc<dyn QueueScan>,
    pub(crate) verifications: Arc<dyn QueueVerify>,
    pub(crate) inventories: Arc<dyn QueueInventory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) counts: Arc<dyn CountEvents>,
    pub(crate) checker: Arc<CredentialChecker>,
    pub(crate) endpoints: EndpointCache,
    pub(crate) budgets: Budgets,
    pub(crate) operator: Operator,
}

/// The world outside.
#[derive(Clone)]
pub struct Outside {
    /// The table.
    pub store: Arc<dyn Store>,
    /// The scanner's queue.
    pub scans: Arc<dyn QueueScan>,
    /// The verifier's queue.
    pub verifications: Arc<dyn QueueVerify>,
    /// The reconciler's queue.
    pub inventories: Arc<dyn QueueInventory>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
    /// Where events are counted.
    pub counts: Arc<dyn CountEvents>,
}

/// How fast a tenant's budget fills: 20 events a second, about a third of what one process can receive.
const EVENT_INTERVAL: SignedDuration = SignedDuration::from_millis(50);

/// What a full budget holds: the images of a busy hour, pushed at once.
const EVENT_BURST: i32 = 400;

/// What the function is told by its environment.
#[derive(Debug, PartialEq, Eq)]
struct Config {
    aws: AwsSettings,
    table: String,
    scan_queue: String,
    verify_queue: String,
    inventory_queue: String,
    operator: OperatorSettings,
}

impl Config {
    /// Reads the variables that the template sets.
    fn read(mut settings: Settings) -> Result<Self, SettingsError> {
        let aws = AwsSettings::read(&mut settings);
        let table = settings.required("TABLE_NAME");
        let scan_queue = settings.required("SCAN_QUEUE_URL");
        let verify_queue = settings.required("VERIFY_QUEUE_URL");
        let inventory_queue = settings.required("INVENTORY_QUEUE_URL");
        let role = settings.required("OPERATOR_ROLE_ARN");
        let external_id = settings.required("OPERATOR_EXTERNAL_ID");
        settings.finish(|| {
            let aws = aws?;
            let operator = OperatorSettings {
                role: role?,
                external_id: external_id?,
                region: aws.region.clone(),
            };
            Some(Self {
                aws,
                table: table?,
                scan_queue: scan_queue?,
                verify_queue: verify_queue?,
                inventory_queue: inventory_queue?,
                operator,
            })
        })
    }
}

impl Context {
    /// Starts logging, and makes the context of a function from its environment variables.
    pub fn from_environment(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let mut settings = Settings::from_vars(vars);
        telemetry::start(&mut settings);
        let config = Config::read(settings)?;
        let aws = Aws::of_function(&config.aws);
        let clock = Arc::new(SystemClock);
        let outside = Outside {
            store: Arc::new(DynamoStore::new(&aws, config.table)),
            scans: Arc::new(ScanQueue::new(&aws, config.scan_queue)),
            verifications: Arc::new(VerifyQueue::new(&aws, config.verify_queue)),
            inventories: Arc::new(InventoryQueue::new(&aws, config.inventory_queue)),
            clock: clock.clone(),
            randomness: Arc::new(OsRandomness),
            counts: Arc::new(Metrics::new(clock)),
        };
        Ok(Self::new(outside, config.operator))
    }

    /// Makes a context that remembers nothing yet.
    pub fn new(outside: Outside, operator: OperatorSettings) -> Self {
        let checker = Arc::new(CredentialChecker::new(&*outside.randomness));
        Self::with_checker(outside, operator, checker)
    }

    /// Makes a context that shares with others what passwords hash to; everything else it has to itself.
    pub fn with_checker(
        outside: Outside,
        operator: OperatorSettings,
        checker: Arc<CredentialChecker>,
    ) -> Self {
        let Outside {
            store,
            scans,
            verifications,
            inventories,
            clock,
            randomness,
            counts,
        } = outside;
        Self {
            integrations: Integrations::new(store.clone()),
            directory: Directory::new(store.clone()),
            events: EventLog::new(store.clone()),
            scans,
            verifications,
            inventories,
            clock,
            checker,
            randomness,
            counts,
            endpoints: EndpointCache::new(Directory::new(store)),
            budgets: Budgets::new(EVENT_INTERVAL, EVENT_BURST),
            operator: Operator::new(operator),
        }
    }
}

impl CountEvents for Metrics {
    fn accepted(&self, kind: &'static str) {
        self.count(Metric::EventsAccepted { kind });
    }

    fn refused(&self, code: &'static str) {
        self.count(Metric::EventsRefused { code });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARS: [(&str, &str); 7] = [
        ("AWS_REGION", "eu-west-1"),
        ("TABLE_NAME", "portwarden"),
        (
            "SCAN_QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/999988887777/scan",
        ),
        (
            "VERIFY_QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/999988887777/verify",
        ),
        (
            "INVENTORY_QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/999988887777/inventory",
        ),
        (
            "OPERATOR_ROLE_ARN",
            "arn:aws:iam::999988887777:role/portwarden-OperatorRole",
        ),
        ("OPERATOR_EXTERNAL_ID", "pw-5f0d1c20-c2a1-11f0-9d53-0a1b2c3d4e5f"),
    ];

    fn read(vars: &[(&str, &str)]) -> Result<Config, SettingsError> {
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(Settings::from_vars(vars))
    }

    #[test]
    fn what_the_template_sets_is_all_that_is_needed() {
        let config = read(&VARS).unwrap();
        assert_eq!(config.operator.region.as_str(), "eu-west-1");
        assert_eq!(config.table, "portwarden");
        let template = include_str!("../../../template.yaml");
        let (_, receiver) = template.split_once("\n  ReceiverFunction:").unwrap();
        let (receiver, _) = receiver.split_once("\n  ReceiverRole:").unwrap();
        for (name, _) in &VARS[1..] {
            assert!(receiver.contains(&format!("          {name}: ")), "{name}");
        }
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        assert_eq!(
            read(&[]).unwrap_err().to_string(),
            "AWS_REGION is missing; TABLE_NAME is missing; SCAN_QUEUE_URL is missing; VERIFY_QUEUE_URL is missing; \
             INVENTORY_QUEUE_URL is missing; OPERATOR_ROLE_ARN is missing; OPERATOR_EXTERNAL_ID is missing"
        );
    }
}
