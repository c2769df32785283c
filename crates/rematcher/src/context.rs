//! What the handler works with, built once when the function starts.

use std::sync::Arc;

use portwarden_aws::{
    Aws, AwsSettings, Bucket, DynamoStore, Metrics, NotifyQueue, RematchQueue, Settings, SettingsError,
    SystemClock,
};
use portwarden_core::{
    clock::Clock,
    integration::Directory,
    notification::QueueNotify,
    object::{ReadObject, WriteObject},
    rematch::QueueRematch,
    store::Store,
};
use portwarden_matching::Matcher;

/// The rights of the rematcher, and what its process remembers.
pub struct Context {
    pub(crate) directory: Directory,
    pub(crate) matcher: Matcher,
    pub(crate) outside: Outside,
}

/// The world outside.
#[derive(Clone)]
pub struct Outside {
    /// The table.
    pub store: Arc<dyn Store>,
    /// Reads the database, reports and findings.
    pub objects: Arc<dyn ReadObject>,
    /// Writes findings.
    pub documents: Arc<dyn WriteObject>,
    /// Our own queue.
    pub rematches: Arc<dyn QueueRematch>,
    /// The notifier's queue.
    pub notifies: Arc<dyn QueueNotify>,
    /// Counts and measures.
    pub metrics: Metrics,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Context {
    /// Makes a context that remembers nothing yet.
    pub fn new(outside: Outside) -> Self {
        let Outside {
            store,
            objects,
            documents,
            notifies,
            clock,
            ..
        } = outside.clone();
        Self {
            directory: Directory::new(Arc::clone(&store)),
            matcher: Matcher::new(store, objects, documents, notifies, clock),
            outside,
        }
    }
}

/// What the function is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RematcherSettings {
    aws: AwsSettings,
    table: String,
    bucket: String,
    queue: String,
    notify_queue: String,
}

impl RematcherSettings {
    /// Reads the settings, or says everything that is wrong with them.
    pub fn read(mut settings: Settings) -> Result<Self, SettingsError> {
        let aws = AwsSettings::read(&mut settings);
        let table = settings.required("TABLE_NAME");
        let bucket = settings.required("REPORT_BUCKET");
        let queue = settings.required("REMATCH_QUEUE_URL");
        let notify_queue = settings.required("NOTIFY_QUEUE_URL");
        settings.finish(|| {
            Some(Self {
                aws: aws?,
                table: table?,
                bucket: bucket?,
                queue: queue?,
                notify_queue: notify_queue?,
            })
        })
    }
}

impl Outside {
    /// Connects to AWS.
    pub fn connect(settings: RematcherSettings) -> Self {
        let aws = Aws::of_function(&settings.aws);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bucket = Arc::new(Bucket::new(&aws, settings.bucket));
        Self {
            store: Arc::new(DynamoStore::new(&aws, settings.table)),
            objects: bucket.clone(),
            documents: bucket,
            rematches: Arc::new(RematchQueue::new(&aws, settings.queue)),
            notifies: Arc::new(NotifyQueue::new(&aws, settings.notify_queue)),
            metrics: Metrics::new(Arc::clone(&clock)),
            clock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_setting_is_named_at_once() {
        let error = RematcherSettings::read(Settings::from_vars([])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "AWS_REGION is missing; TABLE_NAME is missing; REPORT_BUCKET is missing; REMATCH_QUEUE_URL is missing; \
             NOTIFY_QUEUE_URL is missing"
        );
    }
}
