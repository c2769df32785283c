//! From packages to findings.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Database, DatabaseError, Level, Package, Severity,
    database::{Asked, Head, Hit},
    ecosystem::scheme,
};

/// What is wrong with some packages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Findings {
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// The packages about which nothing can be said, by package URL, and why.
    pub unmatched: Vec<Unmatched>,
}

/// A flaw of a package, under all its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The name that most people know: a CVE's, if it has one.
    pub id: String,
    /// All advisories about it and their other names, [`Finding::id`] included.
    pub ids: Vec<String>,
    /// The package's URL.
    pub purl: String,
    /// The version that fixes it; none if there is no fix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// One line; may be empty.
    pub summary: String,
    /// Where to read more.
    pub links: Vec<String>,
    /// When an advisory about it was first published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub published: Option<Timestamp>,
    /// When an advisory about it was last changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub modified: Timestamp,
}

/// A package about which nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Unmatched {
    /// The package's URL.
    pub purl: String,
    /// Why.
    pub reason: UnmatchedReason,
}

/// Why nothing can be said about a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnmatchedReason {
    /// Nobody publishes advisories for such packages, or its distribution's release is not known.
    NoAdvisories,
    /// The package has no version.
    NoVersion,
    /// The version cannot be compared with others; only advisories that name it were found.
    OddVersion,
}

impl Database {
    /// Finds what is wrong with packages.
    ///
    /// Packages that a distribution's package installed are left to the distribution's advisories. The same package is
    /// looked up once, however often it is there.
    pub fn find(&self, packages: &[Package]) -> Result<Findings, DatabaseError> {
        let matched = self.match_packages(packages)?;
        self.describe(matched)
    }

    /// Counts the findings without their texts, which only a reader needs.
    pub fn count(&self, packages: &[Package]) -> Result<usize, DatabaseError> {
        Ok(self.match_packages(packages)?.groups.len())
    }

    /// Finds which advisories affect which package, without any text: what a match costs before somebody reads it.
    fn match_packages<'a>(&'a self, packages: &'a [Package]) -> Result<Matched<'a>, DatabaseError> {
        let mut matched = Matched::default();
        let mut unique: BTreeMap<&str, &Package> = BTreeMap::new();
        for package in packages.iter().filter(|package| !package.is_owned) {
            unique.entry(&package.purl).or_insert(package);
        }
        let mut hits = Vec::new();
        for package in unique.into_values() {
            let mut unmatched = |reason| {
                matched.unmatched.push(Unmatched {
                    purl: package.purl.clone(),
                    reason,
                });
            };
            let Some(lookup) = package.lookup() else {
                unmatched(UnmatchedReason::NoAdvisories);
                continue;
            };
            let Some(version) = &lookup.version else {
                unmatched(UnmatchedReason::NoVersion);
                continue;
            };
            hits.clear();
            for ecosystem in &lookup.ecosystems {
                let Some(scheme) = scheme(ecosystem) else {
                    continue;
                };
                if !scheme.is_valid(version) && ecosystem == &lookup.ecosystems[0] {
                    unmatched(UnmatchedReason::OddVersion);
                }
                let asked = Asked {
                    ecosystem,
                    scheme,
                    name: &lookup.name,
                    version,
                    is_without_epoch: lookup.is_without_epoch,
                };
                self.hits(&asked, &mut hits)?;
            }
            for group in self.fold(&hits)? {
                matched.groups.push((package, group));
            }
        }
        Ok(matched)
    }

    /// Puts hits together that speak of the same flaw.
    fn fold<'a>(&'a self, hits: &[Hit<'a>]) -> Result<Vec<Group<'a>>, DatabaseError> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut collections: Vec<(Head<'a>, Hit<'a>)> = Vec::new();
        for hit in hits {
            let head = self.head(hit.advisory)?;
            if head.upstream.len() > 1 {
                collections.push((head, *hit));
            } else {
                add(&mut groups, &head, *hit);
            }
        }
        // An advisory about several flaws adds nothing where each has its own finding; else it is one itself.
        for (head, hit) in collections {
            let is_covered = head
                .upstream
                .iter()
                .all(|id| groups.iter().any(|group| group.ids.contains(id)));
            if is_covered {
                for group in &mut groups {
                    if head.upstream.iter().any(|id| group.ids.contains(id)) {
                        group.ids.push(head.id);
                        group.take(&head, hit);
                    }
                }
            } else {
                let alone = Head {
                    upstream: Vec::new(),
                    ..head.clone()
                };
                add(&mut groups, &alone, hit);
            }
        }
        Ok(groups)
    }

