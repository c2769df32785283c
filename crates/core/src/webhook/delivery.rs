//! What becomes of telling one webhook one thing: attempts with growing pauses, each made once, until it is taken.
//!
//! An attempt is noted before it is made, for as long as it may take, and its outcome before the next one is queued. So a
//! message that is delivered twice leads to no second attempt, and a crash to the same attempt again, under the same id.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Disabled, DisabledReason, Webhook, Webhooks};
use crate::{
    id::{NotificationId, WebhookId},
    image::{Cursor, List},
    notification::{KEPT, Notification, NotificationKind, NotifyRequest, QueueNotify, TellError, put},
    random::Randomness,
    scope::TenantScope,
    store::{ATTEMPTS, Condition, Key, Partition, Revision, StoreError, Stored, Write, contended, try_write},
    work::LONGEST_DELAY,
};

/// One thing on its way to one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What is delivered; also the `webhook-id` of every attempt.
    pub notification: NotificationId,
    /// What it is about.
    pub kind: NotificationKind,
    /// When it was to be told.
    pub created_at: Timestamp,
    /// How it stands.
    pub state: DeliveryState,
    /// How many attempts were made, ever.
    pub made: u32,
    /// How many attempts were made since somebody asked for it last.
    pub tries: u32,
    /// The last attempts, the newest last.
    pub attempts: Vec<Attempt>,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits for its next attempt.
    Waiting {
        /// When that is made.
        next_at: Timestamp,
    },
    /// An attempt is under way.
    Sending {
        /// When whoever makes it has died, if it is not over.
        until: Timestamp,
    },
    /// It was taken.
    Delivered,
    /// The last attempt failed.
    GivenUp,
    /// The webhook is switched off.
    Cancelled,
}

impl DeliveryState {
    /// Returns a short name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Sending { .. } => "sending",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it was over.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The stable code of why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A status from 200 to 299.
    Taken {
        /// The status.
        status: u16,
    },
    /// Another status.
    Refused {
        /// The status.
        status: u16,
        /// How long the other side wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// No answer.
    Failed {
        /// The stable code of why.
        code: &'static str,
    },
}

/// What an attempt meets when it is to be made.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It is ours to make.
    Ours(Webhook),
    /// It is not time yet, or somebody else makes it or died over it; so long is to be waited, or as long as a queue waits.
    Early(Duration),
    /// It was made before; what follows is to be seen to.
    Made(Followed),
    /// There is nothing to do.
    Dropped,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// Nothing.
    Nothing,
    /// Another attempt.
    Again {
        /// Which.
        attempt: u32,
        /// How long it waits, or as long as a queue waits.
        delay: Duration,
    },
    /// It is given up; the message that makes it again waits for a person.
    GivenUp {
        /// The attempt that would be next.
        attempt: u32,
    },
}

/// What became of the wish to deliver something again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redelivered {
    /// It is queued.
    Queued(Delivery),
    /// An attempt is under way.
    UnderWay,
    /// The webhook is switched off.
    Disabled,
    /// There is no such delivery (any more).
    Missing,
}

/// The pauses before the second attempt and those after it: three days in all.
///
/// Source: Standard Webhooks, "Deliverability and reliability".
const PAUSES: [SignedDuration; 9] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
    SignedDuration::from_hours(14),
    SignedDuration::from_hours(20),
    SignedDuration::from_hours(24),
];

/// How many attempts are remembered: all of one wish.
const MAX_ATTEMPTS: usize = PAUSES.len() + 1;

/// How long whoever is asked to wait is left alone at most.
const LONGEST_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// How long an attempt may be under way before it counts as dead: the notifier's time-out, and a margin.
const LEASE: SignedDuration = SignedDuration::from_secs(60);

/// That something was taken is noted so often, so that a busy webhook is not written all the time.
const NOTED_EVERY: SignedDuration = SignedDuration::from_hours(1);

fn partition(scope: &TenantScope, webhook: &WebhookId) -> Partition {
    scope.partition(&["deliveries", webhook.as_str()])
}

fn key_of(scope: &TenantScope, webhook: &WebhookId, notification: &NotificationId) -> Key {
    partition(scope, webhook).key(&[notification.as_str()])
}

