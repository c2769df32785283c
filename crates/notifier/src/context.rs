//! What the handler works with, built once when the function starts.

use std::sync::Arc;

use portwarden_aws::{
    Aws, AwsSettings, DynamoStore, EventBus, Metrics, NotifyQueue, Settings, SettingsError, SystemClock,
    WebhookKeySecret,
};
use portwarden_core::{
    announce::Announce,
    clock::Clock,
    notification::{Notifications, QueueNotify},
    random::{OsRandomness, Randomness},
    store::Store,
    webhook::{ReadWebhookKey, Webhooks},
};
use portwarden_registry::NetworkError;

use crate::{HttpsPost, Post};

/// The rights of the notifier.
pub struct Context {
    pub(crate) notifications: Notifications,
    pub(crate) webhooks: Webhooks,
    pub(crate) outside: Outside,
}

/// The world outside.
#[derive(Clone)]
pub struct Outside {
    /// The table.
    pub store: Arc<dyn Store>,
    /// Our own queue.
    pub queue: Arc<dyn QueueNotify>,
    /// Where deliveries wait that were given up.
    pub dead_letters: Arc<dyn QueueNotify>,
    /// Tells who listens.
    pub bus: Arc<dyn Announce>,
    /// Sends to webhooks.
    pub post: Arc<dyn Post>,
    /// Reads what secrets are derived from.
    pub key: Arc<dyn ReadWebhookKey>,
    /// Counts.
    pub metrics: Metrics,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
}

impl Context {
    /// Makes a context.
    pub fn new(outside: Outside) -> Self {
        Self {
            notifications: Notifications::new(outside.store.clone()),
            webhooks: Webhooks::new(outside.store.clone()),
            outside,
        }
    }
}

/// What the function is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifierSettings {
    aws: AwsSettings,
    table: String,
    queue: String,
    dead_letters: String,
    bus: String,
    key: String,
}

impl NotifierSettings {
    /// Reads the settings, or says everything that is wrong with them.
    pub fn read(mut settings: Settings) -> Result<Self, SettingsError> {
        let aws = AwsSettings::read(&mut settings);
        let table = settings.required("TABLE_NAME");
        let queue = settings.required("NOTIFY_QUEUE_URL");
        let dead_letters = settings.required("NOTIFY_DEAD_LETTER_QUEUE_URL");
        let bus = settings.required("EVENT_BUS_NAME");
        let key = settings.required("WEBHOOK_KEY_ARN");
        settings.finish(|| {
            Some(Self {
                aws: aws?,
                table: table?,
                queue: queue?,
                dead_letters: dead_letters?,
                bus: bus?,
                key: key?,
            })
        })
    }
}

impl Outside {
    /// Connects to AWS.
    pub fn connect(settings: NotifierSettings) -> Result<Self, NetworkError> {
        let aws = Aws::of_function(&settings.aws);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self {
            store: Arc::new(DynamoStore::new(&aws, settings.table)),
            queue: Arc::new(NotifyQueue::new(&aws, settings.queue)),
            dead_letters: Arc::new(NotifyQueue::new(&aws, settings.dead_letters)),
            bus: Arc::new(EventBus::new(&aws, settings.bus)),
            post: Arc::new(HttpsPost::new(settings.aws.emulator.is_some())?),
            key: Arc::new(WebhookKeySecret::new(&aws, settings.key)),
            metrics: Metrics::new(Arc::clone(&clock)),
            clock,
            randomness: Arc::new(OsRandomness),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_setting_is_named_at_once() {
        let error = NotifierSettings::read(Settings::from_vars([])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "AWS_REGION is missing; TABLE_NAME is missing; NOTIFY_QUEUE_URL is missing; \
             NOTIFY_DEAD_LETTER_QUEUE_URL is missing; EVENT_BUS_NAME is missing; WEBHOOK_KEY_ARN is missing"
        );
    }
}
