//! What ECR's own scanning found, beside what advisories say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use packageurl::PackageUrl;
use portwarden_advisories::{Finding, Level, Severity};
use portwarden_catalog::Package;
use portwarden_core::registry_scan::{RegistryFinding, RegistryScan, RegistryScanner};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ImageFindings, PlacedFinding, PlatformFindings, PlatformReport, Report};

/// Who found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// Portwarden, by an advisory of its database.
    Advisories,
    /// ECR's basic scanning.
    EcrBasic,
    /// ECR's enhanced scanning, which is Amazon Inspector's.
    EcrEnhanced,
}

/// What ECR's own scanning says of a finding, where it says something else than advisories, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistryWord {
    /// How bad it is.
    pub severity: Level,
    /// The version that fixes it; none if ECR names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
}

/// Which scan of ECR's own was merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergedScan {
    /// Who scanned.
    pub scanner: RegistryScanner,
    /// When that scan ended, where ECR says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub completed_at: Option<Timestamp>,
    /// Whether ECR has more findings than were read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Another text for every other content.
    pub stamp: String,
}

impl FoundBy {
    /// Takes who found what documents of older versions have.
    pub(crate) fn advisories() -> Vec<Self> {
        vec![Self::Advisories]
    }

    fn of(scanner: RegistryScanner) -> Self {
        match scanner {
            RegistryScanner::Basic => Self::EcrBasic,
            RegistryScanner::Enhanced => Self::EcrEnhanced,
        }
    }

    /// Returns the name that documents have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Advisories => "advisories",
            Self::EcrBasic => "ecr_basic",
            Self::EcrEnhanced => "ecr_enhanced",
        }
    }

    /// Says it for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Advisories => "advisories",
            Self::EcrBasic => "ECR's basic scanning",
            Self::EcrEnhanced => "ECR's enhanced scanning (Amazon Inspector)",
        }
    }
}

impl ImageFindings {
    /// Adds what ECR's own scanning found in the image.
    ///
    /// A flaw that advisories speak of, too, stays one finding, in the advisories' words, with ECR's beside them. What only ECR
    /// found is a finding of its own; but not if the package is one that a distribution's package installed, since only the
    /// distribution's advisories know what is patched in it. ECR scans images and no indexes, so an index stays as it is.
    pub fn merge(&mut self, report: &Report, scan: &RegistryScan) {
        self.registry_scan = Some(MergedScan {
            scanner: scan.scanner,
            completed_at: scan.completed_at,
            truncated: scan.truncated,
            stamp: scan.stamp(),
        });
        let own = report
            .platforms
            .iter()
            .find(|platform| platform.digest == self.digest);
        let found = self
            .platforms
            .iter_mut()
            .find(|platform| platform.digest == self.digest);
        if let (Some(own), Some(found)) = (own, found) {
            found.merge(own, scan, self.matched_at);
        }
        self.count();
    }
}

impl PlatformFindings {
    fn merge(&mut self, report: &PlatformReport, scan: &RegistryScan, now: Timestamp) {
        let by = FoundBy::of(scan.scanner);
        let installed = Installed::of(report);
        for found in &scan.findings {
            let packages = installed.meant_by(found);
            let purls: BTreeSet<&str> = packages.iter().map(|package| package.purl.as_str()).collect();
            let same = self.findings.iter_mut().filter(|known| {
                purls.contains(known.finding.purl.as_str())
                    && known.finding.ids.iter().any(|id| found.ids.contains(id))
            });
            let mut is_known = false;
            for known in same {
                is_known = true;
                if !known.found_by.contains(&by) {
                    known.found_by.push(by);
                    known.registry = Some(RegistryWord::of(found));
                }
            }
            if is_known {
                continue;
            }
            let unowned: BTreeSet<&str> = packages
                .iter()
                .filter(|package| package.owned_by.is_none())
                .map(|package| package.purl.as_str())
                .collect();
            for purl in &unowned {
                let finding = finding(found, (*purl).to_owned(), now);
                let places = packages.iter().filter(|package| package.purl == *purl);
                self.findings.push(PlacedFinding {
                    found_by: vec![by],
                    registry: Some(RegistryWord::of(found)),
                    ..PlacedFinding::placed(finding, places.copied(), report)
                });
            }
            if packages.is_empty() {
                let purl = purl_of(found, report);
                self.findings.push(PlacedFinding {
                    found_by: vec![by],
                    registry: Some(RegistryWord::of(found)),
                    ..PlacedFinding::nowhere(finding(found, purl, now))
                });
            }
        }
        self.findings.sort_by(PlacedFinding::worst_first);
    }
}

impl RegistryWord {
    fn of(found: &RegistryFinding) -> Self {
        Self {
            severity: Level::parse(&found.severity).unwrap_or_default(),
            fixed: found.fixed.clone(),
        }
    }
}