impl Outcome {
    fn is_taken(self) -> bool {
        matches!(self, Self::Taken { .. })
    }

    /// Tells whether the other side wants nothing any more.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Refused { status: 410, .. })
    }

    /// Returns the stable code of why it failed, if it did.
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Taken { .. } => None,
            Self::Refused { status: 410, .. } => Some("gone"),
            Self::Refused {
                status: 300..=399, ..
            } => Some("redirected"),
            Self::Refused { .. } => Some("refused"),
            Self::Failed { code } => Some(code),
        }
    }

    /// Returns the status of the answer, if there was one.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Taken { status } | Self::Refused { status, .. } => Some(status),
            Self::Failed { .. } => None,
        }
    }
}

impl Delivery {
    fn new(notification: &Notification, now: Timestamp) -> Self {
        Self {
            notification: notification.id.clone(),
            kind: notification.kind,
            created_at: now,
            state: DeliveryState::Waiting { next_at: now },
            made: 0,
            tries: 0,
            attempts: Vec::new(),
        }
    }

    fn put(&self, scope: &TenantScope, webhook: &WebhookId, condition: Condition) -> Write {
        let key = key_of(scope, webhook, &self.notification);
        Write::put(key, self, condition).expiring(self.created_at + KEPT)
    }

    fn request(&self, scope: &TenantScope, webhook: &WebhookId) -> NotifyRequest {
        NotifyRequest::Deliver {
            tenant: scope.tenant().clone(),
            webhook: webhook.clone(),
            notification: self.notification.clone(),
            attempt: self.made + 1,
        }
    }

    /// Tells what follows the last attempt that was made.
    fn followed(&self, now: Timestamp) -> Followed {
        let attempt = self.made + 1;
        match self.state {
            DeliveryState::Waiting { next_at } => Followed::Again {
                attempt,
                delay: until(next_at, now),
            },
            // A test is made by somebody who looks at what comes of it.
            DeliveryState::GivenUp if self.kind != NotificationKind::Ping => Followed::GivenUp { attempt },
            _ => Followed::Nothing,
        }
    }

    fn note(&mut self, outcome: Outcome, took: SignedDuration, now: Timestamp, randomness: &dyn Randomness) {
        self.made += 1;
        self.tries += 1;
        self.attempts.push(Attempt {
            at: now,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(0),
            status: outcome.status(),
            code: outcome.code().map(str::to_owned),
        });
        if self.attempts.len() > MAX_ATTEMPTS {
            self.attempts.remove(0);
        }
        let pause = PAUSES.get(self.tries as usize - 1);
        self.state = match (outcome, pause) {
            (Outcome::Taken { .. }, _) => DeliveryState::Delivered,
            _ if outcome.is_gone() => DeliveryState::Cancelled,
            (_, Some(pause)) if self.kind != NotificationKind::Ping => {
                let asked = match outcome {
                    Outcome::Refused {
                        retry_after: Some(wait),
                        ..
                    } => SignedDuration::try_from(wait).unwrap_or(LONGEST_RETRY_AFTER),
                    _ => SignedDuration::ZERO,
                };
                let pause = with_jitter(*pause, randomness).max(asked.min(LONGEST_RETRY_AFTER));
                DeliveryState::Waiting { next_at: now + pause }
            }
            _ => DeliveryState::GivenUp,
        };
    }
}

/// Adds up to a fifth, so that what failed together does not come together again.
fn with_jitter(pause: SignedDuration, randomness: &dyn Randomness) -> SignedDuration {
    let mut byte = [0];
    randomness.fill(&mut byte);
    pause + pause * i32::from(byte[0]) / (5 * 256)
}

/// How long is to be waited until a time; a queue waits for a quarter of an hour at most.
fn until(time: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(time.duration_since(now)).unwrap_or_default();
    // Whole seconds, and never too early.
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    Duration::from_secs(seconds).min(LONGEST_DELAY)
}

