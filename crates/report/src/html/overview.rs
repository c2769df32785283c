//! What a person wants to know first: which image, how bad, and whose layers.

use std::collections::BTreeMap;

use maud::{Markup, html};
use portwarden_core::{registry_scan::RegistryScanner, shown::shown};
use portwarden_oci::Platform;

use super::chart::{Counts, bar, legend, words};
use crate::{BaseEvidence, ImageFindings, MergedScan, PlatformFindings, PlatformReport, Report, Side};

pub(super) fn header(name: &str, report: Option<&Report>, findings: Option<&ImageFindings>) -> Markup {
    let fact = |label: &str, value: &str| html! { dt { (label) } dd { (shown(value)) } };
    html! {
        header {
            p.brand { "PORTWARDEN REPORT" }
            h1 { (shown(name)) }
            dl.facts {
                @if let Some(report) = report {
                    @let platforms: Vec<String> = report.platforms.iter().map(platform_name).collect();
                    (fact("Digest", &report.image.digest.to_string()))
                    (fact("Platform", &platforms.join(", ")))
                    @if let Some(os) = report.platforms.iter().find_map(|platform| platform.os.as_ref()) {
                        (fact("System", &os.pretty_name.clone().unwrap_or_else(|| os.distro())))
                    }
                    (fact("Scanned", &report.finished_at.strftime("%F %R UTC").to_string()))
                }
                @if let Some(findings) = findings {
                    (fact("Compared", &findings.matched_at.strftime("%F %R UTC").to_string()))
                    (fact("Advisories", &findings.database.version))
                    @if let Some(scan) = &findings.registry_scan {
                        (fact("ECR's own scan", &merged(scan)))
                    }
                }
            }
        }
    }
}

/// Says which scan of ECR's own is in the findings.
fn merged(scan: &MergedScan) -> String {
    let words = match scan.scanner {
        RegistryScanner::Basic => "basic",
        RegistryScanner::Enhanced => "enhanced",
    };
    match scan.completed_at {
        Some(at) => format!("{words}, {}", at.strftime("%F %R UTC")),
        None => words.to_owned(),
    }
}

/// Says what makes the rest less than the whole truth.
pub(super) fn warnings(report: Option<&Report>, findings: Option<&ImageFindings>) -> Markup {
    let mut lines: Vec<String> = Vec::new();
    for platform in report.iter().flat_map(|report| &report.platforms) {
        for missing in &platform.partial {
            lines.push(format!("Layer {}: {}.", missing.layer.index, missing.partial));
        }
    }
    let merged = findings.and_then(|findings| findings.registry_scan.as_ref());
    if merged.is_some_and(|scan| scan.truncated) {
        lines.push("ECR's own scanning has more findings than were read.".to_owned());
    }
    for rule in findings.iter().flat_map(|findings| &findings.expired_rules) {
        lines.push(format!(
            "The ignore rule for {} in {} expired on {}: its findings count again.",
            rule.id, rule.source, rule.expired
        ));
    }
    html! {
        @if !lines.is_empty() {
            section class="card warning" aria-label="Warnings" {
                strong { "Mind" }
                ul { @for line in &lines { li { (shown(line)) } } }
            }
        }
    }
}

pub(super) fn numbers(report: Option<&Report>, findings: &ImageFindings) -> Markup {
    let open: usize = findings.counts.values().sum();
    let number = |count: usize, what: &str| html! { li { strong { (count) } span { (what) } } };
    html! {
        ul.numbers {
            (number(open, if open == 1 { "finding" } else { "findings" }))
            (number(findings.fixable, "with a fix"))
            (number(findings.suppressed, "suppressed"))
            @if let Some(report) = report { (number(report.package_count, "packages")) }
        }
    }
}

pub(super) fn charts(report: Option<&Report>, findings: &ImageFindings) -> Markup {
    let several = findings.platforms.len() > 1;
    let of = |platform: &PlatformReport| {
        let mut platforms = findings.platforms.iter();
        platforms.find(|found| found.digest == platform.digest)
    };
    html! {
        @if !findings.counts.is_empty() {
            div.pair {
                section.card {
                    h2 { "By severity" }
                    (bar(&findings.counts, findings.counts.values().sum()))
                    (legend(&findings.counts))
                    (sides(findings))
                    (first_updates(findings))
                }
                @for platform in report.iter().flat_map(|report| &report.platforms) {
                    @if let Some(found) = of(platform) { (by_layer(platform, found, several)) }
                }
            }
        }
    }
}

/// Says in a sentence each what a newer base image and what a change of one's own would mend.
fn sides(findings: &ImageFindings) -> Markup {
    let of = |side: Side| {
        let all = || findings.open().filter(move |found| found.side() == Some(side));
        let fixable = all().filter(|found| found.finding.fixed.is_some()).count();
        (all().count(), fixable)
    };
    let (base, yours) = (of(Side::Base), of(Side::Yours));
    let sentence = |(count, fixable): (usize, usize)| match count {
        0 => "none".to_owned(),
        _ => format!("{count}, {fixable} of them with a fix"),
    };
    html! {
        @if base.0 + yours.0 > 0 {
            dl.facts {
                dt { "Base image" } dd { (sentence(base)) }
                dt { "Yours" } dd { (sentence(yours)) }
            }
        }
    }
}

const MAX_FIRST: usize = 5;

