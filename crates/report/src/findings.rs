//! What is wrong with an image, by one advisory database: a document of its own, since findings change with each
//! database and packages do not.

use std::{cmp::Ordering, collections::BTreeMap};

use jiff::Timestamp;
use portwarden_advisories::{
    Database, DatabaseError, EcosystemInfo, Finding, Findings, Level, Package, Sbom, Unmatched,
};
use portwarden_catalog::{LayerRef, Package as CataloguedPackage};
use portwarden_oci::{Digest, Platform};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ExpiredRule, FoundBy, MergedScan, PlatformReport, RegistryWord, Report, Side, Suppression,
    purl::name_and_version,
};

/// What is wrong with an image: the JSON that lies beside its report.
///
/// Fields keep their names and meanings within a `schema_version`; new ones may come. The same report, database, rules and
/// time give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageFindings {
    /// The version of this format, [`ImageFindings::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The digest of the image or index; of the document itself, where the packages are those of an SBOM.
    pub digest: Digest,
    /// The version of the catalog that found the packages; none for those of an SBOM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_version: Option<u32>,
    /// When the packages were compared with the database.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub matched_at: Timestamp,
    /// What they were compared with.
    pub database: DatabaseStamp,
    /// Which scan of ECR's own was merged, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_scan: Option<MergedScan>,
    /// How many findings of each severity there are that count, each counted once for every platform.
    pub counts: BTreeMap<Level, usize>,
    /// How many of those have a fix.
    pub fixable: usize,
    /// How many more there are that somebody has said do not count.
    pub suppressed: usize,
    /// The findings of each platform, in the report's order.
    pub platforms: Vec<PlatformFindings>,
    /// Rules that would have suppressed something, had their day not been over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired_rules: Vec<ExpiredRule>,
}

/// Which advisory database packages were compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseStamp {
    /// Another text for every other content, [`Database::version`].
    pub version: String,
    /// What it was built from, and how old that is.
    pub ecosystems: Vec<EcosystemInfo>,
}

/// What is wrong with one platform's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformFindings {
    /// What the image runs on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The digest of the platform's own manifest; of the document itself, where the packages are those of an SBOM.
    pub digest: Digest,
    /// The findings, the worst first; those that do not count are among them.
    pub findings: Vec<PlacedFinding>,
    /// The packages about which nothing can be said, and why.
    pub unmatched: Vec<Unmatched>,
}

/// A flaw of a package, and where the package lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacedFinding {
    /// The flaw.
    #[serde(flatten)]
    pub finding: Finding,
    /// The package's name, for people.
    pub name: String,
    /// The package's version, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where the package is installed; not known for those of an SBOM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// Who found it.
    #[serde(default = "FoundBy::advisories")]
    pub found_by: Vec<FoundBy>,
    /// What ECR's own scanning says of it, if it found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryWord>,
    /// Why the finding does not count, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<Suppression>,
}

/// Where a package is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The path of the file that shows the package, relative to the image's root.
    pub file: String,
    /// The layer that brought it.
    pub layer: LayerRef,
    /// Whose that layer is, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
}

impl ImageFindings {
    /// The version of the format that this type writes.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Compares the packages of a report with a database.
    pub fn of_report(report: &Report, database: &Database, now: Timestamp) -> Result<Self, DatabaseError> {
        let platforms = report
            .platforms
            .iter()
            .map(|platform| {
                let packages: Vec<Package> = platform.packages.iter().map(package).collect();
                let found = database.find(&packages)?;
                Ok(PlatformFindings::placed(platform, found))
            })
            .collect::<Result<_, DatabaseError>>()?;
        let catalog_version = Some(report.catalog_version);
        Ok(Self::new(
            report.image.digest,
            catalog_version,
            database,
            now,
            platforms,
        ))
    }

    /// Compares the packages of an SBOM with a database; `digest` is that of the document.
    pub fn of_sbom(
        sbom: &Sbom,
        digest: Digest,
        database: &Database,
        now: Timestamp,
    ) -> Result<Self, DatabaseError> {
        let found = database.find(&sbom.packages)?;
        let platform = PlatformFindings {
            platform: None,
            digest,
            findings: found.findings.into_iter().map(PlacedFinding::nowhere).collect(),
            unmatched: found.unmatched,
        };
        Ok(Self::new(digest, None, database, now, vec![platform]))
    }

    fn new(
        digest: Digest,
        catalog_version: Option<u32>,
        database: &Database,
        now: Timestamp,
        platforms: Vec<PlatformFindings>,
    ) -> Self {
        let mut findings = Self {
            schema_version: Self::SCHEMA_VERSION,
            digest,
            catalog_version,
            matched_at: now,
            database: DatabaseStamp::of(database),
            registry_scan: None,
            counts: BTreeMap::new(),
            fixable: 0,
            suppressed: 0,
            platforms,
            expired_rules: Vec::new(),
        };
        findings.count();
        findings
    }

