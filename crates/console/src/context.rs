//! What the handlers need from outside, built once.

use std::sync::Arc;

use jiff::SignedDuration;
use portwarden_aws::{
    Aws, AwsSettings, Bucket, DynamoStore, Metric, Metrics, NotifyQueue, QueueNames, Settings, SettingsError,
    SystemClock, VerifyQueue, WatchedQueues, WebhookKeySecret, telemetry,
};
use portwarden_core::{
    access::{Access, ApiKeys, Invitations, Members, Sessions},
    advisory::Editions,
    arn::RoleArn,
    budget::Budgets,
    clock::Clock,
    id::Region,
    idempotency::Writes,
    image::Images,
    integration::Integrations,
    inventory::Inventory,
    notification::QueueNotify,
    object::ReadObject,
    operations::{Operations, WatchQueues},
    random::{OsRandomness, Randomness},
    receipt::AccessReceipts,
    reconcile::Inventories,
    store::Store,
    tenant::Tenants,
    tenant_template::launch::LaunchPad,
    webhook::{ReadWebhookKey, Webhooks},
    work::QueueVerify,
};
use url::Url;

use crate::auth::{Fetch, HttpFetch, Issuer, IssuerSettings};

/// Everything that the handlers use: the world outside, and what a process remembers of it.
pub struct Context {
    /// What members and keys may do.
    pub(crate) access: Access,
    pub(crate) members: Members,
    pub(crate) invitations: Invitations,
    pub(crate) api_keys: ApiKeys,
    pub(crate) sessions: Sessions,
    pub(crate) tenants: Tenants,
    pub(crate) integrations: Integrations,
    pub(crate) images: Images,
    pub(crate) inventory: Inventory,
    pub(crate) coverage: Inventories,
    pub(crate) receipts: AccessReceipts,
    pub(crate) webhooks: Webhooks,
    pub(crate) writes: Writes,
    pub(crate) budgets: Budgets,
    pub(crate) operations: Operations,
    pub(crate) editions: Editions,
    pub(crate) queues: Arc<dyn WatchQueues>,
    pub(crate) verifications: Arc<dyn QueueVerify>,
    pub(crate) notifications: Arc<dyn QueueNotify>,
    pub(crate) webhook_key: Arc<dyn ReadWebhookKey>,
    pub(crate) objects: Arc<dyn ReadObject>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) counts: Arc<dyn CountRequests>,
    pub(crate) issuer: Issuer,
    pub(crate) place: Place,
}

/// What handlers get as their state.
pub type Console = Arc<Context>;

/// The world outside.
#[derive(Clone)]
pub struct Outside {
    /// The table.
    pub store: Arc<dyn Store>,
    /// The bucket with reports.
    pub objects: Arc<dyn ReadObject>,
    /// The verifier's queue.
    pub verifications: Arc<dyn QueueVerify>,
    /// The notifier's queue.
    pub notifications: Arc<dyn QueueNotify>,
    /// What webhooks' secrets are derived from.
    pub webhook_key: Arc<dyn ReadWebhookKey>,
    /// All queues, for the operator.
    pub queues: Arc<dyn WatchQueues>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
    /// Where requests are counted.
    pub counts: Arc<dyn CountRequests>,
    /// How the issuer of tokens is reached.
    pub fetch: Arc<dyn Fetch>,
}

/// Where this Portwarden is, as tenants need to know it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The root of the console, without a slash at its end.
    pub console_url: String,
    /// An integration's event endpoint is this, a slash and its id.
    pub events_url: String,
    /// The role that tenants' roles trust.
    pub connector: RoleArn,
    /// The links that create tenants' stacks.
    pub launch_pad: LaunchPad,
    /// Whether it is an emulator, beside which webhooks may be on this machine.
    pub is_emulated: bool,
}

/// Counts what became of requests.
pub trait CountRequests: Send + Sync {
    /// Counts a request that failed through our own fault.
    fn failed(&self);
}

impl CountRequests for Metrics {
    fn failed(&self) {
        self.count(Metric::RequestsFailed);
    }
}

/// How fast a tenant's budget fills: 20 requests a second in each process.
const REQUEST_INTERVAL: SignedDuration = SignedDuration::from_millis(50);

/// What a full budget holds: a page with everything on it, for some people at once.
const REQUEST_BURST: i32 = 200;

/// What the function is told by its environment.
#[derive(Debug)]
struct Config {
    aws: AwsSettings,
    table: String,
    bucket: String,
    verify_queue: String,
    notify_queue: String,
    webhook_key: String,
    queues: QueueNames,
    place: Place,
    issuer: IssuerSettings,
}

