//! What changed between two sets of findings: another image under the same tag, or the same image and another database.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use portwarden_advisories::{Database, DatabaseError, Level, Sbom};
use portwarden_oci::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ImageFindings, PlacedFinding, Report, purl::versionless};

/// What is compared: packages, and what is wrong with them.
#[derive(Debug, Clone)]
pub struct Snapshot<'a> {
    /// The versions of each package, by its package URL without a version.
    packages: BTreeMap<String, BTreeSet<String>>,
    findings: &'a ImageFindings,
}

/// What changed, the worst first. The platforms of an index are taken together: the same flaw of the same package is one
/// change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// Findings that count now and did not before.
    pub new: Vec<Change>,
    /// Findings that are not there any more.
    pub fixed: Vec<Change>,
    /// Findings that are there still, but somebody said that they do not count.
    pub suppressed: Vec<Change>,
    /// Findings that counted before and count now.
    pub still_there: Vec<StillThere>,
}

/// A finding that came or went, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The finding: as it is now, or as it was if it is gone.
    #[serde(flatten)]
    pub found: PlacedFinding,
    /// Why it came or went.
    pub cause: Cause,
}

/// A finding that is there still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StillThere {
    /// The finding as it is now.
    #[serde(flatten)]
    pub found: PlacedFinding,
    /// How bad it was held to be before, if that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_before: Option<Level>,
    /// Whether there is a fix now and was none before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fix_is_new: bool,
}

/// Why a finding came or went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// The package was not there before.
    PackageAdded,
    /// The package is not there any more.
    PackageRemoved,
    /// The package has another version.
    PackageUpdated {
        /// Its versions before.
        from: Vec<String>,
        /// Its versions now.
        to: Vec<String>,
    },
    /// The advisory was published since.
    AdvisoryPublished,
    /// The advisory was changed since: it speaks of other versions.
    AdvisoryChanged,
    /// The advisory was taken back since.
    AdvisoryWithdrawn,
    /// ECR's own scanning found it, or finds it no more, and no advisory speaks of it.
    RegistryScanned,
    /// Somebody said that the finding does not count.
    Suppressed,
    /// What was said of the finding does not hold any more, for example since a rule has expired.
    SuppressionEnded,
}

impl<'a> Snapshot<'a> {
    /// Takes an image, and what is wrong with it.
    pub fn of_report(report: &Report, findings: &'a ImageFindings) -> Self {
        let packages = report.platforms.iter().flat_map(|platform| &platform.packages);
        Self::new(packages.map(|package| package.purl.as_str()), findings)
    }

    /// Takes the packages of an SBOM, and what is wrong with them.
    pub fn of_sbom(sbom: &Sbom, findings: &'a ImageFindings) -> Self {
        Self::new(
            sbom.packages.iter().map(|package| package.purl.as_str()),
            findings,
        )
    }

    fn new<'b>(purls: impl Iterator<Item = &'b str>, findings: &'a ImageFindings) -> Self {
        let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for purl in purls.collect::<BTreeSet<_>>() {
            let versions = packages.entry(versionless(purl)).or_default();
            versions.extend(crate::purl::name_and_version(purl).1);
        }
        Self { packages, findings }
    }
}

