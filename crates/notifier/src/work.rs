//! What a message asks for.

use portwarden_core::{
    announce::Announcement,
    id::{NotificationId, WebhookId},
    notification::{NotificationKind, NotifyRequest},
    scope::TenantScope,
    webhook::{Begun, Followed, Outcome, Signed},
};

use crate::{Context, Failure};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was told on the bus, and is on its way to so many webhooks.
    Told {
        /// How many.
        webhooks: usize,
    },
    /// An attempt was made.
    Attempted {
        /// What came of it.
        outcome: Outcome,
        /// What follows.
        followed: Followed,
    },
    /// It is not time yet.
    Waiting,
    /// The attempt was made before; what follows it is queued again.
    Repeated,
    /// There is nothing to do: the webhook is gone or off, or what was to be told is not kept any more.
    Dropped,
}

/// Does what a message asks.
pub async fn work(context: &Context, request: &NotifyRequest) -> Result<Done, Failure> {
    let scope = request.scope();
    match request {
        NotifyRequest::Tell { notification, .. } => tell(context, &scope, notification).await,
        NotifyRequest::Deliver {
            webhook,
            notification,
            attempt,
            ..
        } => {
            let work = Attempting {
                context,
                scope,
                webhook,
                notification,
                attempt: *attempt,
            };
            work.attempt().await
        }
    }
}

/// Tells the bus first: whoever listens there hears it before anything that a webhook leads to.
async fn tell(context: &Context, scope: &TenantScope, id: &NotificationId) -> Result<Done, Failure> {
    let Some(notification) = context.notifications.find(scope, id).await? else {
        return Ok(Done::Dropped);
    };
    if !notification.announced {
        let announcement = match notification.kind {
            NotificationKind::FindingsChanged => {
                Some(Announcement::FindingsChanged(notification.data.clone()))
            }
            NotificationKind::Ping => None,
        };
        if let Some(announcement) = announcement {
            context.outside.bus.announce(&announcement).await?;
        }
        context.notifications.mark_announced(scope, &notification).await?;
    }
    let now = context.outside.clock.now();
    let webhooks = context
        .webhooks
        .deliver(scope, &notification, now, &*context.outside.queue)
        .await?;
    Ok(Done::Told { webhooks })
}

/// One attempt.
struct Attempting<'a> {
    context: &'a Context,
    scope: TenantScope,
    webhook: &'a WebhookId,
    notification: &'a NotificationId,
    attempt: u32,
}

impl Attempting<'_> {
    async fn attempt(&self) -> Result<Done, Failure> {
        let Self {
            context,
            scope,
            webhook,
            notification: id,
            attempt,
        } = self;
        // All that could fail by our own fault comes before it is noted that the attempt is made.
        let Some(notification) = context.notifications.find(scope, id).await? else {
            return Ok(Done::Dropped);
        };
        let outside = &context.outside;
        let key = outside.key.webhook_key().await?;
        let began_at = outside.clock.now();
        let begun = context
            .webhooks
            .begin(scope, webhook, id, *attempt, began_at)
            .await?;
        let webhook = match begun {
            Begun::Ours(webhook) => webhook,
            Begun::Early(delay) => {
                outside
                    .queue
                    .queue_notify(&self.request(*attempt), Some(delay))
                    .await?;
                return Ok(Done::Waiting);
            }
            Begun::Made(followed) => {
                self.follow(followed).await?;
                return Ok(Done::Repeated);
            }
            Begun::Dropped => return Ok(Done::Dropped),
        };
        let body = notification.body();
        let signed = Signed::new(id, began_at, &body, &webhook.secrets(scope, &key, began_at));
        let outcome = outside.post.post(&webhook.url, &signed, body).await;
        let followed = context
            .webhooks
            .finish(
                scope,
                &webhook,
                (id, *attempt),
                (outcome, began_at),
                outside.clock.now(),
                &*outside.randomness,
            )
            .await?;
        self.follow(followed).await?;
        Ok(Done::Attempted { outcome, followed })
    }

    async fn follow(&self, followed: Followed) -> Result<(), Failure> {
        let outside = &self.context.outside;
        match followed {
            Followed::Nothing => {}
            Followed::Again { attempt, delay } => {
                outside
                    .queue
                    .queue_notify(&self.request(attempt), Some(delay))
                    .await?;
            }
            Followed::GivenUp { attempt } => {
                outside
                    .dead_letters
                    .queue_notify(&self.request(attempt), None)
                    .await?;
            }
        }
        Ok(())
    }

    fn request(&self, attempt: u32) -> NotifyRequest {
        NotifyRequest::Deliver {
            tenant: self.scope.tenant().clone(),
            webhook: self.webhook.clone(),
            notification: self.notification.clone(),
            attempt,
        }
    }
}
