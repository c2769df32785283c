//! What the handler works with, built once when the function starts.

use std::sync::Arc;

use portwarden_aws::{Aws, Bucket, DynamoStore, Metrics, RematchQueue, S3Feed, SystemClock};
use portwarden_core::{
    advisory::{Editions, FeedSource, ReadFeed},
    clock::Clock,
    object::{ReadObject, RemoveObject, WriteObject},
    rematch::QueueRematch,
    store::Store,
};
use portwarden_registry::{Network, NetworkError};

use crate::{
    feed::HttpsFeed,
    settings::{AdvisorSettings, Folders},
};

/// The rights of the advisor.
pub struct Context {
    pub(crate) editions: Editions,
    pub(crate) outside: Outside,
}

/// The world outside.
#[derive(Clone)]
pub struct Outside {
    /// The table.
    pub store: Arc<dyn Store>,
    /// Where the advisories come from.
    pub feed: Arc<dyn ReadFeed>,
    /// Which folders of the feed are followed.
    pub folders: Folders,
    /// Reads what was stored of them.
    pub objects: Arc<dyn ReadObject>,
    /// Writes them, and the database.
    pub documents: Arc<dyn WriteObject>,
    /// Removes what nobody needs any more.
    pub remover: Arc<dyn RemoveObject>,
    /// Has stored images matched with a new edition.
    pub rematches: Arc<dyn QueueRematch>,
    /// Counts and measures.
    pub metrics: Metrics,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Context {
    /// Makes a context.
    pub fn new(outside: Outside) -> Self {
        Self {
            editions: Editions::new(outside.store.clone()),
            outside,
        }
    }
}

impl Outside {
    /// Connects to AWS.
    pub fn connect(settings: AdvisorSettings) -> Result<Self, NetworkError> {
        let aws = Aws::of_function(&settings.aws);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bucket = Arc::new(Bucket::new(&aws, settings.bucket));
        let feed: Arc<dyn ReadFeed> = match settings.source {
            FeedSource::Https(base) => {
                Arc::new(HttpsFeed::new(Network::builder().build()?, base, clock.clone()))
            }
            FeedSource::S3 { bucket, prefix } => Arc::new(S3Feed::new(&aws, bucket, prefix)),
        };
        Ok(Self {
            store: Arc::new(DynamoStore::new(&aws, settings.table)),
            feed,
            folders: settings.folders,
            objects: bucket.clone(),
            documents: bucket.clone(),
            remover: bucket,
            rematches: Arc::new(RematchQueue::new(&aws, settings.rematch_queue)),
            metrics: Metrics::new(Arc::clone(&clock)),
            clock,
        })
    }
}
