//! One image: where it lies, and its report by severity, by layer and by package.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portwarden_advisories::Level;
use portwarden_catalog::Package;
use portwarden_core::{
    id::TenantId,
    image::{ImageSummary, Location, Presence, ScanResult},
    work::KnownBy,
};
use portwarden_oci::Tag;
use portwarden_report::{
    BaseEvidence, Changes, ImageFindings, LayerReport, PlacedFinding, PlatformFindings, PlatformReport,
    Report, Side,
};
use serde::Deserialize;

use super::{
    changes,
    element::{self, Mark, badge, bytes, clipped, copyable, count, shown, time},
    images::{is_awaited, known_by, took},
};
use crate::finding::Filter;

/// What the page shows.
#[derive(Debug, Clone)]
pub struct ImagePage<'a> {
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// The image in short.
    pub summary: &'a ImageSummary,
    /// Where it lies or lay.
    pub locations: &'a [Location],
    /// What is in it, if it was scanned.
    pub report: Option<&'a Report>,
    /// What is wrong with it, if that was looked up.
    pub findings: Option<&'a ImageFindings>,
    /// The image that a tag named before, and what has changed since, if that is to be shown.
    pub since: Option<(&'a Tag, &'a ImageSummary, &'a Changes)>,
    /// What the reader wants to see of it.
    pub wanted: Wanted,
    /// Now.
    pub now: Timestamp,
}

/// What a reader wants to see of a report: the page's query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Findings, packages or layers.
    pub view: View,
    /// Only what contains this text.
    pub q: String,
    /// Only findings that are at least this bad.
    pub severity: String,
    /// Only findings and packages of this side: `base` or `yours`.
    pub side: String,
    /// What comes first: the worst findings, or else `package` or `layer`.
    pub by: String,
    /// Only findings that have a fix.
    pub fixable: String,
    /// Which platform, by its digest.
    pub platform: String,
    /// Which page of the rows, from 0.
    pub page: usize,
}

/// A way to look at a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The findings, the worst first.
    #[default]
    Findings,
    /// The packages.
    Packages,
    /// The layers.
    Layers,
    /// What came and went since the image before.
    Changes,
}

/// How many rows a page shows, so that it stays small.
const ROWS: usize = 50;

impl View {
    const ALL: [Self; 4] = [Self::Findings, Self::Packages, Self::Layers, Self::Changes];

    fn name(self) -> &'static str {
        match self {
            Self::Findings => "findings",
            Self::Packages => "packages",
            Self::Layers => "layers",
            Self::Changes => "changes",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Findings => "Findings",
            Self::Packages => "Packages",
            Self::Layers => "Layers",
            Self::Changes => "Changes",
        }
    }
}

impl Wanted {
    /// Writes the page's query.
    fn query(&self) -> String {
        let mut query = format!("?view={}", self.view.name());
        for (name, value) in [
            ("q", &self.q),
            ("severity", &self.severity),
            ("side", &self.side),
            ("by", &self.by),
            ("fixable", &self.fixable),
            ("platform", &self.platform),
        ] {
            if !value.is_empty() {
                // Writing to a text cannot fail.
                let _ = write!(query, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
        }
        if self.page > 0 {
            let _ = write!(query, "&page={}", self.page);
        }
        query
    }

    fn filter(&self) -> Filter {
        Filter {
            least: Level::parse(&self.severity).unwrap_or_default(),
            text: self.q.clone(),
            side: match self.side.as_str() {
                "base" => Some(Side::Base),
                "yours" => Some(Side::Yours),
                _ => None,
            },
            fixable: (!self.fixable.is_empty()).then_some(true),
            ..Filter::default()
        }
    }

    fn takes_package(&self, package: &Package, side: Option<Side>) -> bool {
        let needle = self.q.to_lowercase();
        self.filter().side.is_none_or(|wanted| side == Some(wanted))
            && (needle.is_empty()
                || package.purl.to_lowercase().contains(&needle)
                || package.name.to_lowercase().contains(&needle)
                || package.file.to_lowercase().contains(&needle))
    }
}

impl<'a> ImagePage<'a> {
    fn root(&self) -> String {
        format!("/tenants/{}/images/{}", self.tenant, self.summary.digest)
    }

    fn link(&self, change: impl FnOnce(&mut Wanted)) -> String {
        let mut wanted = self.wanted.clone();
        wanted.page = 0;
        change(&mut wanted);
        format!("{}{}", self.root(), wanted.query())
    }

    /// Tells whether the report is on its way.
    pub fn is_moving(&self) -> bool {
        is_awaited(self.summary, self.now)
    }

    fn platform(&self) -> Option<&'a PlatformReport> {
        let report = self.report?;
        let is_wanted = |platform: &&PlatformReport| platform.digest.to_string() == self.wanted.platform;
        report
            .platforms
            .iter()
            .find(is_wanted)
            .or_else(|| report.main_platform())
    }

    fn platform_findings(&self) -> Option<&'a PlatformFindings> {
        let platform = self.platform()?;
        self.findings?
            .platforms
            .iter()
            .find(|findings| findings.digest == platform.digest)
    }

