//! The list of a tenant's integrations.

use maud::{Markup, html};
use portwarden_core::{id::TenantId, integration::Connection, tenant_template};

use super::{
    checklist::Checklist,
    element::{self, Mark, badge, shown, time},
};

/// What the list shows.
#[derive(Debug, Clone)]
pub struct Integrations<'a> {
    /// Whose they are.
    pub tenant: &'a TenantId,
    /// Whether the reader may change something.
    pub is_administrator: bool,
    /// The integrations.
    pub connections: &'a [Connection],
}

/// Shows the list.
pub fn page(list: &Integrations<'_>) -> Markup {
    let root = format!("/tenants/{}/integrations", list.tenant);
    let (removed, present): (Vec<_>, Vec<_>) = list
        .connections
        .iter()
        .partition(|connection| connection.integration.removed_at.is_some());
    html! {
        div.title {
            h1 { "Integrations" }
            @if list.is_administrator && !present.is_empty() {
                a.button href={ (root) "/new" } { "Connect an account" }
            }
        }
        div #integrations data-live {
            @if present.is_empty() {
                div.empty.card {
                    h2 { "No account is connected yet" }
                    p { "Connect an AWS account, and every image that is pushed to its registries is scanned within seconds." }
                    @if list.is_administrator {
                        p { a.button href={ (root) "/new" } { "Connect an account" } }
                    } @else {
                        p { "An administrator of this tenant can connect one." }
                    }
                    p { a href="/guide" { "Read first what a connection means" } }
                }
            }
            ul.cards {
                @for connection in &present { li { (card(&root, connection)) } }
            }
            @if !removed.is_empty() {
                details #removed {
                    summary { (element::count(removed.len(), "removed integration", "removed integrations")) }
                    ul.plain {
                        @for connection in &removed {
                            li {
                                a href={ (root) "/" (connection.integration.id) } { (shown(&connection.integration.name)) }
                                @if let Some(at) = connection.integration.removed_at { " – removed " (time(at)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn card(root: &str, connection: &Connection) -> Markup {
    let integration = &connection.integration;
    html! {
        article.card {
            div.title {
                h2 { a href={ (root) "/" (integration.id) } { (shown(&integration.name)) } }
                span.dim {
                    @match &integration.account {
                        Some(account) => { "AWS account " span.number { (account) } },
                        None => "account not confirmed yet",
                    }
                }
            }
            @if connection.regions.is_empty() {
                p.dim { "No region yet." }
            } @else {
                table.rows aria-label={ "Regions of " (shown(&integration.name)) } {
                    thead { tr { th scope="col" { "Region" } th scope="col" { "Status" } th scope="col" { "Last sign of life" } th scope="col" { "What to do" } } }
                    tbody { @for region in connection.regions.values() {
                        @let checklist = Checklist::of(connection, region);
                        @let (mark, words) = checklist.summary();
                        tr {
                            th scope="row" { (region.region) }
                            td data-label="Status" { (badge(mark, words)) }
                            td data-label="Last sign of life" { @match checklist.heartbeat { Some(at) => (time(at)), None => span.dim { "none yet" } } }
                            td data-label="What to do" { (to_do(&checklist, region.claim.as_ref().map(|claim| claim.template_version.as_str()))) }
                        }
                    } }
                }
            }
        }
    }
}

fn to_do(checklist: &Checklist, template_version: Option<&str>) -> Markup {
    let problem = checklist.steps.iter().find_map(|step| step.state.problem());
    html! {
        @match (problem, checklist.summary().0) {
            (Some(problem), _) => (shown(&problem.message)),
            (None, Mark::Turn) => "Confirm that the account is yours",
            (None, Mark::Waiting) => "Nothing, if the stack is created",
            _ if template_version.is_some_and(is_outdated) => "Update the stack: its template is outdated",
            _ => span.dim { "Nothing" },
        }
    }
}

/// Tells whether there is a newer template than the one that a stack has.
pub fn is_outdated(version: &str) -> bool {
    let newest = tenant_template::VERSION.parse::<u32>();
    matches!((version.parse::<u32>(), newest), (Ok(version), Ok(newest)) if version < newest)
}