/// Regions with commas between them.
struct Regions(Vec<Region>);

impl std::str::FromStr for Regions {
    type Err = portwarden_core::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// An address without a slash at its end.
struct Root(String);

impl std::str::FromStr for Root {
    type Err = url::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Url::parse(text)?;
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl Config {
    /// Reads the variables that the template sets.
    fn read(mut settings: Settings) -> Result<Self, SettingsError> {
        let aws = AwsSettings::read(&mut settings);
        let table = settings.required("TABLE_NAME");
        let bucket = settings.required("REPORT_BUCKET");
        let verify_queue = settings.required("VERIFY_QUEUE_URL");
        let notify_queue = settings.required("NOTIFY_QUEUE_URL");
        let webhook_key = settings.required("WEBHOOK_KEY_ARN");
        let queues = settings.required("QUEUES");
        let console_url: Option<Root> = settings.required("CONSOLE_URL");
        let events_url: Option<Root> = settings.required("EVENTS_URL");
        let connector = settings.required("CONNECTOR_ROLE_ARN");
        let template_url = settings.required("TEMPLATE_URL");
        let prefix: Option<String> = settings.optional("REGIONAL_TEMPLATE_BUCKET_PREFIX");
        let bucket_regions: Option<Regions> = settings.optional("REGIONAL_TEMPLATE_BUCKET_REGIONS");
        let more_regions: Option<Regions> = settings.optional("MORE_LAUNCH_REGIONS");
        let issuer = settings.required("OIDC_ISSUER");
        let client_id = settings.required("OIDC_CLIENT_ID");
        let audience = settings.optional("OIDC_AUDIENCE");
        settings.finish(|| {
            let mut launch_pad = LaunchPad::new(template_url?);
            if let (Some(prefix), Some(regions)) = (prefix, bucket_regions) {
                launch_pad.add_buckets(&prefix, &regions.0).ok()?;
            }
            launch_pad.add_regions(more_regions.into_iter().flat_map(|regions| regions.0));
            let aws = aws?;
            Some(Self {
                table: table?,
                bucket: bucket?,
                verify_queue: verify_queue?,
                notify_queue: notify_queue?,
                webhook_key: webhook_key?,
                queues: queues?,
                place: Place {
                    console_url: console_url?.0,
                    events_url: events_url?.0,
                    connector: connector?,
                    launch_pad,
                    is_emulated: aws.emulator.is_some(),
                },
                aws,
                issuer: IssuerSettings {
                    issuer: issuer?,
                    client_id: client_id?,
                    audience,
                },
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
            objects: Arc::new(Bucket::new(&aws, config.bucket)),
            verifications: Arc::new(VerifyQueue::new(&aws, config.verify_queue)),
            notifications: Arc::new(NotifyQueue::new(&aws, config.notify_queue)),
            webhook_key: Arc::new(WebhookKeySecret::new(&aws, config.webhook_key)),
            queues: Arc::new(WatchedQueues::new(&aws, config.queues)),
            clock: clock.clone(),
            randomness: Arc::new(OsRandomness),
            counts: Arc::new(Metrics::new(clock)),
            fetch: Arc::new(HttpFetch::default()),
        };
        Ok(Self::new(outside, config.place, config.issuer))
    }

    /// Makes a context that remembers nothing yet.
    pub fn new(outside: Outside, place: Place, issuer: IssuerSettings) -> Self {
        let Outside {
            store,
            objects,
            verifications,
            notifications,
            webhook_key,
            queues,
            clock,
            randomness,
            counts,
            fetch,
        } = outside;
        Self {
            access: Access::new(store.clone()),
            members: Members::new(store.clone()),
            invitations: Invitations::new(store.clone()),
            api_keys: ApiKeys::new(store.clone()),
            sessions: Sessions::new(store.clone()),
            tenants: Tenants::new(store.clone()),
            integrations: Integrations::new(store.clone()),
            images: Images::new(store.clone()),
            inventory: Inventory::new(store.clone()),
            coverage: Inventories::new(store.clone()),
            receipts: AccessReceipts::new(store.clone()),
            operations: Operations::new(store.clone()),
            editions: Editions::new(store.clone()),
            webhooks: Webhooks::new(store.clone()),
            writes: Writes::new(store),
            budgets: Budgets::new(REQUEST_INTERVAL, REQUEST_BURST),
            queues,
            verifications,
            notifications,
            webhook_key,
            objects,
            issuer: Issuer::new(issuer, fetch, clock.clone()),
            clock,
            randomness,
            counts,
            place,
        }
    }
}
