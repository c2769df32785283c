//! One image: where it lies, and its report by severity, by layer and by package.

mod tables;
mod wanted;

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};
use portwarden_advisories::Level;
use portwarden_core::{
    id::TenantId,
    image::{ImageSummary, Location, Presence, ScanResult},
    work::KnownBy,
};
use portwarden_oci::Tag;
use portwarden_report::{Changes, ImageFindings, PlacedFinding, PlatformFindings, PlatformReport, Report};

use super::{
    changes,
    element::{self, Mark, badge, bytes, copyable, shown, time},
    images::{is_awaited, known_by, took},
};

pub use wanted::{View, Wanted};

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
            View::Findings => @if let Some(findings) = findings { (tables::findings(view, findings)) },
            View::Packages => (tables::packages(view, platform)),
            View::Layers => (tables::layers(platform, findings)),
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