impl Webhooks {
    /// Puts a notification on its way to every webhook of a tenant; whoever repeats it repeats nothing else.
    pub async fn deliver(
        &self,
        scope: &TenantScope,
        notification: &Notification,
        now: Timestamp,
        queue: &dyn QueueNotify,
    ) -> Result<usize, TellError> {
        let mut queued = 0;
        for webhook in self.list(scope).await? {
            if !webhook.is_enabled() {
                continue;
            }
            let new = Delivery::new(notification, now);
            let is_new = try_write(&*self.store, &[new.put(scope, &webhook.id, Condition::Absent)]).await?;
            let is_begun = !is_new
                && self
                    .delivery(scope, &webhook.id, &notification.id)
                    .await?
                    .is_none_or(|(known, _)| known.made > 0);
            if !is_begun {
                queue.queue_notify(&new.request(scope, &webhook.id), None).await?;
                queued += 1;
            }
        }
        Ok(queued)
    }

    /// Puts a test on its way to a webhook, switched off or not, if there is such a one.
    pub async fn test(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        now: Timestamp,
        randomness: &dyn Randomness,
        queue: &dyn QueueNotify,
    ) -> Result<Option<Delivery>, TellError> {
        let Some(webhook) = self.find(scope, id).await? else {
            return Ok(None);
        };
        let mut random = [0; 16];
        randomness.fill(&mut random);
        let notification = NotificationId::of(now, &[id.as_str(), &hex::encode(random)]);
        let notification = Notification {
            data: json!({
                "id": notification, "at": now, "tenant": scope.tenant(), "webhook": id, "name": webhook.name,
            }),
            id: notification,
            kind: NotificationKind::Ping,
            at: now,
            announced: true,
        };
        let delivery = Delivery::new(&notification, now);
        let writes = [
            put(scope, &notification),
            delivery.put(scope, id, Condition::Absent),
        ];
        try_write(&*self.store, &writes).await?;
        queue.queue_notify(&delivery.request(scope, id), None).await?;
        Ok(Some(delivery))
    }

    /// Makes a delivery again, with all its attempts, or the next one at once.
    pub async fn redeliver(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        notification: &NotificationId,
        now: Timestamp,
        queue: &dyn QueueNotify,
    ) -> Result<Redelivered, TellError> {
        let Some(webhook) = self.find(scope, id).await? else {
            return Ok(Redelivered::Missing);
        };
        for _ in 0..ATTEMPTS {
            let Some((mut delivery, revision)) = self.delivery(scope, id, notification).await? else {
                return Ok(Redelivered::Missing);
            };
            if !webhook.is_enabled() && delivery.kind != NotificationKind::Ping {
                return Ok(Redelivered::Disabled);
            }
            if matches!(delivery.state, DeliveryState::Sending { until } if until > now) {
                return Ok(Redelivered::UnderWay);
            }
            delivery.state = DeliveryState::Waiting { next_at: now };
            delivery.tries = 0;
            let write = delivery.put(scope, id, Condition::Unchanged(revision));
            if try_write(&*self.store, &[write]).await? {
                queue.queue_notify(&delivery.request(scope, id), None).await?;
                return Ok(Redelivered::Queued(delivery));
            }
        }
        Err(contended().into())
    }

