//! The list of a tenant's webhooks, and the form that makes one.

use maud::{Markup, html};
use portwarden_core::{
    id::TenantId,
    problem::Problem,
    webhook::{DisabledReason, MAX_URL, MAX_WEBHOOKS, Webhook},
};

use super::element::{self, Mark, badge, shown, time};

/// What the list shows.
#[derive(Debug, Clone)]
pub struct NotificationsPage<'a> {
    /// Whose webhooks they are.
    pub tenant: &'a TenantId,
    /// What the form must carry.
    pub csrf: &'a str,
    /// Whether the reader may change something.
    pub is_administrator: bool,
    /// The webhooks.
    pub webhooks: &'a [Webhook],
    /// What was filled in before, if it was refused.
    pub filled: Filled<'a>,
    /// Why it was refused.
    pub problem: Option<&'a Problem>,
}

/// The fields of the form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filled<'a> {
    /// What people call the webhook.
    pub name: &'a str,
    /// Where it is.
    pub url: &'a str,
}

/// Shows the list.
pub fn page(list: &NotificationsPage<'_>) -> Markup {
    let root = format!("/tenants/{}/notifications", list.tenant);
    html! {
        h1 { "Notifications" }
        p.lead { "A webhook is an address of yours that is told when what is wrong with an image changes." }
        div #webhooks data-live {
            @if list.webhooks.is_empty() {
                div.empty.card {
                    h2 { "Nobody is told yet" }
                    p {
                        @if list.is_administrator { "Add the address of a server or a chat, and it is sent a signed message for each change." }
                        @else { "An administrator of this tenant can add a webhook." }
                    }
                }
            } @else {
                table.rows {
                    thead { tr { th scope="col" { "Webhook" } th scope="col" { "State" } th scope="col" { "Last message taken" } } }
                    tbody { @for webhook in list.webhooks {
                        tr {
                            th scope="row" {
                                a href={ (root) "/" (webhook.id) } { (shown(&webhook.name)) }
                                div.dim { code { (host(webhook)) } }
                            }
                            td data-label="State" { (state(webhook)) }
                            td data-label="Last message taken" {
                                @match webhook.delivered_at { Some(at) => (time(at)), None => span.dim { "none yet" } }
                            }
                        }
                    } }
                }
            }
        }
        @if list.is_administrator { (form(list, &root)) }
    }
}

/// Where a webhook is, without its path, which may be as good as a password.
fn host(webhook: &Webhook) -> &str {
    let url = webhook.url.as_str();
    let end = url
        .find("://")
        .and_then(|start| Some(start + 3 + url[start + 3..].find('/')?));
    &url[..end.unwrap_or(url.len())]
}

/// Shows whether a webhook is sent anything.
pub fn state(webhook: &Webhook) -> Markup {
    match webhook.disabled.map(|disabled| disabled.reason) {
        None => badge(Mark::Good, "on"),
        Some(DisabledReason::Asked) => badge(Mark::Waiting, "off"),
        Some(DisabledReason::Gone | DisabledReason::Unreachable) => badge(Mark::Bad, "stopped"),
    }
}

fn form(list: &NotificationsPage<'_>, root: &str) -> Markup {
    html! {
        section aria-labelledby="add" {
            h2 #add { "Add a webhook" }
            @if let Some(problem) = list.problem {
                div role="alert" { (element::problem(problem)) }
            }
            @if list.webhooks.len() >= MAX_WEBHOOKS {
                p.dim { "There are " (MAX_WEBHOOKS) ", as many as there may be: remove one to add another." }
            } @else {
                form.stack.card method="post" action=(root) autocomplete="off" {
                    input type="hidden" name="csrf" value=(list.csrf);
                    (fields(list.filled))
                    div.actions { button type="submit" { "Add it" } }
                }
            }
        }
    }
}

/// Shows what a webhook is made of, to be filled in.
pub fn fields(filled: Filled<'_>) -> Markup {
    html! {
        div.field {
            label for="name" { "Name" }
            input #name name="name" required maxlength="100" value=(filled.name) aria-describedby="name-help";
            p.help #name-help { "What you call it, such as the channel that it leads to." }
        }
        div.field {
            label for="url" { "Address" }
            input #url name="url" required maxlength=(MAX_URL) value=(filled.url) inputmode="url" spellcheck="false"
                autocapitalize="none" placeholder="https://hooks.example.com/portwarden" aria-describedby="url-help";
            p.help #url-help { "Starts with https, and can be reached by anybody: messages are signed, so that only ours are believed." }
        }
    }
}