    /// Counts again, after findings were suppressed.
    pub(crate) fn count(&mut self) {
        self.counts.clear();
        (self.fixable, self.suppressed) = (0, 0);
        for found in self.platforms.iter().flat_map(|platform| &platform.findings) {
            if found.suppressed.is_some() {
                self.suppressed += 1;
            } else {
                *self.counts.entry(found.finding.severity.level).or_default() += 1;
                self.fixable += usize::from(found.finding.fixed.is_some());
            }
        }
    }

    /// Returns the findings that count, of all platforms.
    pub fn open(&self) -> impl Iterator<Item = &PlacedFinding> {
        let all = self.platforms.iter().flat_map(|platform| &platform.findings);
        all.filter(|found| found.suppressed.is_none())
    }

    /// Returns the worst severity of the findings that count; none if there is no such finding.
    pub fn worst(&self) -> Option<Level> {
        self.counts.keys().next_back().copied()
    }

    /// Writes the findings as JSON.
    ///
    /// # Panics
    ///
    /// Never: texts, numbers and lists can always be written as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and lists can be written as JSON")
    }
}

impl DatabaseStamp {
    /// Takes down which database it is.
    pub fn of(database: &Database) -> Self {
        Self {
            version: database.version(),
            ecosystems: database.info().ecosystems.clone(),
        }
    }
}

impl PlatformFindings {
    /// Says of each finding where its package lies.
    fn placed(report: &PlatformReport, found: Findings) -> Self {
        let mut installed: BTreeMap<&str, Vec<&CataloguedPackage>> = BTreeMap::new();
        // What a distribution's package installed is not what the finding is about.
        for package in report
            .packages
            .iter()
            .filter(|package| package.owned_by.is_none())
        {
            installed.entry(&package.purl).or_default().push(package);
        }
        let findings = found.findings.into_iter().map(|finding| {
            let packages = installed.get(finding.purl.as_str()).into_iter().flatten();
            PlacedFinding::placed(finding, packages.copied(), report)
        });
        Self {
            platform: report.platform.clone(),
            digest: report.digest,
            findings: findings.collect(),
            unmatched: found.unmatched,
        }
    }
}

impl PlacedFinding {
    /// Takes a finding of an advisory, and the installed packages that it is about.
    pub(crate) fn placed<'a>(
        finding: Finding,
        packages: impl Iterator<Item = &'a CataloguedPackage>,
        report: &PlatformReport,
    ) -> Self {
        let mut placed = Self::nowhere(finding);
        for package in packages {
            if placed.places.is_empty() {
                placed.name.clone_from(&package.name);
                placed.version.clone_from(&package.version);
            }
            placed.places.push(Place {
                file: package.file.clone(),
                layer: package.layer,
                side: report.base.as_ref().map(|base| base.side(package.layer.index)),
            });
        }
        placed
    }

    /// Takes a finding of an advisory whose package's place is not known.
    pub(crate) fn nowhere(finding: Finding) -> Self {
        let (name, version) = name_and_version(&finding.purl);
        Self {
            name,
            version,
            places: Vec::new(),
            found_by: FoundBy::advisories(),
            registry: None,
            suppressed: None,
            finding,
        }
    }

    /// Tells whether an advisory speaks of it, so that it is no finding of ECR's alone.
    pub fn is_of_advisories(&self) -> bool {
        self.found_by.contains(&FoundBy::Advisories)
    }

    /// Names who found it, for people.
    pub fn finders(&self) -> String {
        let words: Vec<&str> = self.found_by.iter().map(|by| by.words()).collect();
        words.join(", ")
    }

    /// Orders findings as lists show them.
    pub(crate) fn worst_first(&self, other: &Self) -> Ordering {
        let key = |found: &Self| (found.finding.severity.level, found.finding.severity.score_tenths);
        key(other).cmp(&key(self)).then_with(|| {
            (&self.finding.purl, &self.finding.id).cmp(&(&other.finding.purl, &other.finding.id))
        })
    }

    /// Returns whose layers show the package, where that can be told: yours, if any of them is.
    pub fn side(&self) -> Option<Side> {
        self.places.iter().filter_map(|place| place.side).max()
    }
}

/// Takes a catalogued package for one to look up.
pub(crate) fn package(package: &CataloguedPackage) -> Package {
    Package {
        source: package.source.clone().map(|source| (source.name, source.version)),
        is_owned: package.owned_by.is_some(),
        ..Package::new(package.purl.clone())
    }
}

impl PlatformReport {
    /// Returns the packages as they are matched.
    pub fn packages_to_match(&self) -> Vec<Package> {
        self.packages.iter().map(package).collect()
    }
}