    /// Returns what the image is called: its first place with a tag.
    pub fn title(&self) -> String {
        match self.summary.places.first() {
            Some(place) => match place.tags.first() {
                Some(tag) => format!("{}:{tag}", place.repository),
                None => place.repository.to_string(),
            },
            None => self.report.map_or_else(
                || "Image".to_owned(),
                |report| {
                    report
                        .image
                        .repository
                        .rsplit_once(".amazonaws.com/")
                        .map_or_else(|| report.image.repository.clone(), |(_, name)| name.to_owned())
                },
            ),
        }
    }
}

/// Shows the page.
pub fn page(view: &ImagePage<'_>) -> Markup {
    html! {
        nav.crumbs aria-label="Breadcrumb" { a href={ "/tenants/" (view.tenant) "/images" } { "Images" } }
        h1.break { (shown(&view.title())) }
        div #image data-live {
            p { (copyable("the digest", &view.summary.digest.to_string())) }
            (facts(view))
            (outcome(view))
        }
        @if let Some(platform) = view.platform() { (report(view, platform)) }
    }
}

fn facts(view: &ImagePage<'_>) -> Markup {
    let summary = view.summary;
    html! {
        dl.facts {
            dt { "Lies in" }
            dd {
                @let present: Vec<&Location> = view.locations.iter().filter(|location| location.is_present()).collect();
                @if present.is_empty() { "no repository any more: it was deleted" }
                ul.plain {
                    @for location in present {
                        li {
                            (location.repository) " in " (location.region) ", account " span.number { (location.account) }
                            @if let Presence::Present { tags, archived, .. } = &location.presence {
                                @for tag in tags.iter().take(20) { " " span.tag { (tag) } }
                                @if tags.len() > 20 { " " span.dim { "and " (tags.len() - 20) " more" } }
                                @if tags.is_empty() { " " span.dim { "untagged" } }
                                @if *archived { " " (badge(Mark::Unsure, "archived")) }
                            }
                        }
                    }
                }
            }
            dt { "Pushed" }
            dd { (time(summary.since)) ", known by " (known_by(summary.known_by)) }
            @if let Some(scan) = &summary.scan {
                dt { "Reported" }
                dd {
                    (time(scan.at))
                    @if summary.known_by == KnownBy::Event { ", " (took(summary.since, scan.at)) " after the push" }
                    @if let ScanResult::Reported { pulled_bytes, spared_bytes, .. } = &scan.result {
                        "; " (bytes(*pulled_bytes)) " of layers read"
                        @if *spared_bytes > 0 { ", " (bytes(*spared_bytes)) " known before" }
                    }
                }
            }
            @if let Some(os) = view.platform().and_then(|platform| platform.os.as_ref()) {
                dt { "System" }
                dd { (shown(&os.id)) @if let Some(version) = &os.version_id { " " (shown(version)) } }
            }
        }
    }
}

fn outcome(view: &ImagePage<'_>) -> Markup {
    html! {
        @match view.summary.scan.as_ref().map(|scan| &scan.result) {
            Some(ScanResult::Refused { problem }) => div.card { h2 { "It could not be scanned" } (element::problem(problem)) },
            Some(ScanResult::Reported { .. }) => {},
            None if view.is_moving() => p role="status" { (badge(Mark::Turn, "being scanned")) " The report appears here by itself." },
            None => p { "It has not been scanned yet." },
        }
    }
}

