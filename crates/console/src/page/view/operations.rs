//! How Portwarden itself is, for those who run it.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use portwarden_core::{
    advisory::{Folder, Shelf},
    id::TenantId,
    integration::Light,
    operations::{QueueHealth, TenantHealth},
};

use super::{
    chart,
    element::{Mark, badge, count, shown, time},
};

/// What the page shows.
#[derive(Debug, Clone)]
pub struct OperationsPage<'a> {
    /// What forms must carry.
    pub csrf: &'a str,
    /// The queues.
    pub queues: &'a [QueueHealth],
    /// How many messages were put back just now.
    pub moved: Option<u64>,
    /// The advisory database in use, and what it was made from.
    pub shelf: &'a Shelf,
    /// Some tenants.
    pub tenants: &'a [TenantHealth],
    /// The tenant behind which there are more.
    pub next: Option<&'a TenantId>,
    /// Whether this is not the first page of tenants.
    pub is_later: bool,
    /// Now.
    pub now: Timestamp,
}

/// How long a report may take until its column is drawn as too high: the goal is a minute.
const SLOW: u64 = 60;

/// How old a folder of advisories may be: it is compared with its source every hour, and in full every day.
const OLD: SignedDuration = SignedDuration::from_hours(26);

/// Shows the page.
pub fn page(view: &OperationsPage<'_>) -> Markup {
    html! {
        h1 { "Operations" }
        @if let Some(moved) = view.moved {
            p role="status" { (count(usize::try_from(moved).unwrap_or(usize::MAX), "message was", "messages were")) " put back." }
        }
        section aria-labelledby="queues-title" {
            h2 #queues-title { "Queues" }
            div #queues data-live { (queues(view)) }
        }
        section aria-labelledby="tenants-title" {
            h2 #tenants-title { "Tenants" }
            div #tenants data-live { (tenants(view)) }
        }
        section aria-labelledby="advisories-title" {
            h2 #advisories-title { "Advisories" }
            div #advisories data-live { (advisories(view)) }
        }
    }
}

fn queues(view: &OperationsPage<'_>) -> Markup {
    html! {
        table.rows {
            thead { tr { th scope="col" { "Queue" } th scope="col" { "Waiting" } th scope="col" { "Being done" } th scope="col" { "Later" } th scope="col" { "Given up" } } }
            tbody { @for queue in view.queues {
                tr {
                    th scope="row" { (shown(&queue.name)) }
                    td.number data-label="Waiting" { (queue.waiting) }
                    td.number data-label="Being done" { (queue.in_flight) }
                    td.number data-label="Later" { (queue.delayed) }
                    td data-label="Given up" {
                        @match queue.dead {
                            None => span.dim { "with those of scan" },
                            Some(0) => (badge(Mark::Good, "none")),
                            Some(dead) => {
                            (badge(Mark::Bad, &dead.to_string()))
                            " "
                            form.inline method="post" action="/operations/redrive" {
                                input type="hidden" name="csrf" value=(view.csrf);
                                input type="hidden" name="queue" value=(queue.name);
                                button.quiet type="submit" { "Put back" span.unseen { " into " (shown(&queue.name)) } }
                            }
                            }
                        }
                    }
                }
            } }
        }
    }
}

fn tenants(view: &OperationsPage<'_>) -> Markup {
    html! {
        @if view.tenants.is_empty() { p.dim { "There is no tenant." } } @else {
            table.rows {
                thead { tr { th scope="col" { "Tenant" } th scope="col" { "Regions" } th scope="col" { "Last sign of life" } th scope="col" { "Newest images" } th scope="col" { "Push to report" } } }
                tbody { @for tenant in view.tenants { (one_tenant(tenant)) } }
            }
        }
        nav.pager aria-label="Pages" {
            @if view.is_later { a.button.quiet href="/operations" { "First" } }
            @if let Some(next) = view.next { a.button.quiet rel="next" href={ "/operations?after=" (next) } { "More tenants" } }
        }
    }
}

fn one_tenant(tenant: &TenantHealth) -> Markup {
    let number = |light: Light| tenant.regions.get(&light).copied().unwrap_or_default() as u64;
    html! {
        tr {
            th scope="row" { (shown(&tenant.name)) div.dim { code.whole { (tenant.tenant) } } }
            td data-label="Regions" {
                @if tenant.regions.is_empty() { span.dim { "none" } } @else {
                    (chart::shares(&[
                        ("green", number(Light::Green), "good"), ("pending", number(Light::Pending), "turn"),
                        ("amber", number(Light::Amber), "unsure"), ("red", number(Light::Red), "bad"),
                    ]))
                }
            }
            td data-label="Last sign of life" { @match tenant.last_heartbeat { Some(at) => (time(at)), None => span.dim { "none yet" } } }
            td data-label="Newest images" {
                (tenant.waiting) " waiting"
                @if tenant.refused > 0 { ", " (badge(Mark::Unsure, &format!("{} not scanned", tenant.refused))) }
            }
            td data-label="Push to report" { (latency(tenant)) }
        }
    }
}

fn latency(tenant: &TenantHealth) -> Markup {
    let longest = tenant.seconds_to_report.iter().max();
    html! {
        @match (tenant.median_seconds(), longest) {
            (Some(median), Some(longest)) => {
                @let words = format!(
                    "half within {median} s, the longest {longest} s, of {}",
                    count(tenant.seconds_to_report.len(), "image", "images")
                );
                (chart::columns(&tenant.seconds_to_report, SLOW, &words))
                div.dim { (words) }
            }
            _ => span.dim { "nothing pushed yet" },
        }
    }
}

fn advisories(view: &OperationsPage<'_>) -> Markup {
    html! {
        @match &view.shelf.edition {
            Some(edition) => p { "Edition " strong.number { (edition.number) } " with " strong.number { (edition.advisories) } " advisories is in use, built " (time(edition.built_at)) "." },
            None => p { (badge(Mark::Unsure, "none")) " There is no advisory database yet: reports have no findings." },
        }
        @if !view.shelf.folders.is_empty() {
            table.rows {
                thead { tr { th scope="col" { "Folder" } th scope="col" { "Advisories" } th scope="col" { "Compared with its source" } th scope="col" { "State" } } }
                tbody { @for (name, folder) in &view.shelf.folders {
                    tr {
                        th scope="row" { (shown(name)) }
                        td.number data-label="Advisories" { (folder.collection.as_ref().map_or(0, |collection| collection.records)) }
                        td data-label="Compared with its source" { @match folder.checked_at { Some(at) => (time(at)), None => span.dim { "never" } } }
                        td data-label="State" { (state(folder, view.now)) }
                    }
                } }
            }
        }
    }
}

fn state(folder: &Folder, now: Timestamp) -> Markup {
    html! {
        @match (&folder.problem, folder.age(now)) {
            (Some(problem), _) => { (badge(Mark::Bad, "cannot be read")) " " code { (shown(&problem.code)) } " since " (time(problem.since)) },
            (None, Some(age)) if age <= OLD => (badge(Mark::Good, "fresh")),
            (None, _) => (badge(Mark::Unsure, "old")),
        }
    }
}
