//! The rows of a report: its findings, packages and layers, and what is chosen among them.

use maud::{Markup, html};
use portwarden_advisories::Level;
use portwarden_catalog::Package;
use portwarden_report::{BaseEvidence, LayerReport, PlacedFinding, PlatformFindings, PlatformReport, Side};

use super::{
    super::element::{Mark, badge, bytes, clipped, count, shown},
    ImagePage, View, level, open,
};

/// How many rows a page shows, so that it stays small.
const ROWS: usize = 50;

fn filters(view: &ImagePage<'_>, has_sides: bool) -> Markup {
    let wanted = &view.wanted;
    let is_findings = wanted.view == View::Findings;
    html! {
        form.filter method="get" action=(view.root()) {
            input type="hidden" name="view" value=(wanted.view.name());
            @if !wanted.platform.is_empty() { input type="hidden" name="platform" value=(wanted.platform); }
            div.field.wide {
                label for="q" { "Contains" }
                input #q type="search" name="q" value=(wanted.q) maxlength="256" spellcheck="false" autocapitalize="none";
            }
            @if is_findings {
                div.field {
                    label for="severity" { "At least" }
                    select #severity name="severity" data-submit {
                        option value="" selected[wanted.severity.is_empty()] { "any" }
                        @for one in [Level::Critical, Level::High, Level::Medium, Level::Low, Level::Negligible] {
                            option value=(level(one)) selected[wanted.severity == level(one)] { (level(one)) }
                        }
                    }
                }
            }
            @if is_findings {
                div.field {
                    label for="by" { "Order" }
                    select #by name="by" data-submit {
                        option value="" selected[wanted.by.is_empty()] { "worst first" }
                        option value="package" selected[wanted.by == "package"] { "by package" }
                        option value="layer" selected[wanted.by == "layer"] { "by layer" }
                    }
                }
            }
            @if has_sides {
                div.field {
                    label for="side" { "Brought by" }
                    select #side name="side" data-submit {
                        option value="" selected[wanted.side.is_empty()] { "any layer" }
                        option value="yours" selected[wanted.side == "yours"] { "your layers" }
                        option value="base" selected[wanted.side == "base"] { "the base image" }
                    }
                }
            }
            @if is_findings {
                label.check { input type="checkbox" name="fixable" value="1" checked[!wanted.fixable.is_empty()] data-submit; " has a fix" }
            }
            button.quiet type="submit" { "Filter" }
        }
    }
}

fn side(side: Option<Side>) -> Markup {
    html! {
        @match side {
            Some(Side::Base) => span.side { "base image" },
            Some(Side::Yours) => span.side.yours { "yours" },
            None => {},
        }
    }
}

pub(super) fn findings(view: &ImagePage<'_>, findings: &PlatformFindings) -> Markup {
    let all = open(findings).count();
    let filter = view.wanted.filter();
    let mut wanted: Vec<&PlacedFinding> = open(findings).filter(|found| filter.takes(found)).collect();
    // They come with the worst first, and stay so within each package and layer.
    match view.wanted.by.as_str() {
        "package" => wanted.sort_by_key(|found| &found.name),
        "layer" => wanted.sort_by_key(|found| found.places.first().map(|place| place.layer.index)),
        _ => {}
    }
    let has_sides = findings.findings.iter().any(|found| found.side().is_some());
    html! {
        @if all == 0 {
            p { (badge(Mark::Good, "nothing found")) " No advisory is known for its packages." }
        } @else {
            (filters(view, has_sides))
            p.dim role="status" { (wanted.len()) " of " (count(all, "finding", "findings")) }
            table.rows {
                thead { tr { th scope="col" { "Flaw" } th scope="col" { "Severity" } th scope="col" { "Package" } th scope="col" { "Fixed in" } th scope="col" { "Where" } } }
                tbody { @for found in rows(&wanted, view.wanted.page) {
                    tr {
                        th scope="row" {
                            span { (shown(&found.finding.id)) }
                            @if !found.finding.summary.is_empty() { div.dim { (clipped(&found.finding.summary, 200)) } }
                        }
                        td data-label="Severity" { (severity(found)) }
                        td data-label="Package" { span.break { (clipped(&found.name, 120)) } " " span.number { (clipped(found.version.as_deref().unwrap_or_default(), 60)) } }
                        td data-label="Fixed in" { @match &found.finding.fixed { Some(fixed) => span.number { (clipped(fixed, 60)) }, None => span.dim { "no fix" } } }
                        td data-label="Where" {
                            (side(found.side()))
                            @if let Some(place) = found.places.first() { div.dim.break { (clipped(&place.file, 160)) ", layer " (place.layer.index) } }
                        }
                    }
                } }
            }
            (pager(view, wanted.len()))
        }
    }
}