fn report(view: &ImagePage<'_>, platform: &PlatformReport) -> Markup {
    let report = view.report;
    let findings = view.platform_findings();
    let partial: Vec<_> = platform
        .partial
        .iter()
        .filter(|partial| partial.partial.code.hides_packages())
        .collect();
    html! {
        @if let Some(report) = report.filter(|report| report.platforms.len() > 1) { (platforms(view, report, platform)) }
        @if !partial.is_empty() {
            div.card.unsure {
                p { strong { "Packages may be missing." } " Some of the image could not be read:" }
                ul {
                    @for partial in partial.iter().take(20) {
                        li { "layer " (partial.layer.index) ": " code { (shown(partial.partial.code.as_str())) } @if !partial.partial.path.is_empty() { " at " code.break { (shown(&partial.partial.path)) } } }
                    }
                    @if partial.len() > 20 { li { "and " (partial.len() - 20) " more" } }
                }
            }
        }
        @match findings {
            Some(findings) => (tiles(view, findings)),
            None => p.dim { "Its packages have not been compared with advisories yet." },
        }
        ul.tabs aria-label="Ways to look at the report" {
            @for tab in View::ALL {
                @let number = match tab {
                    View::Findings => Some(findings.map_or(0, |findings| open(findings).count())),
                    View::Packages => Some(platform.packages.len()),
                    View::Layers => Some(platform.layers.len()),
                    View::Changes => None,
                };
                li {
                    a href=(view.link(|wanted| *wanted = Wanted { view: tab, platform: wanted.platform.clone(), ..Wanted::default() }))
                        aria-current=[(tab == view.wanted.view).then_some("page")] {
                            strong { (tab.title()) } @if let Some(number) = number { span { (number) } }
                        }
                }
            }
        }
        @match view.wanted.view {
            View::Findings => @if let Some(findings) = findings { (findings_table(view, findings)) },
            View::Packages => (packages_table(view, platform)),
            View::Layers => (layers_table(platform, findings)),
            View::Changes => (changes::section(view.tenant, view.since)),
        }
        (downloads(view))
    }
}

fn open(findings: &PlatformFindings) -> impl Iterator<Item = &PlacedFinding> {
    findings
        .findings
        .iter()
        .filter(|found| found.suppressed.is_none())
}

fn platforms(view: &ImagePage<'_>, report: &Report, current: &PlatformReport) -> Markup {
    html! {
        ul.tabs aria-label="Platforms" {
            @for platform in &report.platforms {
                @let name = platform.platform.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
                li {
                    a href=(view.link(|wanted| wanted.platform = platform.digest.to_string()))
                        aria-current=[(platform.digest == current.digest).then_some("page")] { (shown(&name)) }
                }
            }
        }
    }
}

/// Names a level for people and for the style.
pub fn level(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::High => "high",
        Level::Medium => "medium",
        Level::Low => "low",
        Level::Negligible => "negligible",
        Level::Unknown => "unknown",
    }
}

fn tiles(view: &ImagePage<'_>, findings: &PlatformFindings) -> Markup {
    let mut counts: BTreeMap<Level, usize> = BTreeMap::new();
    for found in open(findings) {
        *counts.entry(found.finding.severity.level).or_default() += 1;
    }
    html! {
        ul.tiles.levels {
            @for one in Level::ALL.into_iter().rev() {
                @let number = counts.get(&one).copied().unwrap_or_default();
                li {
                    a.tile.(if number == 0 { "calm" } else { level(one) })
                        href=(view.link(|wanted| *wanted = Wanted { severity: level(one).to_owned(), platform: wanted.platform.clone(), ..Wanted::default() })) {
                        strong { (number) } " " (level(one))
                    }
                }
            }
        }
    }
}

fn filters(view: &ImagePage<'_>, has_sides: bool) -> Markup {
    let wanted = &view.wanted;
    let is_findings = wanted.view == View::Findings;
    html! {
        form.filter method="get" action=(view.root()) {
            input type="hidden" name="view" value=(wanted.view.name());
            @if !wanted.platform.is_empty() { input type="hidden" name="platform" value=(wanted.platform); }
            div.field {
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

fn findings_table(view: &ImagePage<'_>, findings: &PlatformFindings) -> Markup {
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

fn packages_table(view: &ImagePage<'_>, platform: &PlatformReport) -> Markup {
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

fn layers_table(platform: &PlatformReport, findings: Option<&PlatformFindings>) -> Markup {
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

/// Each format, what it is, how it is written, and whether it needs findings.
const DOWNLOADS: [(&str, &str, &str, bool); 7] = [
    ("html", "Report", "HTML", false),
    ("json", "Report", "JSON", false),
    ("findings-json", "Findings", "JSON", true),
    ("sarif", "Findings", "SARIF", true),
    ("cyclonedx-json", "SBOM", "CycloneDX JSON", false),
    (
        "cyclonedx-vex-json",
        "SBOM and findings",
        "CycloneDX JSON (VEX)",
        true,
    ),
    ("spdx-json", "SBOM", "SPDX JSON", false),
];

fn downloads(view: &ImagePage<'_>) -> Markup {
    let document = format!(
        "/v1/tenants/{}/images/{}/report?format=",
        view.tenant, view.summary.digest
    );
    html! {
        section.card aria-labelledby="downloads" {
            h2 #downloads { "Downloads" }
            ul.downloads {
                @for (format, name, kind, needs_findings) in DOWNLOADS {
                    @if !needs_findings || view.findings.is_some() {
                        li { a download href={ (document) (format) } { (name) span.dim { " " (kind) } } }
                    }
                }
            }
        }
    }
}
