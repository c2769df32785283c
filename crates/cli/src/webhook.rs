//! Webhooks of tenants: where they are, and what became of what they were sent.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::{NotificationId, TenantId, WebhookId},
    random::OsRandomness,
    webhook::{CreateError, Delivery, DeliveryState, Redelivered, Webhook, Webhooks},
};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::{
    failure::{Ending, Failure},
    output::Output,
    stack::StackChoice,
    tenant,
    text::{Column, table},
};

/// Makes, tests and removes the webhooks that tell a tenant what changed.
#[derive(Debug, Args)]
pub(crate) struct WebhookArgs {
    #[command(subcommand)]
    command: WebhookCommand,
    #[command(flatten)]
    stack: StackChoice,
    /// Prints JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// Makes a webhook and prints its secret, once
    Add {
        /// Where it is: https, a public name, port 443 or 8443
        url: String,
        /// What people call it
        #[arg(long)]
        name: String,
        /// Which tenant
        #[arg(long)]
        tenant: TenantId,
    },
    /// Lists a tenant's webhooks
    List {
        /// Which tenant
        #[arg(long)]
        tenant: TenantId,
    },
    /// Sends a ping; `deliveries` says what came of it
    Test(Which),
    /// Lists what it was sent in the last two weeks, the newest first
    Deliveries {
        #[command(flatten)]
        which: Which,
        /// How many are shown
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Sends something again, at once
    Redeliver {
        #[command(flatten)]
        which: Which,
        /// What, as `deliveries` names it
        notification: NotificationId,
    },
    /// Switches it on again
    Enable(Which),
    /// Switches it off
    Disable(Which),
    /// Prints a new secret, once; the old one signs beside it for a day
    RenewSecret(Which),
    /// Removes it for good
    Remove(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Which webhook
    webhook: WebhookId,
    /// Which tenant
    #[arg(long)]
    tenant: TenantId,
}

impl WebhookCommand {
    fn tenant(&self) -> &TenantId {
        match self {
            Self::Add { tenant, .. }
            | Self::List { tenant }
            | Self::Test(Which { tenant, .. })
            | Self::Deliveries {
                which: Which { tenant, .. },
                ..
            }
            | Self::Redeliver {
                which: Which { tenant, .. },
                ..
            }
            | Self::Enable(Which { tenant, .. })
            | Self::Disable(Which { tenant, .. })
            | Self::RenewSecret(Which { tenant, .. })
            | Self::Remove(Which { tenant, .. }) => tenant,
        }
    }
}

/// A webhook with its secret, which is in here and nowhere else, once.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a WebhookId,
    secret: &'a str,
}

impl WebhookArgs {
    /// Does what the subcommand says.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        let Self {
            command,
            stack: choice,
            json,
        } = self;
        let stack = choice.open().await?;
        let tenant = command.tenant().clone();
        let (_, scope) = tenant::find(&stack, &tenant).await?;
        let webhooks = Webhooks::new(stack.store.clone());
        let now = SystemClock.now();
        let missing = |webhook: &WebhookId| {
            let fix = format!("`portwarden webhook list --tenant {tenant}` lists the webhooks");
            Failure::new(
                "webhook_missing",
                format!("tenant {tenant} has no webhook {webhook}"),
                fix,
            )
        };
        match command {
            WebhookCommand::Add { url, name, .. } => {
                let url = stack.webhook_url(&url)?;
                let key = stack.webhook_key().await?;
                let made = webhooks
                    .create(&scope, (&name, &url), &key, now, &OsRandomness)
                    .await;
                let (webhook, secret) = made.map_err(refused)?;
                show(&webhook.id, secret.expose().expose_secret(), json)?;
            }
            WebhookCommand::List { .. } => {
                let all = webhooks.list(&scope).await?;
                print(&all, json, list)?;
            }
            WebhookCommand::Test(Which { webhook, .. }) => {
                let queue = stack.notifies()?;
                let test = webhooks
                    .test(&scope, &webhook, now, &OsRandomness, &queue)
                    .await?;
                let test = test.ok_or_else(|| missing(&webhook))?;
                print(&[test], json, deliveries)?;
            }
            WebhookCommand::Deliveries {
                which: Which { webhook, .. },
                limit,
            } => {
                if webhooks.find(&scope, &webhook).await?.is_none() {
                    return Err(missing(&webhook));
                }
                let page = webhooks.deliveries(&scope, &webhook, None, limit.into()).await?;
                print(&page.items, json, deliveries)?;
            }
            WebhookCommand::Redeliver {
                which: Which { webhook, .. },
                notification,
            } => {
                let queue = stack.notifies()?;
                let queued = webhooks
                    .redeliver(&scope, &webhook, &notification, now, &queue)
                    .await?;
                print(&[queued_or(queued, &webhook, &tenant)?], json, deliveries)?;
            }
            WebhookCommand::Enable(Which { webhook, .. }) => {
                let changed = webhooks.enable(&scope, &webhook, true, now).await?;
                print(&[changed.ok_or_else(|| missing(&webhook))?], json, list)?;
            }
            WebhookCommand::Disable(Which { webhook, .. }) => {
                let changed = webhooks.enable(&scope, &webhook, false, now).await?;
                print(&[changed.ok_or_else(|| missing(&webhook))?], json, list)?;
            }
            WebhookCommand::RenewSecret(Which { webhook, .. }) => {
                let key = stack.webhook_key().await?;
                let secret = webhooks.renew_secret(&scope, &webhook, &key, now).await?;
                let secret = secret.ok_or_else(|| missing(&webhook))?;
                show(&webhook, secret.expose().expose_secret(), json)?;
            }
            WebhookCommand::Remove(Which { webhook, .. }) => {
                if !webhooks.remove(&scope, &webhook).await? {
                    return Err(missing(&webhook));
                }
            }
        }
        Ok(Ending::Done)
    }
}