fn severity(found: &PlacedFinding) -> Markup {
    let severity = &found.finding.severity;
    html! {
        span.level.(level(severity.level)) { (level(severity.level)) }
        @if let Some(tenths) = severity.score_tenths { " " span.number.dim { (tenths / 10) "." (tenths % 10) } }
    }
}

pub(super) fn packages(view: &ImagePage<'_>, platform: &PlatformReport) -> Markup {
    let side_of = |package: &Package| platform.base.as_ref().map(|base| base.side(package.layer.index));
    let wanted: Vec<&Package> = platform
        .packages
        .iter()
        .filter(|package| view.wanted.takes_package(package, side_of(package)))
        .collect();
    html! {
        (filters(view, platform.base.is_some()))
        p.dim role="status" { (wanted.len()) " of " (count(platform.packages.len(), "package", "packages")) }
        table.rows {
            thead { tr { th scope="col" { "Package" } th scope="col" { "Version" } th scope="col" { "Kind" } th scope="col" { "Where" } } }
            tbody { @for package in rows(&wanted, view.wanted.page) {
                tr {
                    th.break scope="row" { (clipped(&package.name, 120)) }
                    td.number.break data-label="Version" { @match &package.version { Some(version) => (clipped(version, 60)), None => "not said" } }
                    td data-label="Kind" { (package.kind.as_str()) }
                    td data-label="Where" { (side(side_of(package))) div.dim.break { (clipped(&package.file, 160)) ", layer " (package.layer.index) } }
                }
            } }
        }
        (pager(view, wanted.len()))
    }
}

pub(super) fn layers(platform: &PlatformReport, findings: Option<&PlatformFindings>) -> Markup {
    let packages_in = |layer: &LayerReport| {
        platform
            .packages
            .iter()
            .filter(|package| package.layer.index == layer.index)
            .count()
    };
    let findings_in = |layer: &LayerReport| {
        let is_here =
            |found: &&PlacedFinding| found.places.iter().any(|place| place.layer.index == layer.index);
        findings.map(|findings| open(findings).filter(is_here).count())
    };
    html! {
        @if let Some(base) = &platform.base {
            p {
                "The lowest " (count(base.layers, "layer is", "layers are")) " the base image's"
                @if let Some(name) = &base.name { ", " code.break { (shown(name)) } }
                @match base.known_by {
                    BaseEvidence::History => ": its history shows where it ends.",
                    BaseEvidence::RootFileSystem => ": there the distribution's root file system ends.",
                }
            }
        }
        table.rows {
            thead { tr { th scope="col" { "Layer" } th scope="col" { "Made by" } th scope="col" { "Size" } th scope="col" { "Packages" } th scope="col" { "Findings" } } }
            tbody { @for layer in platform.layers.iter().take(60) {
                tr {
                    th scope="row" { (layer.index) " " (side(platform.base.as_ref().map(|base| base.side(layer.index)))) }
                    td.break data-label="Made by" { @match &layer.created_by { Some(made) => code.made { (clipped(made, 300)) }, None => span.dim { "not said" } } }
                    td.number data-label="Size" { (bytes(layer.size)) }
                    td.number data-label="Packages" { (packages_in(layer)) }
                    td.number data-label="Findings" { @match findings_in(layer) { Some(number) => (number), None => "–" } }
                }
            } }
        }
    }
}

fn rows<'a, T>(all: &'a [&'a T], page: usize) -> impl Iterator<Item = &'a T> {
    all.iter().skip(page.saturating_mul(ROWS)).take(ROWS).copied()
}

fn pager(view: &ImagePage<'_>, number: usize) -> Markup {
    let page = view.wanted.page;
    let pages = number.div_ceil(ROWS);
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if page > 0 { a.button.quiet rel="prev" href=(view.link(|wanted| wanted.page = page - 1)) { "Before" } }
                span.dim { "Page " (page + 1) " of " (pages) }
                @if page + 1 < pages { a.button.quiet rel="next" href=(view.link(|wanted| wanted.page = page + 1)) { "Next" } }
            }
        }
    }
}
