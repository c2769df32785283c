//! What a tenant is to know at a glance: what is broken, what is watched, and what was pushed.

use jiff::Timestamp;
use maud::{Markup, html};
use portwarden_core::{id::TenantId, image::ImageSummary, integration::Connection};

use super::{
    checklist::Checklist,
    element::{Mark, mark, shown},
    images, search,
};

/// What the page shows.
#[derive(Debug, Clone)]
pub struct Overview<'a> {
    /// Whose overview it is.
    pub tenant: &'a TenantId,
    /// What the tenant is called.
    pub name: &'a str,
    /// Whether the reader may change something.
    pub is_administrator: bool,
    /// The tenant's integrations, without those that were removed.
    pub connections: Vec<&'a Connection>,
    /// The newest images.
    pub images: &'a [ImageSummary],
    /// Now.
    pub now: Timestamp,
}

impl Overview<'_> {
    /// Tells whether something on the page is about to change.
    pub fn is_moving(&self) -> bool {
        let regions = self.connections.iter().flat_map(|connection| {
            connection
                .regions
                .values()
                .map(|region| Checklist::of(connection, region))
        });
        regions.into_iter().any(|checklist| checklist.is_moving())
            || self
                .images
                .iter()
                .any(|image| images::is_awaited(image, self.now))
    }
}

/// Shows the page.
pub fn page(view: &Overview<'_>) -> Markup {
    let root = format!("/tenants/{}", view.tenant);
    let regions: Vec<_> = view
        .connections
        .iter()
        .flat_map(|connection| connection.regions.values().map(|region| (*connection, region)))
        .map(|(connection, region)| (connection, region, Checklist::of(connection, region)))
        .collect();
    let is = |wanted: Mark| {
        regions
            .iter()
            .filter(move |(.., checklist)| checklist.summary().0 == wanted)
            .count()
    };
    let (green, broken) = (is(Mark::Good), is(Mark::Bad));
    html! {
        h1 { (shown(view.name)) }
        @if view.connections.is_empty() {
            div.empty.card {
                h2 { "Connect your first account" }
                p { "One CloudFormation stack, nothing to type: from then on every pushed image is scanned within seconds." }
                @if view.is_administrator { p { a.button.big href={ (root) "/integrations/new" } { "Connect an account" } } }
                p { a href="/guide" { "Read first what a connection means" } }
            }
        } @else {
            (search::field(view.tenant, ""))
            div #glance data-live {
                ul.tiles {
                    li { a.tile.(tone(green, Mark::Good)) href={ (root) "/integrations" } { strong { (green) "/" (regions.len()) } " regions watched" } }
                    li { a.tile.(tone(broken, Mark::Bad)) href={ (root) "/integrations" } { strong { (broken) } " to be mended" } }
                    li { a.tile href={ (root) "/images" } { strong { (pushed_today(view)) } " pushed in 24 hours" } }
                }
                @let to_do: Vec<_> = regions.iter().filter(|(.., checklist)| checklist.summary().0 != Mark::Good).collect();
                @if !to_do.is_empty() {
                    h2 { "To be looked at" }
                    ul.todo.card {
                        @for (connection, region, checklist) in to_do {
                            @let (state, words) = checklist.summary();
                            @let integration = &connection.integration;
                            li {
                                (mark(state))
                                a href={ (root) "/integrations/" (integration.id) "#region-" (region.region) } {
                                    (shown(&integration.name)) ", " (region.region)
                                }
                                ": "
                                @match checklist.steps.iter().find_map(|step| step.state.problem()) {
                                    Some(problem) => (shown(&problem.message)),
                                    None => (words),
                                }
                            }
                        }
                    }
                }
                div.title { h2 { "Newest images" } a href={ (root) "/images" } { "All images" } }
                @if view.images.is_empty() {
                    p.dim { "None is known yet." }
                } @else {
                    (images::rows(view.tenant, view.images, view.now))
                }
            }
        }
    }
}

fn tone(count: usize, mark: Mark) -> &'static str {
    if count == 0 { "calm" } else { mark.class() }
}

/// Counts the newest images of a day; a plus says that there are more than are shown.
fn pushed_today(view: &Overview<'_>) -> String {
    let is_today =
        |image: &&ImageSummary| view.now.duration_since(image.since) < jiff::SignedDuration::from_hours(24);
    let count = view.images.iter().filter(is_today).count();
    let more = if count == view.images.len() && count > 0 {
        "+"
    } else {
        ""
    };
    format!("{count}{more}")
}