    fn describe(&self, matched: Matched<'_>) -> Result<Findings, DatabaseError> {
        let mut findings = Vec::new();
        for (package, mut group) in matched.groups {
            group.ids.sort_by_key(|id| (rank(id), *id));
            group.ids.dedup();
            let details = self.details(&group.advisories)?;
            let mut links: Vec<String> = Vec::new();
            for link in details.iter().flat_map(|details| &details.links) {
                if links.len() < MAX_LINKS && !links.contains(link) {
                    links.push(link.clone());
                }
            }
            let vector = group.severest.and_then(|advisory| {
                let place = group.advisories.iter().position(|known| *known == advisory)?;
                details[place].vector.clone()
            });
            let Some(modified) = details.iter().map(|details| details.modified).max() else {
                continue;
            };
            findings.push(Finding {
                id: group.ids[0].to_owned(),
                ids: group.ids.iter().map(|id| (*id).to_owned()).collect(),
                purl: package.purl.clone(),
                fixed: group.fixed.map(str::to_owned),
                severity: Severity {
                    level: group.level,
                    score_tenths: group.score_tenths,
                    vector,
                },
                summary: details
                    .iter()
                    .map(|details| &details.summary)
                    .find(|summary| !summary.is_empty())
                    .cloned()
                    .unwrap_or_default(),
                links,
                published: details.iter().filter_map(|details| details.published).min(),
                modified,
            });
        }
        findings.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.severity.level, finding.severity.score_tenths);
            key(b)
                .cmp(&key(a))
                .then_with(|| (&a.purl, &a.id).cmp(&(&b.purl, &b.id)))
        });
        Ok(Findings {
            findings,
            unmatched: matched.unmatched,
        })
    }
}

const MAX_LINKS: usize = 5;

/// Findings before they are described.
#[derive(Debug, Default)]
struct Matched<'a> {
    groups: Vec<(&'a Package, Group<'a>)>,
    unmatched: Vec<Unmatched>,
}

/// Advisories that speak of one flaw.
#[derive(Debug)]
struct Group<'a> {
    ids: Vec<&'a str>,
    advisories: Vec<usize>,
    fixed: Option<&'a str>,
    level: Level,
    score_tenths: Option<u8>,
    /// The advisory that gave the score.
    severest: Option<usize>,
}

impl<'a> Group<'a> {
    /// Takes over what another advisory says of the same flaw: a fix where there was none, and the worse severity.
    fn take(&mut self, head: &Head<'a>, hit: Hit<'a>) {
        if !self.advisories.contains(&hit.advisory) {
            self.advisories.push(hit.advisory);
        }
        self.fixed = self.fixed.or(hit.fixed);
        if (head.level, head.score_tenths) > (self.level, self.score_tenths) {
            (self.level, self.score_tenths) = (head.level, head.score_tenths);
            self.severest = Some(hit.advisory);
        }
    }
}

/// Adds an advisory to the flaw that it speaks of; one that speaks of several shows that they are one.
fn add<'a>(groups: &mut Vec<Group<'a>>, head: &Head<'a>, hit: Hit<'a>) {
    let ids: Vec<&str> = [head.id]
        .into_iter()
        .chain(head.aliases.iter().copied())
        .chain(head.upstream.iter().copied())
        .collect();
    let mut group = Group {
        ids: Vec::new(),
        advisories: Vec::new(),
        fixed: None,
        level: Level::Unknown,
        score_tenths: None,
        severest: None,
    };
    // In the order of the database, so that the first advisory's fix counts.
    for same in groups.extract_if(.., |group| group.ids.iter().any(|id| ids.contains(id))) {
        group.ids.extend(same.ids);
        group.advisories.extend(same.advisories);
        group.fixed = group.fixed.or(same.fixed);
        if (same.level, same.score_tenths) > (group.level, group.score_tenths) {
            (group.level, group.score_tenths, group.severest) =
                (same.level, same.score_tenths, same.severest);
        }
    }
    group.take(head, hit);
    group.ids.extend(ids);
    group.ids.sort_unstable();
    group.ids.dedup();
    groups.push(group);
}

/// Names that most people know come first.
fn rank(id: &str) -> u8 {
    match id.split('-').next() {
        Some("CVE") => 0,
        Some("GHSA") => 1,
        Some("MAL") => 2,
        _ => 3,
    }
}
