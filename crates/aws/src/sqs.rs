mod watch;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use portwarden_core::{
    notification::{NotifyRequest, QueueNotify},
    rematch::{QueueRematch, RematchRequest},
    work::{
        InventoryRequest, QueueError, QueueInventory, QueueScan, QueueVerify, QueueVerifyLater, ScanRequest,
        VerifyRequest,
    },
};
use serde::Serialize;

use crate::{Aws, failure::Failure};

pub use watch::{QueueNames, QueuesError, WatchedQueues};

/// The queue of images that wait for a scan.
#[derive(Debug, Clone)]
pub struct ScanQueue(Queue);

/// The queue of connections that wait for a test.
#[derive(Debug, Clone)]
pub struct VerifyQueue(Queue);

/// The queue of images that wait to be matched again.
#[derive(Debug, Clone)]
pub struct RematchQueue(Queue);

impl RematchQueue {
    /// Names the queue by its URL.
    pub fn new(aws: &Aws, url: String) -> Self {
        Self(Queue::new(aws, url))
    }
}

#[async_trait]
impl QueueRematch for RematchQueue {
    async fn queue_rematch(&self, request: &RematchRequest) -> Result<(), QueueError> {
        self.0.send(request, None).await
    }
}

/// The queue of registries that wait for a comparison with ECR.
#[derive(Debug, Clone)]
pub struct InventoryQueue(Queue);

/// The queue of what tenants are told.
#[derive(Debug, Clone)]
pub struct NotifyQueue(Queue);

impl NotifyQueue {
    /// Names the queue by its URL.
    pub fn new(aws: &Aws, url: String) -> Self {
        Self(Queue::new(aws, url))
    }
}

#[async_trait]
impl QueueNotify for NotifyQueue {
    async fn queue_notify(&self, request: &NotifyRequest, delay: Option<Duration>) -> Result<(), QueueError> {
        self.0.send(request, delay).await
    }
}

impl ScanQueue {
    /// Names the queue by its URL.
    pub fn new(aws: &Aws, url: String) -> Self {
        Self(Queue::new(aws, url))
    }
}

impl VerifyQueue {
    /// Names the queue by its URL.
    pub fn new(aws: &Aws, url: String) -> Self {
        Self(Queue::new(aws, url))
    }
}

impl InventoryQueue {
    /// Names the queue by its URL.
    pub fn new(aws: &Aws, url: String) -> Self {
        Self(Queue::new(aws, url))
    }
}

#[async_trait]
impl QueueScan for ScanQueue {
    async fn queue_scan(&self, request: &ScanRequest) -> Result<(), QueueError> {
        self.0.send(request, None).await
    }
}

#[async_trait]
impl QueueVerify for VerifyQueue {
    async fn queue_verify(&self, request: &VerifyRequest) -> Result<(), QueueError> {
        self.0.send(request, None).await
    }
}

#[async_trait]
impl QueueVerifyLater for VerifyQueue {
    async fn queue_verify_later(&self, request: &VerifyRequest, delay: Duration) -> Result<(), QueueError> {
        self.0.send(request, Some(delay)).await
    }
}

#[async_trait]
impl QueueInventory for InventoryQueue {
    async fn queue_inventory(&self, request: &InventoryRequest, delay: Duration) -> Result<(), QueueError> {
        self.0.send(request, Some(delay)).await
    }
}

#[derive(Debug, Clone)]
struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    fn new(aws: &Aws, url: String) -> Self {
        Self {
            client: aws.sqs(),
            url,
        }
    }

    async fn send(
        &self,
        request: &(impl Serialize + Sync),
        delay: Option<Duration>,
    ) -> Result<(), QueueError> {
        let body = serde_json::to_string(request).map_err(|error| QueueError(error.into()))?;
        let sent = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .set_delay_seconds(delay.map(|delay| i32::try_from(delay.as_secs()).unwrap_or(i32::MAX)))
            .send()
            .await;
        sent.map(drop)
            .map_err(|error| QueueError(Failure::of("sqs:SendMessage", &error).into()))
    }
}