/// Compares what was with what is.
///
/// `database` is the one that the findings of `after` come from. With it an advisory that was taken back is told from one
/// that was changed; without it both count as changed.
pub fn compare(
    before: &Snapshot<'_>,
    after: &Snapshot<'_>,
    database: Option<&Database>,
) -> Result<Changes, DatabaseError> {
    let (was, is) = (Flaws::of(before.findings), Flaws::of(after.findings));
    let mut changes = Changes::default();
    let since = before.findings.matched_at;
    for (package, found) in is.all() {
        let earlier = was.same(package, found);
        let cause = match (earlier, &found.suppressed) {
            (Some(earlier), None) if earlier.suppressed.is_none() => {
                changes.still_there.push(StillThere::of(earlier, found));
                continue;
            }
            (Some(earlier), Some(_)) if earlier.suppressed.is_none() => Cause::Suppressed,
            // What came and does not count is nobody's news.
            (_, Some(_)) => continue,
            (Some(_), None) => Cause::SuppressionEnded,
            (None, None) => {
                package_cause(before, after, package).unwrap_or_else(|| cause_of_coming(found, since))
            }
        };
        let change = Change {
            found: found.clone(),
            cause,
        };
        match change.cause {
            Cause::Suppressed => changes.suppressed.push(change),
            _ => changes.new.push(change),
        }
    }
    for (package, found) in was.all() {
        if found.suppressed.is_some() || is.same(package, found).is_some() {
            continue;
        }
        let cause = match package_cause(before, after, package) {
            Some(cause) => cause,
            None => cause_of_going(found, database)?,
        };
        changes.fixed.push(Change {
            found: found.clone(),
            cause,
        });
    }
    changes.sort();
    Ok(changes)
}

/// Tells what became of a package; nothing if it is as it was.
fn package_cause(before: &Snapshot<'_>, after: &Snapshot<'_>, package: &str) -> Option<Cause> {
    match (before.packages.get(package), after.packages.get(package)) {
        (None, Some(_)) => Some(Cause::PackageAdded),
        (Some(_), None) => Some(Cause::PackageRemoved),
        (Some(from), Some(to)) if from != to => Some(Cause::PackageUpdated {
            from: from.iter().cloned().collect(),
            to: to.iter().cloned().collect(),
        }),
        _ => None,
    }
}

fn cause_of_coming(found: &PlacedFinding, since: Timestamp) -> Cause {
    match found.finding.published {
        _ if !found.is_of_advisories() => Cause::RegistryScanned,
        Some(published) if published <= since => Cause::AdvisoryChanged,
        _ => Cause::AdvisoryPublished,
    }
}

fn cause_of_going(found: &PlacedFinding, database: Option<&Database>) -> Result<Cause, DatabaseError> {
    let ids: BTreeSet<&str> = found.finding.ids.iter().map(String::as_str).collect();
    Ok(match database {
        _ if !found.is_of_advisories() => Cause::RegistryScanned,
        Some(database) if !database.has_any(&ids)? => Cause::AdvisoryWithdrawn,
        _ => Cause::AdvisoryChanged,
    })
}

/// The findings of all platforms, each flaw of each package once: one that counts, if any does.
struct Flaws<'a>(BTreeMap<String, Vec<&'a PlacedFinding>>);

impl<'a> Flaws<'a> {
    fn of(findings: &'a ImageFindings) -> Self {
        let mut flaws = Self(BTreeMap::new());
        for found in findings.platforms.iter().flat_map(|platform| &platform.findings) {
            let of_package = flaws.0.entry(versionless(&found.finding.purl)).or_default();
            match of_package.iter_mut().find(|known| is_same(known, found)) {
                Some(known) if known.suppressed.is_some() && found.suppressed.is_none() => *known = found,
                Some(_) => {}
                None => of_package.push(found),
            }
        }
        flaws
    }

    fn all(&self) -> impl Iterator<Item = (&str, &'a PlacedFinding)> {
        let packages = self.0.iter();
        packages.flat_map(|(package, all)| all.iter().map(|found| (package.as_str(), *found)))
    }

    fn same(&self, package: &str, found: &PlacedFinding) -> Option<&'a PlacedFinding> {
        self.0
            .get(package)?
            .iter()
            .find(|known| is_same(known, found))
            .copied()
    }
}

/// Tells whether two findings of one package are the same flaw: they have a name in common.
fn is_same(one: &PlacedFinding, other: &PlacedFinding) -> bool {
    one.finding.ids.iter().any(|id| other.finding.ids.contains(id))
}

impl StillThere {
    fn of(before: &PlacedFinding, now: &PlacedFinding) -> Self {
        let level = before.finding.severity.level;
        Self {
            found: now.clone(),
            level_before: (level != now.finding.severity.level).then_some(level),
            fix_is_new: before.finding.fixed.is_none() && now.finding.fixed.is_some(),
        }
    }
}