/// Names the packages whose update mends most: the worst findings first, then the number of findings.
fn first_updates(findings: &ImageFindings) -> Markup {
    let mut packages: BTreeMap<(&str, &str), Counts> = BTreeMap::new();
    for found in findings.open().filter(|found| found.finding.fixed.is_some()) {
        let version = found.version.as_deref().unwrap_or("of unknown version");
        let counts = packages.entry((&found.name, version)).or_default();
        *counts.entry(found.finding.severity.level).or_default() += 1;
    }
    let mut packages: Vec<_> = packages.into_iter().collect();
    // Stable, so that packages with the same counts are in the order of their names.
    packages.sort_by_cached_key(|(_, counts)| {
        std::cmp::Reverse(
            counts
                .iter()
                .rev()
                .map(|(level, count)| (*level, *count))
                .collect::<Vec<_>>(),
        )
    });
    html! {
        @if !packages.is_empty() {
            h3 { "Worth updating first" }
            ol.first {
                @for ((name, version), counts) in packages.iter().take(MAX_FIRST) {
                    li { (shown(name)) " " span.mono { (shown(version)) } ": " (words(counts)) }
                }
            }
        }
    }
}

fn by_layer(platform: &PlatformReport, found: &PlatformFindings, several: bool) -> Markup {
    let mut layers: BTreeMap<usize, Counts> = BTreeMap::new();
    for finding in found
        .findings
        .iter()
        .filter(|finding| finding.suppressed.is_none())
    {
        // A package that is in several layers counts where it lies first.
        if let Some(first) = finding.places.iter().map(|place| place.layer.index).min() {
            *layers
                .entry(first)
                .or_default()
                .entry(finding.finding.severity.level)
                .or_default() += 1;
        }
    }
    let most = layers
        .values()
        .map(|counts| counts.values().sum())
        .max()
        .unwrap_or(0);
    let side = |index: usize| platform.base.as_ref().map(|base| base.side(index));
    let none = Counts::new();
    html! {
        section.card {
            h2 { "By layer" @if several { ", " (shown(&platform_name(platform))) } }
            table.layers {
                colgroup { col.step; col.count; col; }
                tbody { @for (position, layer) in platform.layers.iter().enumerate() {
                    @let side_here = side(layer.index);
                    @let before = position.checked_sub(1).and_then(|before| side(platform.layers[before].index));
                    @if side_here != before {
                        tr.side-row { th colspan="3" scope="colgroup" { (side_heading(platform, side_here)) } }
                    }
                    @let step = layer.created_by.clone().unwrap_or_else(|| layer.digest.to_string());
                    @let counts = layers.get(&layer.index).unwrap_or(&none);
                    tr {
                        td class="step mono" title=(shown(&step)) { (layer.index) " " (shown(&step)) }
                        td.count { (counts.values().sum::<usize>()) }
                        td { (bar(counts, most)) }
                    }
                } }
            }
        }
    }
}

fn side_heading(platform: &PlatformReport, side: Option<Side>) -> Markup {
    html! {
        @match (side, &platform.base) {
            (Some(Side::Yours), _) => "Yours",
            (Some(Side::Base), Some(base)) => {
                "Base image"
                @if let Some(name) = &base.name { " " (shown(name)) }
                @match base.known_by {
                    BaseEvidence::History => ", by the image's history",
                    BaseEvidence::RootFileSystem => ", by the distribution's root file system",
                }
            }
            _ => "Base image not known",
        }
    }
}

pub(super) fn packages(report: &Report) -> Markup {
    let all = report.platforms.iter().flat_map(|platform| &platform.packages);
    html! {
        section.card { details {
            summary { (report.package_count) " packages" }
            table.list {
                thead { tr {
                    th scope="col" { "Package" } th scope="col" { "Version" } th scope="col" { "Kind" }
                    th scope="col" { "File" } th scope="col" { "Layer" }
                } }
                tbody { @for package in all {
                    tr {
                        td { (shown(&package.name)) }
                        td.mono data-label="version" { (shown(package.version.as_deref().unwrap_or("unknown"))) }
                        td data-label="kind" { (package.kind.as_str()) }
                        td data-label="file" { code { "/" (shown(&package.file)) } }
                        td data-label="layer" { (package.layer.index) }
                    }
                } }
            }
        } }
    }
}

pub(super) fn database(findings: &ImageFindings) -> Markup {
    let age = |newest: jiff::Timestamp| match findings.matched_at.duration_since(newest).as_hours() {
        ..0 => "in the future".to_owned(),
        hours @ 0..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    };
    let unknown = || "unknown".to_owned();
    html! {
        section.card { details {
            summary { "How old the advisories are" }
            table.list {
                thead { tr {
                    th scope="col" { "Database" } th scope="col" { "Advisories" } th scope="col" { "Newest" }
                    th scope="col" { "Age when compared" }
                } }
                tbody { @for ecosystem in &findings.database.ecosystems {
                    tr {
                        td { (shown(&ecosystem.name)) }
                        td data-label="advisories" { (ecosystem.records) }
                        td data-label="newest" { (ecosystem.newest.map_or_else(unknown, |newest| newest.strftime("%F").to_string())) }
                        td data-label="age" { (ecosystem.newest.map_or_else(unknown, age)) }
                    }
                } }
            }
        } }
    }
}

fn platform_name(platform: &PlatformReport) -> String {
    let name = platform.platform.as_ref().map(Platform::to_string);
    name.unwrap_or_else(|| "unknown platform".to_owned())
}
