//! One webhook: how it stands, what can be done with it, and what became of what it was sent.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use portwarden_core::{
    id::TenantId,
    problem::Problem,
    webhook::{Attempt, Delivery, DeliveryState, Disabled, DisabledReason, OLD_SECRET_SIGNS, Webhook},
};

use super::{
    element::{self, Mark, badge, copyable, shown, time},
    notifications::{Filled, fields, state},
};

/// What the page shows.
#[derive(Debug, Clone)]
pub struct WebhookPage<'a> {
    /// Whose webhook it is.
    pub tenant: &'a TenantId,
    /// What forms must carry.
    pub csrf: &'a str,
    /// Whether the reader may change something.
    pub is_administrator: bool,
    /// The webhook.
    pub webhook: &'a Webhook,
    /// What signs its messages, where it was made just now: it is shown this once.
    pub secret: Option<&'a str>,
    /// What it was sent, the newest first.
    pub deliveries: &'a [Delivery],
    /// Where the next page of that is, if there is one.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
    /// What was filled in before, if it was refused.
    pub filled: Option<Filled<'a>>,
    /// Why something was refused.
    pub problem: Option<&'a Problem>,
    /// Now.
    pub now: Timestamp,
}

/// An attempt that is further away than this is worth no look every other second.
const SOON: SignedDuration = SignedDuration::from_secs(30);

impl WebhookPage<'_> {
    /// Returns where the webhook's page is.
    pub fn root(&self) -> String {
        format!("/tenants/{}/notifications/{}", self.tenant, self.webhook.id)
    }

    /// Tells whether something is about to happen.
    pub fn is_moving(&self) -> bool {
        self.deliveries.iter().any(|delivery| match delivery.state {
            DeliveryState::Sending { .. } => true,
            DeliveryState::Waiting { next_at } => next_at <= self.now + SOON,
            _ => false,
        })
    }
}

/// Shows the page.
pub fn page(view: &WebhookPage<'_>) -> Markup {
    let webhook = view.webhook;
    html! {
        nav.crumbs aria-label="Breadcrumb" { a href={ "/tenants/" (view.tenant) "/notifications" } { "Notifications" } }
        div.title { h1 { (shown(&webhook.name)) } }
        @if view.problem.is_some() || view.secret.is_some() {
            // What a form was answered with: loading it again shows the webhook, and sends nothing again.
            div data-address=(view.root()) {
                @if let Some(problem) = view.problem { div role="alert" { (element::problem(problem)) } }
                @if let Some(secret) = view.secret { (made(secret, webhook.generation)) }
            }
        }
        div #state.card data-live {
            (facts(view))
            @if view.is_administrator { (actions(view)) }
        }
        section aria-labelledby="deliveries-title" {
            h2 #deliveries-title { "What it was sent" }
            div #deliveries data-live { (deliveries(view)) }
        }
        @if view.is_administrator { (settings(view)) }
    }
}

/// Shows a secret, once.
fn made(secret: &str, generation: u32) -> Markup {
    html! {
        div.turn-card role="status" {
            p {
                strong { "Copy the secret now: it is shown this once. " }
                "Your server checks by it that a message is ours; it is signed as Standard Webhooks says."
                @if generation > 1 { " The old secret signs, too, for 24 hours." }
            }
            p { (copyable("the secret", secret)) }
        }
    }
}

fn facts(view: &WebhookPage<'_>) -> Markup {
    let webhook = view.webhook;
    let old_until = webhook
        .renewed_at
        .map(|at| at + OLD_SECRET_SIGNS)
        .filter(|until| *until > view.now);
    html! {
        dl.facts {
            dt { "State" }
            dd {
                (state(webhook))
                @if let Some(Disabled { at, reason }) = webhook.disabled { " since " (time(at)) ". " (why(reason)) }
            }
            dt { "Address" }
            dd { (copyable("the address", webhook.url.as_str())) }
            dt { "Last message taken" }
            dd { @match webhook.delivered_at { Some(at) => (time(at)), None => span.dim { "none yet" } } }
            @if let Some(renewed) = webhook.renewed_at {
                dt { "Secret" }
                dd {
                    "replaced " (time(renewed))
                    @if let Some(until) = old_until { "; the old one stops signing " (time(until)) }
                }
            }
        }
    }
}

fn why(reason: DisabledReason) -> &'static str {
    match reason {
        DisabledReason::Asked => "Somebody has switched it off.",
        DisabledReason::Gone => {
            "It answered 410, which says that it wants nothing any more. If it does, mend it, send a test, and switch it on."
        }
        DisabledReason::Unreachable => {
            "A message was given up after three days, and no other was taken. Mend it, send a test, and switch it on."
        }
    }
}

fn post(view: &WebhookPage<'_>, path: &str, fields: &[(&str, &str)], button: &Markup) -> Markup {
    html! {
        form method="post" action={ (view.root()) (path) } {
            input type="hidden" name="csrf" value=(view.csrf);
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            (button)
        }
    }
}

fn actions(view: &WebhookPage<'_>) -> Markup {
    let is_on = view.webhook.is_enabled();
    let quiet = |words: &str| html! { button.quiet type="submit" { (words) } };
    html! {
        div.actions {
            (post(view, "/test", &[], &html! { button type="submit" { "Send a test" } }))
            (post(view, "/switch", &[("on", if is_on { "false" } else { "true" })], &quiet(if is_on { "Switch it off" } else { "Switch it on" })))
            (post(view, "/secret", &[], &quiet("Replace the secret")))
            a.button.quiet href={ (view.root()) "/remove" } { "Remove…" }
        }
    }
}

