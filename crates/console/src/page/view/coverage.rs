//! How well an account is watched, and what was done in it, as parts of an integration's page.

use jiff::Timestamp;
use maud::{Markup, html};
use portwarden_core::{
    id::{Region, TenantId},
    integration::Connection,
    receipt::AccessReceipt,
    reconcile::{Coverage, HowKnown, RegionCoverage, Unwatched, Watch},
};
use portwarden_oci::RepositoryName;

use super::{
    chart,
    element::{self, Mark, badge, count, shown, time},
};

/// How many sessions and repositories are shown.
const MOST: usize = 50;

/// Shows which regions and repositories are watched, and what was missed.
pub(super) fn section(tenant: &TenantId, connection: &Connection, coverage: &Coverage) -> Markup {
    let is_read = |region: &&RegionCoverage| region.watch != Watch::Unproven || region.last.is_some();
    html! {
        @if coverage.regions.values().any(|region| is_read(&region)) {
            section.card #coverage data-live aria-labelledby="watched" {
                h2 #watched { "Coverage" }
                p.help { "How each image became known: by an event within seconds, when the account was connected, or only by a comparison with ECR." }
                @for (region, coverage) in coverage.regions.iter().filter(|(_, coverage)| is_read(coverage)) {
                    (one_region(region, coverage))
                }
                (nobody_watches(coverage))
                p.dim {
                    a href={ "/v1/tenants/" (tenant) "/integrations/" (connection.integration.id) "/coverage" } { "All of it as JSON" }
                }
            }
        }
    }
}

fn one_region(region: &Region, coverage: &RegionCoverage) -> Markup {
    let mark = match coverage.watch {
        Watch::Watched => Mark::Good,
        Watch::NoEvents | Watch::Silent | Watch::RuleSilent => Mark::Unsure,
        Watch::Unproven => Mark::Bad,
    };
    let HowKnown {
        event,
        backfill,
        reconcile,
    } = coverage.images;
    html! {
        div.covered {
            p { strong { (region) } " " (badge(mark, coverage.watch.sentence())) }
            @if coverage.images.total() > 0 {
                (chart::shares(&[("event", event, "good"), ("backfill", backfill, "turn"), ("comparison", reconcile, "unsure")]))
            }
            p.dim {
                @match (&coverage.run, &coverage.last) {
                    (Some(run), _) => { "Being compared with ECR since " (time(run.started_at)) ": " (number(run.found.repositories, "repository", "repositories")) " so far." },
                    (None, Some(last)) => {
                        "Compared with ECR " (time(last.at)) ": " (number(last.found.repositories, "repository", "repositories")) ", "
                        (number(last.found.images, "image", "images")) ", " (last.found.new) " of them not known before."
                    },
                    (None, None) => "Not compared with ECR yet.",
                }
            }
            @if let Some(missed) = &coverage.missed {
                (element::problem(&missed_problem(missed.count, missed.first_at, &missed.repository.to_string(), missed.rule_is_silent)))
            }
            @let unread: Vec<_> = coverage.repositories.iter().filter_map(|repository| Some((repository, repository.unread.as_ref()?))).collect();
            @if !unread.is_empty() {
                p { "Repositories that could not be read:" }
                ul.plain { @for (repository, code) in unread.iter().take(MOST) { li { (repository.repository) " – " code { (shown(code)) } } } }
            }
        }
    }
}

/// Names the regions that no stack watches and that have repositories; the button for each is below.
fn nobody_watches(coverage: &Coverage) -> Markup {
    let elsewhere = coverage.elsewhere.iter().flat_map(|elsewhere| &elsewhere.regions);
    let with_some: Vec<_> = elsewhere
        .filter_map(|(region, unwatched)| match unwatched {
            Unwatched::Seen {
                count: count @ 1..,
                more,
                first,
            } => Some((region, *count, *more, first)),
            _ => None,
        })
        .collect();
    html! {
        @if !with_some.is_empty() {
            p { strong { "Nobody watches these regions" } ", though there are repositories in them. \u{201c}Watch another region\u{201d} adds one:" }
            ul.plain { @for (region, count, more, first) in with_some {
                li {
                    strong { (region) } ": " (number(count, "repository", "repositories")) @if more { " or more" } ", "
                    (first.iter().map(RepositoryName::as_str).collect::<Vec<_>>().join(", "))
                }
            } }
        }
    }
}

fn number(number: u64, one: &str, many: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), one, many)
}

fn missed_problem(
    count: u64,
    first: Timestamp,
    repository: &str,
    is_silent: bool,
) -> portwarden_core::problem::Problem {
    let message = format!(
        "{}, since {first:.0}, the last to {repository}; they were found by comparison.",
        number(count, "push was not told of", "pushes were not told of")
    );
    let fix = if is_silent {
        "Look whether the stack's rule for image events is enabled, and what its dead-letter queue holds."
    } else {
        "Nothing, if it stays a single one: ECR tells of events as well as it can. Else look into the stack's dead-letter queue."
    };
    portwarden_core::problem::Problem::new("events_missed", message, fix)
}

/// Shows the sessions that were opened in the account lately.
pub(super) fn receipts(tenant: &TenantId, connection: &Connection, receipts: &[AccessReceipt]) -> Markup {
    let calls: u64 = receipts.iter().map(|receipt| receipt.calls).sum();
    let all = format!(
        "/v1/tenants/{tenant}/integrations/{}/receipts",
        connection.integration.id
    );
    html! {
        section.card #access data-live aria-labelledby="sessions" {
            h2 #sessions { "What Portwarden did in the account" }
            @if receipts.is_empty() {
                p { "No session was opened in the last 24 hours." }
            } @else {
                p {
                    (count(receipts.len(), "session", "sessions")) " in the last 24 hours, with "
                    (number(calls, "call", "calls")) ". Each is in the account's CloudTrail under the same name."
                }
                details #sessions-list {
                    summary { "The sessions" }
                    table.rows {
                        thead { tr { th scope="col" { "Session" } th scope="col" { "Opened" } th scope="col" { "For" } th scope="col" { "Calls" } } }
                        tbody { @for receipt in receipts.iter().rev().take(MOST) {
                            tr {
                                th scope="row" { code.break { (shown(&receipt.session)) } div.dim { (receipt.region) } }
                                td data-label="Opened" { (time(receipt.opened_at)) }
                                td data-label="For" { (shown(&receipt.purpose)) }
                                td.number data-label="Calls" { (receipt.calls) }
                            }
                        } }
                    }
                }
            }
            p.dim { a href=(all) { "All that are kept, as JSON" } ", 90 days back." }
        }
    }
}
