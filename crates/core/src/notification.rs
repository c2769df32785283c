//! What tenants and those who listen on the bus are told, once, whatever fails in between.
//!
//! A notification is written in the same transaction as what it follows from, together with a mark on the image that it is
//! to be told. Whoever wrote it queues it and takes the mark away; whoever comes after a crash finds the mark. The notifier
//! tells it, on the bus and to every [webhook](crate::webhook).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    id::{NotificationId, TenantId, WebhookId},
    scope::TenantScope,
    store::{Condition, Key, Store, StoreError, Write, try_write},
    work::QueueError,
};

/// Something that is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id: the same however often it is told.
    pub id: NotificationId,
    /// What it is about.
    pub kind: NotificationKind,
    /// When it happened.
    pub at: Timestamp,
    /// What is told, as its schema says; `docs/events.md` names the schemas.
    pub data: serde_json::Value,
    /// Whether the bus has it.
    #[serde(default)]
    pub announced: bool,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// What is wrong with an image is not the same as before.
    FindingsChanged,
    /// Nothing happened: somebody tries a webhook.
    Ping,
}

impl NotificationKind {
    /// Returns the `type` in a webhook's body.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::FindingsChanged => "findings.changed",
            Self::Ping => "ping",
        }
    }
}

/// How long a notification is kept, and what is known of its deliveries.
pub const KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How large a notification's data may be as JSON, in bytes: `EventBridge` takes 256 KiB with everything around it.
pub const MAX_DATA: usize = 128 << 10;

/// The notifications of tenants.
#[derive(Clone)]
pub struct Notifications {
    store: Arc<dyn Store>,
}

fn notification_key(scope: &TenantScope, id: &NotificationId) -> Key {
    scope.partition(&["notifications"]).key(&[id.as_str()])
}

/// The mark lies with the image, so that whoever reads the image sees it.
fn mark_key(scope: &TenantScope, image: &Digest, id: &NotificationId) -> Key {
    let partition = scope.partition(&["image", &image.to_string()]);
    partition.key(&[MARK, id.as_str()])
}

const MARK: &str = "untold";

/// Reads the id in a mark's key.
pub(crate) fn marked(sort: &str) -> Option<NotificationId> {
    sort.strip_prefix(MARK)?.strip_prefix('#')?.parse().ok()
}

/// The writes that belong into the transaction of what a notification follows from.
pub(crate) fn note(scope: &TenantScope, image: &Digest, notification: &Notification) -> [Write; 2] {
    let empty = serde_json::Map::new();
    [
        put(scope, notification),
        Write::put(mark_key(scope, image, &notification.id), &empty, Condition::None),
    ]
}

/// Writes a notification that is about no image.
pub(crate) fn put(scope: &TenantScope, notification: &Notification) -> Write {
    let key = notification_key(scope, &notification.id);
    Write::put(key, notification, Condition::None).expiring(notification.at + KEPT)
}

impl Notification {
    /// Writes what a webhook is sent.
    ///
    /// Source: Standard Webhooks, "Payload structure".
    pub fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            timestamp: Timestamp,
            data: &'a serde_json::Value,
        }
        let body = Body {
            r#type: self.kind.event_type(),
            timestamp: self.at,
            data: &self.data,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl Notifications {
    /// Opens the notifications in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Finds a notification that is still kept.
    pub async fn find(
        &self,
        scope: &TenantScope,
        id: &NotificationId,
    ) -> Result<Option<Notification>, StoreError> {
        let stored = self.store.get(&notification_key(scope, id)).await?;
        stored.map(|stored| stored.parse()).transpose()
    }

    /// Marks that the bus has a notification.
    pub async fn mark_announced(
        &self,
        scope: &TenantScope,
        notification: &Notification,
    ) -> Result<(), StoreError> {
        let announced = Notification {
            announced: true,
            ..notification.clone()
        };
        try_write(&*self.store, &[put(scope, &announced)]).await.map(drop)
    }

    /// Queues what is to be told about an image; a crash before the mark is gone leads to a second message, and never to
    /// none.
    pub async fn queue_untold(
        &self,
        scope: &TenantScope,
        image: &Digest,
        untold: &[NotificationId],
        queue: &dyn QueueNotify,
    ) -> Result<(), TellError> {
        for id in untold {
            let request = NotifyRequest::Tell {
                tenant: scope.tenant().clone(),
                notification: id.clone(),
            };
            queue.queue_notify(&request, None).await?;
            let delete = Write::Delete {
                key: mark_key(scope, image, id),
                condition: Condition::None,
            };
            try_write(&*self.store, &[delete]).await?;
        }
        Ok(())
    }
}

/// Why something is not on its way to those who listen.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// A message of the notifier's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum NotifyRequest {
    /// Asks to tell everyone.
    Tell {
        /// Whose notification.
        tenant: TenantId,
        /// Which.
        notification: NotificationId,
    },
    /// Asks for one attempt to deliver to one webhook.
    Deliver {
        /// Whose webhook.
        tenant: TenantId,
        /// Which.
        webhook: WebhookId,
        /// What is delivered.
        notification: NotificationId,
        /// Which attempt this is, counted from 1; each is made once.
        attempt: u32,
    },
}

impl NotifyRequest {
    /// Returns the scope of the tenant that is told.
    pub fn scope(&self) -> TenantScope {
        let (Self::Tell { tenant, .. } | Self::Deliver { tenant, .. }) = self;
        TenantScope::of(tenant.clone())
    }
}

/// Queues work for the notifier.
#[async_trait]
pub trait QueueNotify: Send + Sync {
    /// Queues one request, to be delivered after `delay`, of at most [`LONGEST_DELAY`](crate::work::LONGEST_DELAY); when
    /// this returns, the queue has it.
    async fn queue_notify(&self, request: &NotifyRequest, delay: Option<Duration>) -> Result<(), QueueError>;
}

/// A queue in memory, for tests and the simulation.
#[derive(Debug, Default)]
pub struct MemoryNotifies(std::sync::Mutex<Vec<(NotifyRequest, Duration)>>);

impl MemoryNotifies {
    /// Takes all requests with their delays, first come first.
    pub fn take(&self) -> Vec<(NotifyRequest, Duration)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[async_trait]
impl QueueNotify for MemoryNotifies {
    async fn queue_notify(&self, request: &NotifyRequest, delay: Option<Duration>) -> Result<(), QueueError> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push((request.clone(), delay.unwrap_or_default()));
        Ok(())
    }
}