    /// Returns the deliveries to a webhook that are still kept, the newest first.
    pub async fn deliveries(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<Delivery>, StoreError> {
        let partition = partition(scope, id);
        let after = after.map(|cursor| cursor.behind(&partition));
        let page = self.store.query(&partition, "", after.as_ref(), limit).await?;
        let next = page.items.last().filter(|_| page.more);
        Ok(List {
            items: page.items.iter().map(Stored::parse).collect::<Result<_, _>>()?,
            next: next.map(|item| Cursor::at(&item.key)),
        })
    }

    /// Takes up an attempt, if it is to be made now and by us.
    pub async fn begin(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        notification: &NotificationId,
        attempt: u32,
        now: Timestamp,
    ) -> Result<Begun, StoreError> {
        for _ in 0..ATTEMPTS {
            let webhook = self.find(scope, id).await?;
            let delivery = self.delivery(scope, id, notification).await?;
            let (Some(webhook), Some((mut delivery, revision))) = (webhook, delivery) else {
                return Ok(Begun::Dropped);
            };
            if attempt == delivery.made && attempt > 0 {
                return Ok(Begun::Made(delivery.followed(now)));
            }
            if attempt != delivery.made + 1 {
                return Ok(Begun::Dropped);
            }
            match delivery.state {
                DeliveryState::Waiting { next_at } if next_at > now => {
                    return Ok(Begun::Early(until(next_at, now)));
                }
                DeliveryState::Sending { until: over } if over > now => {
                    return Ok(Begun::Early(until(over, now)));
                }
                DeliveryState::Delivered | DeliveryState::Cancelled => return Ok(Begun::Dropped),
                // Somebody took it out of the dead letters.
                DeliveryState::GivenUp => delivery.tries = 0,
                DeliveryState::Waiting { .. } | DeliveryState::Sending { .. } => {}
            }
            let is_off = !webhook.is_enabled() && delivery.kind != NotificationKind::Ping;
            delivery.state = if is_off {
                DeliveryState::Cancelled
            } else {
                DeliveryState::Sending { until: now + LEASE }
            };
            let write = delivery.put(scope, id, Condition::Unchanged(revision));
            if try_write(&*self.store, &[write]).await? {
                return Ok(if is_off {
                    Begun::Dropped
                } else {
                    Begun::Ours(webhook)
                });
            }
        }
        Err(contended())
    }

    /// Notes what came of an attempt that was begun at a time, and tells what follows.
    ///
    /// Who answers that he is gone, or takes nothing of all attempts, is sent nothing any more.
    pub async fn finish(
        &self,
        scope: &TenantScope,
        webhook: &Webhook,
        (notification, attempt): (&NotificationId, u32),
        (outcome, began_at): (Outcome, Timestamp),
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<Followed, StoreError> {
        if outcome.is_gone() {
            self.disable(scope, &webhook.id, DisabledReason::Gone, now)
                .await?;
        }
        for _ in 0..ATTEMPTS {
            let Some((mut delivery, revision)) = self.delivery(scope, &webhook.id, notification).await?
            else {
                return Ok(Followed::Nothing);
            };
            // Somebody else took us for dead and made it, too.
            if delivery.made + 1 != attempt {
                return Ok(delivery.followed(now));
            }
            delivery.note(outcome, now.duration_since(began_at), now, randomness);
            let write = delivery.put(scope, &webhook.id, Condition::Unchanged(revision));
            if !try_write(&*self.store, &[write]).await? {
                continue;
            }
            let followed = delivery.followed(now);
            if outcome.is_taken() {
                self.note_taken(scope, webhook, now).await?;
            } else if matches!(followed, Followed::GivenUp { .. }) {
                self.give_up(scope, &webhook.id, delivery.created_at, now).await?;
            }
            return Ok(followed);
        }
        Err(contended())
    }

    async fn delivery(
        &self,
        scope: &TenantScope,
        webhook: &WebhookId,
        notification: &NotificationId,
    ) -> Result<Option<(Delivery, Revision)>, StoreError> {
        let stored = self.store.get(&key_of(scope, webhook, notification)).await?;
        stored
            .map(|stored| Ok((stored.parse()?, stored.revision)))
            .transpose()
    }

    async fn note_taken(
        &self,
        scope: &TenantScope,
        webhook: &Webhook,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let is_noted = webhook
            .delivered_at
            .is_some_and(|noted| now.duration_since(noted) < NOTED_EVERY);
        if !is_noted {
            self.change(scope, &webhook.id, |webhook| webhook.delivered_at = Some(now))
                .await?;
        }
        Ok(())
    }

    async fn give_up(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let webhook = self.find(scope, id).await?;
        let takes_others = webhook
            .and_then(|webhook| webhook.delivered_at)
            .is_some_and(|at| at + NOTED_EVERY >= since);
        if !takes_others {
            self.disable(scope, id, DisabledReason::Unreachable, now).await?;
        }
        Ok(())
    }

    async fn disable(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        reason: DisabledReason,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(scope, id, |webhook| {
            webhook.disabled.get_or_insert(Disabled { at: now, reason });
        })
        .await
        .map(drop)
    }
}
