//! What a person wants to know first: which image, how bad, and whose layers.

use std::collections::BTreeMap;

use portwarden_oci::Platform;

use super::{
    chart::{Counts, bar, legend},
    markup::Markup,
};
use crate::{BaseEvidence, ImageFindings, PlatformFindings, PlatformReport, Report, Side};

pub(super) fn header(
    page: &mut Markup,
    name: &str,
    report: Option<&Report>,
    findings: Option<&ImageFindings>,
) {
    page.raw("<header><p class=\"brand\">PORTWARDEN REPORT</p>\n")
        .wrap("<h1>", name, "</h1>\n<dl class=\"facts\">");
    let mut fact = |label: &'static str, value: &str| {
        page.wrap("<dt>", label, "</dt>").wrap("<dd>", value, "</dd>");
    };
    if let Some(report) = report {
        fact("Digest", &report.image.digest.to_string());
        let platforms: Vec<String> = report.platforms.iter().map(platform_name).collect();
        fact("Platform", &platforms.join(", "));
        let systems: Vec<String> = report
            .platforms
            .iter()
            .filter_map(|platform| platform.os.as_ref())
            .map(|os| os.pretty_name.clone().unwrap_or_else(|| os.distro()))
            .collect();
        if let Some(first) = systems.first() {
            fact("System", first);
        }
        fact("Scanned", &report.finished_at.strftime("%F %R UTC").to_string());
    }
    if let Some(findings) = findings {
        fact("Compared", &findings.matched_at.strftime("%F %R UTC").to_string());
        fact("Advisories", &findings.database.version);
    }
    page.raw("</dl></header>\n");
}

/// Says what makes the rest less than the whole truth.
pub(super) fn warnings(page: &mut Markup, report: Option<&Report>, findings: Option<&ImageFindings>) {
    let mut lines: Vec<String> = Vec::new();
    for platform in report.iter().flat_map(|report| &report.platforms) {
        for missing in &platform.partial {
            lines.push(format!("Layer {}: {}.", missing.layer.index, missing.partial));
        }
    }
    for rule in findings.iter().flat_map(|findings| &findings.expired_rules) {
        lines.push(format!(
            "The ignore rule for {} in {} expired on {}: its findings count again.",
            rule.id, rule.source, rule.expired
        ));
    }
    if lines.is_empty() {
        return;
    }
    page.raw("<section class=\"card warning\" aria-label=\"Warnings\"><strong>Mind</strong><ul>");
    for line in lines {
        page.wrap("<li>", &line, "</li>");
    }
    page.raw("</ul></section>\n");
}

pub(super) fn numbers(page: &mut Markup, report: Option<&Report>, findings: &ImageFindings) {
    let open: usize = findings.counts.values().sum();
    page.raw("<ul class=\"numbers\">");
    let mut number = |count: usize, what: &str| {
        page.raw("<li><strong>")
            .number(count)
            .wrap("</strong><span>", what, "</span></li>");
    };
    number(open, if open == 1 { "finding" } else { "findings" });
    number(findings.fixable, "with a fix");
    number(findings.suppressed, "suppressed");
    if let Some(report) = report {
        number(report.package_count, "packages");
    }
    page.raw("</ul>\n");
}

pub(super) fn charts(page: &mut Markup, report: Option<&Report>, findings: &ImageFindings) {
    if findings.counts.is_empty() {
        return;
    }
    page.raw("<div class=\"pair\"><section class=\"card\"><h2>By severity</h2>");
    bar(page, &findings.counts, findings.counts.values().sum());
    legend(page, &findings.counts);
    sides(page, findings);
    first_updates(page, findings);
    page.raw("</section>\n");
    for platform in report.iter().flat_map(|report| &report.platforms) {
        let found = findings
            .platforms
            .iter()
            .find(|found| found.digest == platform.digest);
        if let Some(found) = found {
            by_layer(page, platform, found, findings.platforms.len() > 1);
        }
    }
    page.raw("</div>\n");
}

/// Says in a sentence each what a newer base image and what a change of one's own would mend.
fn sides(page: &mut Markup, findings: &ImageFindings) {
    let of = |side: Side| {
        let all = || findings.open().filter(move |found| found.side() == Some(side));
        let fixable = all().filter(|found| found.finding.fixed.is_some()).count();
        (all().count(), fixable)
    };
    let (base, yours) = (of(Side::Base), of(Side::Yours));
    if base.0 + yours.0 > 0 {
        let sentence = |(count, fixable): (usize, usize)| match count {
            0 => "none".to_owned(),
            _ => format!("{count}, {fixable} of them with a fix"),
        };
        page.wrap(
            "<dl class=\"facts\"><dt>Base image</dt><dd>",
            &sentence(base),
            "</dd>",
        );
        page.wrap("<dt>Yours</dt><dd>", &sentence(yours), "</dd></dl>");
    }
}

