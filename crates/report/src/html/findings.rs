//! The findings one by one.

use maud::{Markup, html};
use portwarden_advisories::{Level, UnmatchedReason};
use portwarden_core::shown::shown;
use portwarden_oci::Platform;

use super::link;
use crate::{ImageFindings, PlacedFinding, Side, SuppressionKind};

/// Lists the findings that count, the worst first.
pub(super) fn open(findings: &ImageFindings) -> Markup {
    let several = findings.platforms.len() > 1;
    html! {
        section.card aria-labelledby="what" {
            h2 #what { "What is wrong" }
            @if findings.open().next().is_none() {
                p.empty { "No advisory that counts speaks of these packages." }
            } @else {
                (controls())
                table.list #findings {
                    thead { tr {
                        th scope="col" { "Severity" } th scope="col" { "Flaw" } th scope="col" { "Package" }
                        th scope="col" { "Version" } th scope="col" { "Fixed in" } th scope="col" { "Layer" }
                        th scope="col" { "About" }
                    } }
                    tbody {
                        @for platform in &findings.platforms {
                            @let of_platform = platform.platform.as_ref().filter(|_| several);
                            @for found in platform.findings.iter().filter(|found| found.suppressed.is_none()) {
                                (row(found, of_platform))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the script needs to filter; it shows them.
fn controls() -> Markup {
    html! {
        form.controls hidden role="search" aria-label="Filter findings" {
            label {
                "Search "
                input type="search" id="search" autocomplete="off" placeholder="package, CVE, file (press /)";
            }
            label {
                "At least "
                select #level {
                    option value="0" { "any severity" }
                    @for level in Level::ALL.iter().skip(1) { option value=(rank(*level)) { (level.as_str()) } }
                }
            }
            label {
                "Layers "
                select #side {
                    option value="" { "all" }
                    option value="base" { "base image" }
                    option value="yours" { "yours" }
                }
            }
            label.tick { input type="checkbox" id="fix"; " with a fix" }
            output #shown aria-live="polite" {}
        }
    }
}

fn row(found: &PlacedFinding, platform: Option<&Platform>) -> Markup {
    let finding = &found.finding;
    let level = finding.severity.level;
    let tenths = finding.severity.score_tenths;
    let side = match found.side() {
        Some(Side::Base) => "base",
        Some(Side::Yours) => "yours",
        None => "",
    };
    html! {
        tr data-level=(rank(level)) data-side=(side) data-fix=(usize::from(finding.fixed.is_some())) {
            td.nowrap data-key=(rank(level) * 1000 + usize::from(tenths.unwrap_or_default())) {
                (badge(level))
                @if let Some(tenths) = tenths { span.score { (tenths / 10) "." (tenths % 10) } }
            }
            td.nowrap { (first_link(found)) }
            td data-label="package" { (shown(&found.name)) }
            td.mono data-label="version" { (shown(found.version.as_deref().unwrap_or("unknown"))) }
            td.mono data-label="fixed in" {
                @match &finding.fixed {
                    Some(fixed) => span.fix { (shown(fixed)) },
                    None => span.none { "no fix yet" },
                }
            }
            td data-label="layer" { (layers(found, platform)) }
            td { (about(found)) }
        }
    }
}

fn first_link(found: &PlacedFinding) -> Markup {
    let first = found.finding.links.first();
    link(first.map_or("", String::as_str), &found.finding.id)
}

fn badge(level: Level) -> Markup {
    html! { span class={ "badge " (level.as_str()) } { b { (level.as_str()) } } }
}

fn layers(found: &PlacedFinding, platform: Option<&Platform>) -> Markup {
    let mut indexes: Vec<usize> = found.places.iter().map(|place| place.layer.index).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let words: Vec<String> = indexes.iter().map(ToString::to_string).collect();
    html! {
        (words.join(", "))
        @match found.side() {
            Some(Side::Base) => " base image",
            Some(Side::Yours) => " yours",
            None => {}
        }
        @if let Some(platform) = platform { " " span.none { (shown(&platform.to_string())) } }
    }
}

fn about(found: &PlacedFinding) -> Markup {
    let finding = &found.finding;
    let summary = match finding.summary.as_str() {
        "" => "Details",
        summary => summary,
    };
    html! {
        details {
            summary { (shown(summary)) }
            dl {
                @if finding.ids.len() > 1 { dt { "Known as" } dd { (shown(&finding.ids.join(", "))) } }
                dt { "Package" }
                dd { code { (shown(&finding.purl)) } }
                dt { "Found by" }
                dd { (found.finders()) }
                @if let Some(registry) = found.registry.as_ref().filter(|_| found.is_of_advisories()) {
                    dt { "ECR says" }
                    dd {
                        (registry.severity.as_str()) ", "
                        @match &registry.fixed {
                            Some(fixed) => { "fixed in " code { (shown(fixed)) } }
                            None => { "no fix named" }
                        }
                    }
                }
                @if !found.places.is_empty() {
                    dt { "Shown by" }
                    dd { ul { @for place in &found.places {
                        li {
                            code { "/" (shown(&place.file)) } " in layer " (place.layer.index) " "
                            code { (place.layer.digest) }
                        }
                    } } }
                }
                @if let Some(vector) = &finding.severity.vector { dt { "CVSS" } dd { code { (shown(vector)) } } }
                @if let Some(published) = finding.published { dt { "Published" } dd { (published.strftime("%F")) } }
                dt { "Changed" }
                dd { (finding.modified.strftime("%F")) }
                @if !finding.links.is_empty() {
                    dt { "Links" }
                    dd { ul { @for one in &finding.links { li { (link(one, one)) } } } }
                }
            }
        }
    }
}

/// Lists the findings that somebody has said do not count, and why.
pub(super) fn suppressed(findings: &ImageFindings) -> Markup {
    let all = findings.platforms.iter().flat_map(|platform| &platform.findings);
    let all = all.filter_map(|found| Some((found, found.suppressed.as_ref()?)));
    html! {
        @if findings.suppressed > 0 {
            section.card { details {
                summary { (findings.suppressed) " suppressed" }
                p.none { "They are there, but somebody has said that they do not count." }
                table.list {
                    thead { tr {
                        th scope="col" { "Severity" } th scope="col" { "Flaw" } th scope="col" { "Package" }
                        th scope="col" { "Who says so" } th scope="col" { "Why" }
                    } }
                    tbody { @for (found, suppressed) in all {
                        tr {
                            td.nowrap { (badge(found.finding.severity.level)) }
                            td.nowrap { (first_link(found)) }
                            td { (shown(&found.name)) " " span.mono { (shown(found.version.as_deref().unwrap_or("unknown"))) } }
                            td {
                                @match suppressed.kind {
                                    SuppressionKind::IgnoreRule => "an ignore rule of ",
                                    SuppressionKind::VexNotAffected => "not affected, by the VEX document ",
                                    SuppressionKind::VexFixed => "fixed, by the VEX document ",
                                }
                                (shown(&suppressed.source))
                                @if let Some(expires) = suppressed.expires { ", until " (expires) }
                            }
                            td { (shown(&suppressed.reason)) }
                        }
                    } }
                }
            } }
        }
    }
}

/// Lists the packages of which nothing can be said.
pub(super) fn unmatched(findings: &ImageFindings) -> Markup {
    let all = || findings.platforms.iter().flat_map(|platform| &platform.unmatched);
    let count = all().count();
    html! {
        @if count > 0 {
            section.card { details {
                summary { (count) " packages of which nothing can be said" }
                table.list {
                    thead { tr { th scope="col" { "Package" } th scope="col" { "Why" } } }
                    tbody { @for unmatched in all() {
                        tr {
                            td { code { (shown(&unmatched.purl)) } }
                            td { (why(unmatched.reason)) }
                        }
                    } }
                }
            } }
        }
    }
}

fn why(reason: UnmatchedReason) -> &'static str {
    match reason {
        UnmatchedReason::NoAdvisories => {
            "nobody publishes advisories for such packages, or the release is not known"
        }
        UnmatchedReason::NoVersion => "it has no version",
        UnmatchedReason::OddVersion => {
            "its version cannot be compared; only advisories that name it were found"
        }
    }
}

fn rank(level: Level) -> usize {
    Level::ALL
        .iter()
        .position(|known| *known == level)
        .unwrap_or_default()
}
