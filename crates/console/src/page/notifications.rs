//! Webhooks: the list, the form that makes one, and the page of one with what it was sent.

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode};
use maud::Markup;
use portwarden_core::{
    id::{NotificationId, TenantId, WebhookId},
    image::Cursor,
    problem::Problem,
    store::Revision,
    webhook::{Webhook, WebhookSecret},
};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{
    Shown, live,
    member::{Decision, Member},
    see,
    view::{
        layout::{Pace, Section},
        notifications::{self, Filled, NotificationsPage},
        webhook::{self, WebhookPage},
    },
};
use crate::{
    context::Console,
    error::Refusal,
    notifying::{self, Wanted},
};

type At = Path<(TenantId, WebhookId)>;

/// Returns the path of a webhook's page.
fn root(member: &Member, id: &WebhookId) -> String {
    format!("/tenants/{}/notifications/{id}", member.tenant.id)
}

/// Shows the list.
pub(super) async fn list(
    State(console): State<Console>,
    member: Member,
    headers: HeaderMap,
) -> Result<Response, Shown> {
    let page = all(&console, &member, Filled::default(), None).await?;
    Ok(live::answer(&headers, page))
}

async fn all(
    console: &Console,
    member: &Member,
    filled: Filled<'_>,
    problem: Option<&Problem>,
) -> Result<Markup, Refusal> {
    let webhooks = console.webhooks.list(member.scope()).await?;
    let content = notifications::page(&NotificationsPage {
        tenant: &member.tenant.id,
        csrf: &member.signed_in.csrf(),
        is_administrator: member.is_administrator(),
        webhooks: &webhooks,
        filled,
        problem,
    });
    Ok(member.page("Notifications", Section::Notifications, Pace::Resting, &content))
}

#[derive(Deserialize)]
pub(super) struct Fields {
    name: String,
    url: String,
    /// What of the webhook the form showed, if there was one.
    #[serde(default)]
    seen: Option<u64>,
}

impl Fields {
    fn filled(&self) -> Filled<'_> {
        Filled {
            name: &self.name,
            url: &self.url,
        }
    }
}

/// Makes a webhook, and shows its secret.
pub(super) async fn create(
    State(console): State<Console>,
    Decision { member, fields }: Decision<Fields>,
) -> Result<Response, Shown> {
    match notifying::create(&console, member.scope(), (&fields.name, &fields.url)).await {
        Ok((webhook, secret)) => {
            let page = one(&console, &member, &webhook, Said::Secret(&secret), None).await?;
            Ok((StatusCode::CREATED, page).into_response())
        }
        Err(refusal @ (Refusal::Invalid(_) | Refusal::Conflict(_))) => {
            let page = all(&console, &member, fields.filled(), Some(&refusal.problem())).await?;
            Ok((refusal.status(), page).into_response())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// What a page says beside how its webhook stands.
enum Said<'a> {
    Nothing,
    Secret(&'a WebhookSecret),
    Problem(&'a Problem, Option<Filled<'a>>),
}

/// How many deliveries a page shows.
const DELIVERIES: usize = 20;

async fn one(
    console: &Console,
    member: &Member,
    webhook: &Webhook,
    said: Said<'_>,
    after: Option<&Cursor>,
) -> Result<Markup, Refusal> {
    let listed = console
        .webhooks
        .deliveries(member.scope(), &webhook.id, after, DELIVERIES)
        .await?;
    let (secret, problem, filled) = match said {
        Said::Nothing => (None, None, None),
        Said::Secret(secret) => (Some(secret.expose()), None, None),
        Said::Problem(problem, filled) => (None, Some(problem), filled),
    };
    let root = root(member, &webhook.id);
    let view = WebhookPage {
        tenant: &member.tenant.id,
        csrf: &member.signed_in.csrf(),
        is_administrator: member.is_administrator(),
        webhook,
        secret: secret.as_ref().map(ExposeSecret::expose_secret),
        deliveries: &listed.items,
        next: listed.next.map(|next| format!("{root}?after={next}")),
        is_later: after.is_some(),
        filled,
        problem,
        now: console.clock.now(),
    };
    let pace = if view.is_moving() {
        Pace::Busy
    } else {
        Pace::Resting
    };
    Ok(member.page(&webhook.name, Section::Notifications, pace, &webhook::page(&view)))
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Later {
    after: String,
}

/// Shows a webhook.
pub(super) async fn show(
    State(console): State<Console>,
    member: Member,
    Path((_, id)): At,
    Query(later): Query<Later>,
    headers: HeaderMap,
) -> Result<Response, Shown> {
    let after: Option<Cursor> = match later.after.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Refusal::NotFound)?),
    };
    let webhook = notifying::find(&console, member.scope(), &id).await?;
    let page = one(&console, &member, &webhook, Said::Nothing, after.as_ref()).await?;
    Ok(live::answer(&headers, page))
}

/// Shows a webhook's page again on which something was asked for that cannot be done.
async fn refused(
    console: &Console,
    member: &Member,
    id: &WebhookId,
    refusal: Refusal,
    filled: Option<Filled<'_>>,
) -> Result<Response, Shown> {
    let (problem, filled) = match &refusal {
        Refusal::Invalid(problem) | Refusal::Conflict(problem) => (problem.clone(), filled),
        // The form shows what is there now.
        Refusal::Changed => {
            let message =
                "Somebody else has changed it since you opened the page, and your change is not made.";
            let fix = "Look at what is there now, and change it again if it is still needed.";
            (Problem::new("changed_in_between", message, fix), None)
        }
        _ => return Err(refusal.into()),
    };
    let webhook = notifying::find(console, member.scope(), id).await?;
    let page = one(console, member, &webhook, Said::Problem(&problem, filled), None).await?;
    Ok((refusal.status(), page).into_response())
}

/// Gives a webhook another name or address.
pub(super) async fn edit(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, fields }: Decision<Fields>,
) -> Result<Response, Shown> {
    let wanted = Wanted {
        name: Some(fields.name.clone()),
        url: Some(fields.url.clone()),
        enabled: None,
    };
    let seen = fields.seen.map(Revision);
    match notifying::edit(&console, member.scope(), &id, &wanted, seen).await {
        Ok(_) => Ok(see(&root(&member, &id))),
        Err(refusal) => refused(&console, &member, &id, refusal, Some(fields.filled())).await,
    }
}