/// Names the packages whose update mends most: the worst findings first, then the number of findings.
fn first_updates(page: &mut Markup, findings: &ImageFindings) {
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
    if packages.is_empty() {
        return;
    }
    page.raw("<h3>Worth updating first</h3><ol class=\"first\">");
    for ((name, version), counts) in packages.into_iter().take(MAX_FIRST) {
        let words: Vec<String> = counts
            .iter()
            .rev()
            .map(|(level, count)| format!("{count} {}", level.as_str()))
            .collect();
        page.wrap("<li>", name, " <span class=\"mono\">")
            .text(version)
            .raw("</span>: ");
        page.text(&words.join(", ")).raw("</li>");
    }
    page.raw("</ol>");
}

const MAX_FIRST: usize = 5;

fn by_layer(page: &mut Markup, platform: &PlatformReport, found: &PlatformFindings, several: bool) {
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
    page.raw("<section class=\"card\"><h2>By layer");
    if several {
        page.wrap(", ", &platform_name(platform), "");
    }
    page.raw("</h2><table class=\"layers\"><colgroup><col class=\"step\"><col class=\"count\"><col></colgroup><tbody>");
    let mut last = None;
    for layer in &platform.layers {
        let side = platform.base.as_ref().map(|base| base.side(layer.index));
        if side != last {
            page.raw("<tr class=\"side-row\"><th colspan=\"3\" scope=\"colgroup\">");
            side_heading(page, platform, side);
            page.raw("</th></tr>");
            last = side;
        }
        let step = layer
            .created_by
            .clone()
            .unwrap_or_else(|| layer.digest.to_string());
        let counts = layers.remove(&layer.index).unwrap_or_default();
        page.raw("<tr><td class=\"step mono\" title=\"")
            .text(&step)
            .raw("\">")
            .number(layer.index);
        page.wrap(" ", &step, "</td><td class=\"count\">")
            .number(counts.values().sum())
            .raw("</td><td>");
        bar(page, &counts, most);
        page.raw("</td></tr>");
    }
    page.raw("</tbody></table></section>\n");
}

fn side_heading(page: &mut Markup, platform: &PlatformReport, side: Option<Side>) {
    match (side, &platform.base) {
        (Some(Side::Yours), _) => {
            page.raw("Yours");
        }
        (Some(Side::Base), Some(base)) => {
            page.raw("Base image");
            if let Some(name) = &base.name {
                page.wrap(" ", name, "");
            }
            page.raw(match base.known_by {
                BaseEvidence::History => ", by the image's history",
                BaseEvidence::RootFileSystem => ", by the distribution's root file system",
            });
        }
        _ => {
            page.raw("Base image not known");
        }
    }
}

pub(super) fn packages(page: &mut Markup, report: &Report) {
    page.raw("<section class=\"card\"><details><summary>")
        .number(report.package_count);
    page.raw(" packages</summary><table class=\"list\"><thead><tr><th scope=\"col\">Package</th><th scope=\"col\">Version</th>");
    page.raw("<th scope=\"col\">Kind</th><th scope=\"col\">File</th><th scope=\"col\">Layer</th></tr></thead><tbody>\n");
    for package in report.platforms.iter().flat_map(|platform| &platform.packages) {
        page.wrap(
            "<tr><td>",
            &package.name,
            "</td><td class=\"mono\" data-label=\"version\">",
        );
        page.text(package.version.as_deref().unwrap_or("unknown"));
        page.wrap(
            "</td><td data-label=\"kind\">",
            package.kind.as_str(),
            "</td><td data-label=\"file\"><code>/",
        );
        page.text(&package.file)
            .raw("</code></td><td data-label=\"layer\">")
            .number(package.layer.index);
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></details></section>\n");
}

pub(super) fn database(page: &mut Markup, findings: &ImageFindings) {
    page.raw("<section class=\"card\"><details><summary>How old the advisories are</summary>");
    page.raw(
        "<table class=\"list\"><thead><tr><th scope=\"col\">Database</th><th scope=\"col\">Advisories</th>",
    );
    page.raw("<th scope=\"col\">Newest</th><th scope=\"col\">Age when compared</th></tr></thead><tbody>\n");
    for ecosystem in &findings.database.ecosystems {
        page.wrap("<tr><td>", &ecosystem.name, "</td><td data-label=\"advisories\">");
        page.text(&ecosystem.records.to_string())
            .raw("</td><td data-label=\"newest\">");
        let (newest, age) = match ecosystem.newest {
            Some(newest) => {
                let hours = findings.matched_at.duration_since(newest).as_hours();
                let age = match hours {
                    ..0 => "in the future".to_owned(),
                    0..48 => format!("{hours} hours"),
                    _ => format!("{} days", hours / 24),
                };
                (newest.strftime("%F").to_string(), age)
            }
            None => ("unknown".to_owned(), "unknown".to_owned()),
        };
        page.text(&newest)
            .wrap("</td><td data-label=\"age\">", &age, "</td></tr>\n");
    }
    page.raw("</tbody></table></details></section>\n");
}

fn platform_name(platform: &PlatformReport) -> String {
    let name = platform.platform.as_ref().map(Platform::to_string);
    name.unwrap_or_else(|| "unknown platform".to_owned())
}