/// The packages of an image by their names and those of their sources.
struct Installed<'a>(BTreeMap<String, Vec<&'a Package>>);

impl<'a> Installed<'a> {
    fn of(report: &'a PlatformReport) -> Self {
        let mut by_name: BTreeMap<String, Vec<&Package>> = BTreeMap::new();
        for package in &report.packages {
            let source = package.source.iter().map(|source| source.name.as_str());
            let names: BTreeSet<String> = source.chain([package.name.as_str()]).map(plain).collect();
            for name in names {
                by_name.entry(name).or_default().push(package);
            }
        }
        Self(by_name)
    }

    /// Returns the packages that a finding is about, whichever of a package's two names and versions it uses.
    fn meant_by(&self, found: &RegistryFinding) -> Vec<&'a Package> {
        let name = plain(&found.package);
        let all = self.0.get(&name).into_iter().flatten();
        let is_meant = |package: &&&Package| {
            let Some(version) = &found.version else {
                return true;
            };
            let own = (plain(&package.name) == name).then_some(&package.version);
            let source = package
                .source
                .as_ref()
                .filter(|source| plain(&source.name) == name)
                .map(|source| {
                    if source.version.is_some() {
                        &source.version
                    } else {
                        &package.version
                    }
                });
            let mut versions = own.into_iter().chain(source).flatten();
            versions.any(|own| is_same_version(own, version))
        };
        all.filter(is_meant).copied().collect()
    }
}

/// Names are written in several ways: Python's with any separator, all of them in any case.
fn plain(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

/// Tells whether two versions are the same; an epoch that only one of them has, and Go's `v`, count for nothing.
fn is_same_version(one: &str, other: &str) -> bool {
    let parts = |version: &'_ str| -> (Option<u32>, String) {
        let version = version.strip_prefix('v').unwrap_or(version);
        match version.split_once(':') {
            Some((epoch, rest)) if epoch.parse::<u32>().is_ok() => (epoch.parse().ok(), rest.to_owned()),
            _ => (None, version.to_owned()),
        }
    };
    let ((epoch, version), (other_epoch, other_version)) = (parts(one), parts(other));
    version == other_version && (epoch == other_epoch || epoch.is_none() || other_epoch.is_none())
}

fn finding(found: &RegistryFinding, purl: String, now: Timestamp) -> Finding {
    Finding {
        id: found.ids.first().cloned().unwrap_or_default(),
        ids: found.ids.clone(),
        purl,
        fixed: found.fixed.clone(),
        severity: Severity {
            level: Level::parse(&found.severity).unwrap_or_default(),
            score_tenths: found.score_tenths,
            vector: found.vector.clone(),
        },
        summary: found.summary.clone(),
        links: found.links.clone(),
        published: found.published,
        // Basic scanning does not say.
        modified: found.modified.or(found.published).unwrap_or(now),
    }
}

/// Names a package that Portwarden has not found itself.
///
/// Source: Amazon Inspector API reference, `PackageManager`.
fn purl_of(found: &RegistryFinding, report: &PlatformReport) -> String {
    let os = || {
        let kinds = ["deb", "apk", "rpm"];
        let has = |kind: &&str| {
            report
                .packages_by_kind
                .keys()
                .any(|known| known.as_str() == *kind)
        };
        kinds.into_iter().find(has).unwrap_or("generic")
    };
    let kind = match found.manager.as_deref() {
        Some("OS") | None => os(),
        Some("BUNDLER" | "GEMSPEC") => "gem",
        Some("CARGO") => "cargo",
        Some("COMPOSER") => "composer",
        Some("NPM" | "YARN" | "NODEPKG") => "npm",
        Some("NUGET" | "DOTNET_CORE") => "nuget",
        Some("PIP" | "PIPENV" | "POETRY" | "PYTHONPKG") => "pypi",
        Some("GOBINARY" | "GOMOD") => "golang",
        Some("JAR" | "POM") => "maven",
        Some(_) => "generic",
    };
    let separator = if kind == "maven" { ':' } else { '/' };
    let (namespace, name) = match found.package.rsplit_once(separator) {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, found.package.as_str()),
    };
    let purl = || {
        let mut purl = PackageUrl::new(kind, name)?;
        if let Some(namespace) = namespace {
            purl.with_namespace(namespace)?;
        } else if let (Some(os), "deb" | "apk" | "rpm") = (&report.os, kind) {
            purl.with_namespace(os.id.as_str())?;
        }
        if let Some(version) = &found.version {
            purl.with_version(version.as_str())?;
        }
        Ok::<_, packageurl::Error>(purl.to_string())
    };
    // A name that no package URL holds is shown as it is.
    purl().unwrap_or_else(|_| found.package.clone())
}
