//! What administrators do with webhooks: the one way in which it is done, for programs and on pages.

use portwarden_core::{
    id::{NotificationId, WebhookId},
    name::parse_name,
    scope::TenantScope,
    store::Revision,
    webhook::{
        CreateError, Delivery, Edited, Redelivered, Webhook, WebhookChange, WebhookSecret, WebhookUrl,
    },
};

use crate::{context::Context, error::Refusal};

/// What of a webhook is to be changed, as it came.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// What people call it.
    pub(crate) name: Option<String>,
    /// Where it is.
    pub(crate) url: Option<String>,
    /// Whether it is sent anything.
    pub(crate) enabled: Option<bool>,
}

/// Makes a webhook; its secret is shown now or never.
pub(crate) async fn create(
    console: &Context,
    scope: &TenantScope,
    (name, url): (&str, &str),
) -> Result<(Webhook, WebhookSecret), Refusal> {
    let name = parse_name(name).map_err(Refusal::name)?;
    let url = parse_url(console, url)?;
    let key = console.webhook_key.webhook_key().await?;
    let (now, randomness) = (console.clock.now(), &*console.randomness);
    let made = console
        .webhooks
        .create(scope, (&name, &url), &key, now, randomness);
    made.await.map_err(|error| match error {
        CreateError::Store(error) => error.into(),
        CreateError::Name(error) => Refusal::name(error),
        CreateError::TooMany => {
            let message = format!("It is not made: {error}.");
            Refusal::conflict(
                "webhooks_full",
                message,
                "Remove a webhook that is not needed any more.",
            )
        }
    })
}

/// Takes an address; beside an emulator it may be on this machine, too.
fn parse_url(console: &Context, text: &str) -> Result<WebhookUrl, Refusal> {
    let text = text.trim();
    let parsed = if console.place.is_emulated {
        WebhookUrl::parse_beside_emulator(text)
    } else {
        WebhookUrl::parse(text)
    };
    parsed.map_err(|error| {
        let message = format!("The address is not taken: {error}.");
        let fix = "Name an address that anybody can reach, such as https://hooks.example.com/portwarden.";
        Refusal::invalid("webhook_url_invalid", message, fix)
    })
}

/// Finds a webhook.
pub(crate) async fn find(console: &Context, scope: &TenantScope, id: &WebhookId) -> Result<Webhook, Refusal> {
    let found = console.webhooks.find(scope, id).await?;
    found.ok_or(Refusal::NotFound)
}

/// Changes a webhook, if nobody has since it was seen.
pub(crate) async fn edit(
    console: &Context,
    scope: &TenantScope,
    id: &WebhookId,
    wanted: &Wanted,
    seen: Option<Revision>,
) -> Result<Webhook, Refusal> {
    let name = wanted.name.as_deref().map(parse_name).transpose();
    let url = wanted.url.as_deref().map(|url| parse_url(console, url));
    let wanted = WebhookChange {
        name: name.map_err(Refusal::name)?,
        url: url.transpose()?,
        enabled: wanted.enabled,
    };
    let now = console.clock.now();
    match console.webhooks.edit(scope, id, &wanted, seen, now).await? {
        Edited::Done(webhook) => Ok(webhook),
        Edited::Changed => Err(Refusal::Changed),
        Edited::Missing => Err(Refusal::NotFound),
    }
}

/// Gives a webhook another secret, which is shown now or never.
pub(crate) async fn renew_secret(
    console: &Context,
    scope: &TenantScope,
    id: &WebhookId,
) -> Result<WebhookSecret, Refusal> {
    let key = console.webhook_key.webhook_key().await?;
    let now = console.clock.now();
    let renewed = console.webhooks.renew_secret(scope, id, &key, now).await?;
    renewed.ok_or(Refusal::NotFound)
}

/// Removes a webhook for good.
pub(crate) async fn remove(console: &Context, scope: &TenantScope, id: &WebhookId) -> Result<(), Refusal> {
    let removed = console.webhooks.remove(scope, id).await?;
    removed.then_some(()).ok_or(Refusal::NotFound)
}

/// Puts a test on its way to a webhook.
pub(crate) async fn test(
    console: &Context,
    scope: &TenantScope,
    id: &WebhookId,
) -> Result<Delivery, Refusal> {
    let (now, randomness) = (console.clock.now(), &*console.randomness);
    let queue = &*console.notifications;
    let queued = console.webhooks.test(scope, id, now, randomness, queue).await?;
    queued.ok_or(Refusal::NotFound)
}

/// Makes a delivery again, at once.
pub(crate) async fn redeliver(
    console: &Context,
    scope: &TenantScope,
    id: &WebhookId,
    notification: &NotificationId,
) -> Result<Delivery, Refusal> {
    let (now, queue) = (console.clock.now(), &*console.notifications);
    let queued = console
        .webhooks
        .redeliver(scope, id, notification, now, queue)
        .await?;
    match queued {
        Redelivered::Queued(delivery) => Ok(delivery),
        Redelivered::UnderWay => Err(Refusal::conflict(
            "delivery_under_way",
            "It is being sent at this moment.",
            "Look again in a minute.",
        )),
        Redelivered::Disabled => Err(Refusal::conflict(
            "webhook_disabled",
            "The webhook is switched off.",
            "Switch it on, and send it again then.",
        )),
        Redelivered::Missing => Err(Refusal::NotFound),
    }
}