impl Changes {
    /// Tells whether there is nothing to tell: nothing came, went or was suppressed.
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.fixed.is_empty() && self.suppressed.is_empty()
    }

    fn sort(&mut self) {
        type Key = (std::cmp::Reverse<(Level, Option<u8>)>, String, String);
        let key = |found: &PlacedFinding| -> Key {
            let severity = &found.finding.severity;
            let badness = std::cmp::Reverse((severity.level, severity.score_tenths));
            (badness, found.finding.purl.clone(), found.finding.id.clone())
        };
        for list in [&mut self.new, &mut self.fixed, &mut self.suppressed] {
            list.sort_by_key(|change| key(&change.found));
        }
        self.still_there.sort_by_key(|still| key(&still.found));
    }

    /// Takes down what is told to those who listen: everything counted, and at most [`ChangesEvent::MAX_LISTED`] of each
    /// kind in full, as far as there is room.
    pub fn event(&self, before: &ImageFindings, after: &ImageFindings) -> ChangesEvent {
        let list = |changes: &[Change]| {
            let mut room = ChangesEvent::MAX_BYTES;
            let lines = changes.iter().take(ChangesEvent::MAX_LISTED).map(ChangeLine::of);
            // An image can name its packages as it likes, and at any length.
            lines
                .take_while(|line| {
                    let length = serde_json::to_vec(line).map_or(usize::MAX, |json| json.len());
                    let fits = length <= room;
                    room -= length.min(room);
                    fits
                })
                .collect()
        };
        ChangesEvent {
            before: Compared::of(before),
            after: Compared::of(after),
            counts: ChangeCounts {
                new: self.new.len(),
                fixed: self.fixed.len(),
                suppressed: self.suppressed.len(),
                still_there: self.still_there.len(),
            },
            new: list(&self.new),
            fixed: list(&self.fixed),
            suppressed: list(&self.suppressed),
        }
    }
}

/// What changed, as an event or a webhook tells it; small enough for both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangesEvent {
    /// What was: the previous image of the tag, or the same image with an earlier database.
    pub before: Compared,
    /// What is.
    pub after: Compared,
    /// How many findings came, went and stayed.
    pub counts: ChangeCounts,
    /// The worst of those that came.
    pub new: Vec<ChangeLine>,
    /// The worst of those that went.
    pub fixed: Vec<ChangeLine>,
    /// The worst of those that do not count any more.
    pub suppressed: Vec<ChangeLine>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// The digest of the image or index.
    pub digest: Digest,
    /// When its packages were compared with advisories.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub matched_at: Timestamp,
    /// The version of the advisory database.
    pub database: String,
}

/// How many findings came, went and stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeCounts {
    /// Those that count now and did not before.
    pub new: usize,
    /// Those that are not there any more.
    pub fixed: usize,
    /// Those that do not count any more, but are there.
    pub suppressed: usize,
    /// Those that counted before and count now.
    pub still_there: usize,
}

/// One change in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeLine {
    /// The flaw's best-known name.
    pub id: String,
    /// How bad it is.
    pub severity: Level,
    /// The package's URL.
    pub purl: String,
    /// The version that fixes it; none if there is no fix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_version: Option<String>,
    /// Why it came or went.
    pub cause: Cause,
}

impl ChangesEvent {
    /// How many changes of each kind are listed.
    pub const MAX_LISTED: usize = 50;

    /// How many bytes of JSON the list of each kind may have: a quarter of what a notification may.
    const MAX_BYTES: usize = portwarden_core::notification::MAX_DATA / 4;
}

impl Compared {
    fn of(findings: &ImageFindings) -> Self {
        Self {
            digest: findings.digest,
            matched_at: findings.matched_at,
            database: findings.database.version.clone(),
        }
    }
}

impl ChangeLine {
    fn of(change: &Change) -> Self {
        let finding = &change.found.finding;
        Self {
            id: finding.id.clone(),
            severity: finding.severity.level,
            purl: finding.purl.clone(),
            fixed_version: finding.fixed.clone(),
            cause: change.cause.clone(),
        }
    }
}