#[derive(Deserialize)]
pub(super) struct Switch {
    on: bool,
}

/// Switches a webhook on or off.
pub(super) async fn switch(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, fields }: Decision<Switch>,
) -> Result<Response, Shown> {
    let wanted = Wanted {
        enabled: Some(fields.on),
        ..Wanted::default()
    };
    notifying::edit(&console, member.scope(), &id, &wanted, None).await?;
    Ok(see(&root(&member, &id)))
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Gives a webhook another secret, and shows it.
pub(super) async fn renew_secret(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, .. }: Decision<Nothing>,
) -> Result<Markup, Shown> {
    let secret = notifying::renew_secret(&console, member.scope(), &id).await?;
    let webhook = notifying::find(&console, member.scope(), &id).await?;
    Ok(one(&console, &member, &webhook, Said::Secret(&secret), None).await?)
}

/// Sends a webhook a test.
pub(super) async fn test(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, .. }: Decision<Nothing>,
) -> Result<Response, Shown> {
    notifying::test(&console, member.scope(), &id).await?;
    Ok(see(&format!("{}#deliveries-title", root(&member, &id))))
}

#[derive(Deserialize)]
pub(super) struct Again {
    notification: NotificationId,
}

/// Delivers something again.
pub(super) async fn redeliver(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, fields }: Decision<Again>,
) -> Result<Response, Shown> {
    match notifying::redeliver(&console, member.scope(), &id, &fields.notification).await {
        Ok(_) => Ok(see(&format!("{}#deliveries-title", root(&member, &id)))),
        Err(refusal) => refused(&console, &member, &id, refusal, None).await,
    }
}

/// Shows what removing a webhook means.
pub(super) async fn before_removal(
    State(console): State<Console>,
    member: Member,
    Path((_, id)): At,
) -> Result<Markup, Shown> {
    if !member.is_administrator() {
        return Err(Refusal::Forbidden.into());
    }
    let webhook = notifying::find(&console, member.scope(), &id).await?;
    let content = webhook::removal(&member.tenant.id, &webhook, &member.signed_in.csrf());
    Ok(member.page("Remove", Section::Notifications, Pace::Still, &content))
}

/// Removes a webhook.
pub(super) async fn remove(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, .. }: Decision<Nothing>,
) -> Result<Response, Shown> {
    notifying::remove(&console, member.scope(), &id).await?;
    Ok(see(&format!("/tenants/{}/notifications", member.tenant.id)))
}