fn deliveries(view: &WebhookPage<'_>) -> Markup {
    html! {
        @if view.deliveries.is_empty() {
            p.dim { @if view.is_later { "There is nothing more." } @else { "Nothing in the last two weeks." } }
        } @else {
            table.rows {
                thead { tr {
                    th scope="col" { "Message" } th scope="col" { "Told" } th scope="col" { "State" } th scope="col" { "Last attempt" }
                    @if view.is_administrator { th scope="col" { span.unseen { "What can be done" } } }
                } }
                tbody { @for delivery in view.deliveries { (one(view, delivery)) } }
            }
        }
        nav.pager aria-label="Pages" {
            @if view.is_later { a.button.quiet href=(view.root()) { "Newest" } }
            @if let Some(next) = &view.next { a.button.quiet rel="next" href=(next) { "Older" } }
        }
    }
}

fn one(view: &WebhookPage<'_>, delivery: &Delivery) -> Markup {
    let id = delivery.notification.as_str();
    let can_be_repeated = match delivery.state {
        DeliveryState::Sending { .. } => false,
        DeliveryState::Waiting { next_at } => next_at > view.now + SOON,
        _ => true,
    };
    html! {
        tr {
            th scope="row" { (delivery.kind.event_type()) div.dim { code { (id) } } }
            td data-label="Told" { (time(delivery.created_at)) }
            td data-label="State" { (standing(delivery, view.now)) }
            td data-label="Last attempt" {
                @match delivery.attempts.last() {
                    None => span.dim { "none yet" },
                    Some(attempt) => {
                        (outcome(attempt))
                        div.dim { "attempt " (delivery.made) ", " (attempt.took_ms) " ms" }
                    }
                }
            }
            @if view.is_administrator {
                td data-label="Again" {
                    @if can_be_repeated {
                        (post(view, "/redeliver", &[("notification", id)], &html! {
                            button.quiet type="submit" { "Send again" span.unseen { " " (id) } }
                        }))
                    } @else { span.dim { "–" } }
                }
            }
        }
    }
}

fn standing(delivery: &Delivery, now: Timestamp) -> Markup {
    html! {
        @match delivery.state {
            DeliveryState::Waiting { next_at } if next_at <= now + SOON => (badge(Mark::Turn, "on its way")),
            DeliveryState::Waiting { next_at } => { (badge(Mark::Unsure, "tried again")) " " (time(next_at)) },
            DeliveryState::Sending { .. } => (badge(Mark::Turn, "being sent")),
            DeliveryState::Delivered => (badge(Mark::Good, "taken")),
            DeliveryState::GivenUp => (badge(Mark::Bad, "given up")),
            DeliveryState::Cancelled => (badge(Mark::Waiting, "cancelled")),
        }
    }
}

/// Says what came of an attempt, in words.
fn outcome(attempt: &Attempt) -> String {
    let answered = attempt.status.map(|status| format!("answered {status}"));
    match (attempt.code.as_deref(), answered) {
        (Some("redirected"), Some(answered)) => format!("{answered}: redirects are not followed"),
        (Some("gone"), Some(answered)) => format!("{answered}: it wants nothing any more"),
        (_, Some(answered)) => answered,
        (Some("timed_out"), None) => "no answer within 15 s".to_owned(),
        (Some("address_refused"), None) => "its name leads to an address that is not public".to_owned(),
        (_, None) => "it could not be reached".to_owned(),
    }
}

fn settings(view: &WebhookPage<'_>) -> Markup {
    let filled = view.filled.unwrap_or(Filled {
        name: &view.webhook.name,
        url: view.webhook.url.as_str(),
    });
    html! {
        section aria-labelledby="change" {
            h2 #change { "Change it" }
            form.stack.card method="post" action=(view.root()) autocomplete="off" {
                input type="hidden" name="csrf" value=(view.csrf);
                // What the form shows: whoever has changed it meanwhile is not overwritten.
                input type="hidden" name="seen" value=(view.webhook.edits);
                (fields(filled))
                div.actions { button type="submit" { "Save" } }
            }
        }
    }
}

/// Shows what removing a webhook means, and the button that does it.
pub fn removal(tenant: &TenantId, webhook: &Webhook, csrf: &str) -> Markup {
    let list = format!("/tenants/{tenant}/notifications");
    let root = format!("{list}/{}", webhook.id);
    html! {
        nav.crumbs aria-label="Breadcrumb" {
            a href=(list) { "Notifications" } " / " a href=(root) { (shown(&webhook.name)) }
        }
        h1 { "Remove " (shown(&webhook.name)) "?" }
        div.card.danger {
            p {
                "It is sent nothing any more, also not what waits to be tried again, and its secret signs nothing. "
                "This cannot be taken back; to stop it for a while, switch it off."
            }
            form.actions method="post" action={ (root) "/remove" } {
                input type="hidden" name="csrf" value=(csrf);
                button.danger type="submit" { "Remove it" }
                a.button.quiet href=(root) { "Keep it" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_words_of_its_own() {
        let attempt = |status, code: Option<&str>| Attempt {
            at: Timestamp::UNIX_EPOCH,
            took_ms: 1,
            status,
            code: code.map(str::to_owned),
        };
        let words = [
            outcome(&attempt(Some(204), None)),
            outcome(&attempt(Some(500), Some("refused"))),
            outcome(&attempt(Some(302), Some("redirected"))),
            outcome(&attempt(Some(410), Some("gone"))),
            outcome(&attempt(None, Some("timed_out"))),
            outcome(&attempt(None, Some("address_refused"))),
            outcome(&attempt(None, Some("unreachable"))),
        ];
        let different: std::collections::BTreeSet<&String> = words.iter().collect();
        assert_eq!(different.len(), words.len(), "{words:?}");
        assert_eq!(words[1], "answered 500");
    }
}