fn refused(error: CreateError) -> Failure {
    match error {
        CreateError::Store(error) => error.into(),
        CreateError::Name(error) => Failure::new("name_malformed", error.to_string(), "give another --name"),
        CreateError::TooMany => Failure::new(
            "webhooks_too_many",
            error.to_string(),
            "remove one that is not needed: portwarden webhook remove",
        ),
    }
}

fn queued_or(queued: Redelivered, webhook: &WebhookId, tenant: &TenantId) -> Result<Delivery, Failure> {
    match queued {
        Redelivered::Queued(delivery) => Ok(delivery),
        Redelivered::UnderWay => Err(Failure::new(
            "delivery_under_way",
            "it is being sent at this moment",
            "look again in a minute: portwarden webhook deliveries",
        )),
        Redelivered::Disabled => Err(Failure::new(
            "webhook_disabled",
            format!("webhook {webhook} is switched off"),
            format!("portwarden webhook enable {webhook} --tenant {tenant}"),
        )),
        Redelivered::Missing => Err(Failure::new(
            "delivery_missing",
            format!("webhook {webhook} has no such delivery, or not any more"),
            format!("`portwarden webhook deliveries {webhook} --tenant {tenant}` lists them"),
        )),
    }
}

fn show(id: &WebhookId, secret: &str, json: bool) -> Result<(), Failure> {
    if json {
        return Output::Stdout.write_json(&Shown { id, secret });
    }
    let text = format!("Webhook {id} is made. Its secret, which is shown this once:\n  {secret}\n");
    Output::Stdout.write(text.as_bytes())
}

fn print<T: Serialize>(items: &[T], json: bool, table: fn(&[T]) -> String) -> Result<(), Failure> {
    if json {
        Output::Stdout.write_json(&items)
    } else {
        Output::Stdout.write(table(items).as_bytes())
    }
}

fn list(webhooks: &[Webhook]) -> String {
    let state = |webhook: &Webhook| match webhook.disabled {
        Some(disabled) => format!("off: {}", disabled.reason.name()),
        None => "on".to_owned(),
    };
    let row = |webhook: &Webhook| {
        [
            webhook.id.to_string(),
            state(webhook),
            webhook.delivered_at.map_or_else(|| "never".to_owned(), seconds),
            webhook.name.clone(),
            webhook.url.to_string(),
        ]
    };
    let rows: Vec<_> = webhooks.iter().map(row).collect();
    let columns = [
        Column::new("WEBHOOK"),
        Column::new("STATE"),
        Column::new("LAST TAKEN"),
        Column::up_to("NAME", 30),
        Column::up_to("URL", 60),
    ];
    table(&columns, &rows)
}

fn deliveries(deliveries: &[Delivery]) -> String {
    let state = |delivery: &Delivery| match delivery.state {
        DeliveryState::Waiting { next_at } => format!("next at {}", seconds(next_at)),
        DeliveryState::Sending { .. } => "under way".to_owned(),
        DeliveryState::Delivered => "delivered".to_owned(),
        DeliveryState::GivenUp => "given up".to_owned(),
        DeliveryState::Cancelled => "cancelled".to_owned(),
    };
    let last = |delivery: &Delivery| {
        let last = delivery.attempts.last();
        last.map_or_else(String::new, |attempt| {
            let status = attempt.status.map(|status| status.to_string());
            let code = attempt.code.clone();
            [status, code].into_iter().flatten().collect::<Vec<_>>().join(" ")
        })
    };
    let row = |delivery: &Delivery| {
        [
            delivery.notification.to_string(),
            delivery.kind.event_type().to_owned(),
            seconds(delivery.created_at),
            delivery.made.to_string(),
            last(delivery),
            state(delivery),
        ]
    };
    let rows: Vec<_> = deliveries.iter().map(row).collect();
    let columns = [
        Column::new("NOTIFICATION"),
        Column::new("TYPE"),
        Column::new("AT"),
        Column::new("ATTEMPTS"),
        Column::new("LAST ANSWER"),
        Column::new("STATE"),
    ];
    table(&columns, &rows)
}

fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}
