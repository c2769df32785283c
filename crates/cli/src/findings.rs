//! What `scan` and `match` share: a database, what is done with findings, and how they are shown.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::Timestamp;
use portwarden_advisories::{Database, DatabaseError, Level, Sbom};
use portwarden_aws::SystemClock;
use portwarden_core::clock::Clock as _;
use portwarden_oci::{Digest, Platform};
use portwarden_report::{FoundBy, ImageFindings, PlacedFinding, Report, Side, Suppressions};

use crate::{
    failure::Failure,
    text::{Column, printable, table as rows},
};

/// What counts, and what is a failure.
#[derive(Debug, Args)]
pub(crate) struct JudgingArgs {
    /// Ends with status 4 if there is a finding of this severity, or worse
    #[arg(long, value_name = "SEVERITY", value_parser = parse_level, requires = "advisories")]
    fail_on: Option<Level>,
    /// Suppresses findings by the ignore rules of a file, until they expire; can be given several times
    #[arg(long, value_name = "FILE", requires = "advisories")]
    ignore: Vec<PathBuf>,
    #[arg(
        long,
        value_name = "FILE",
        requires = "advisories",
        help = "Suppresses findings by an OpenVEX document; can be given several times"
    )]
    vex: Vec<PathBuf>,
}

/// An open database, what does not count, and what counts as failure.
pub(crate) struct Matching {
    database: Database,
    suppressions: Suppressions,
    fail_on: Option<Level>,
    now: Timestamp,
}

impl Matching {
    /// Opens everything that findings are judged by.
    pub(crate) fn open(advisories: &Path, judging: &JudgingArgs) -> Result<Self, Failure> {
        Ok(Self {
            database: open(advisories)?,
            suppressions: judging.suppressions()?,
            fail_on: judging.fail_on,
            now: SystemClock.now(),
        })
    }

    /// Finds what is wrong with the packages of a report.
    pub(crate) fn of_report(&self, report: &Report) -> Result<ImageFindings, Failure> {
        let mut findings =
            ImageFindings::of_report(report, &self.database, self.now).map_err(|error| unusable(&error))?;
        self.suppressions.apply(&mut findings, Some(report), self.now);
        Ok(findings)
    }

    /// Finds what is wrong with the packages of an SBOM.
    pub(crate) fn of_sbom(&self, sbom: &Sbom, content: &[u8]) -> Result<ImageFindings, Failure> {
        let digest = Digest::of(content);
        let mut findings = ImageFindings::of_sbom(sbom, digest, &self.database, self.now)
            .map_err(|error| unusable(&error))?;
        self.suppressions.apply(&mut findings, None, self.now);
        Ok(findings)
    }

    /// Tells whether a finding that counts is as bad as the one that must not be.
    pub(crate) fn fails(&self, findings: &ImageFindings) -> bool {
        self.fail_on
            .is_some_and(|level| findings.worst().is_some_and(|worst| worst >= level))
    }
}

impl JudgingArgs {
    fn suppressions(&self) -> Result<Suppressions, Failure> {
        let mut suppressions = Suppressions::default();
        for path in &self.ignore {
            let (name, content) = read(path, "ignore_rules_unreadable")?;
            suppressions.add_rules(&name, &content).map_err(|error| {
                let fix = "write rules as docs/reports.md shows: id, reason and expires, and optionally package and path";
                Failure::new("ignore_rules_unusable", format!("{name}: {error}"), fix)
                    .because_of_source(&error)
            })?;
        }
        for path in &self.vex {
            let (name, content) = read(path, "vex_unreadable")?;
            suppressions.add_vex(&name, &content).map_err(|error| {
                let fix = "name an OpenVEX document, version 0.2.0";
                Failure::new("vex_unusable", format!("{name}: {error}"), fix).because_of_source(&error)
            })?;
        }
        Ok(suppressions)
    }
}

fn read(path: &Path, code: &'static str) -> Result<(String, Vec<u8>), Failure> {
    let name = path.display().to_string();
    match fs::read(path) {
        Ok(content) => Ok((name, content)),
        Err(error) => {
            let fix = "name a file that is there and can be read";
            Err(Failure::new(code, format!("{name} cannot be read"), fix).because(&error))
        }
    }
}

/// Opens a database.
pub(crate) fn open(path: &Path) -> Result<Database, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        let message = format!("{} cannot be read", path.display());
        Failure::new(
            "advisories_unreadable",
            message,
            "name a file that portwarden advisories build wrote",
        )
        .because(&error)
    })?;
    Database::open(bytes).map_err(|error| unusable(&error))
}

fn unusable(error: &DatabaseError) -> Failure {
    let fix = match error {
        DatabaseError::Format { .. } => {
            "build the database with this program: portwarden advisories build --from DIR --output FILE"
        }
        _ => "copy the file again, or build it again: portwarden advisories build --from DIR --output FILE",
    };
    Failure::new("advisories_unusable", error.to_string(), fix).because_of_source(error)
}

/// Writes findings for people, what does not count, and what could not be matched.
pub(crate) fn table(findings: &ImageFindings) -> String {
    let mut text = summary(findings);
    let several = findings.platforms.len() > 1;
    for platform in &findings.platforms {
        let open: Vec<&PlacedFinding> = platform
            .findings
            .iter()
            .filter(|found| found.suppressed.is_none())
            .collect();
        if several {
            let name = platform.platform.as_ref().map(Platform::to_string);
            let _ = writeln!(
                text,
                "\nplatform {}",
                printable(name.as_deref().unwrap_or("unknown"))
            );
        }
        if !open.is_empty() {
            text.push('\n');
            text.push_str(&list(&open));
        }
    }
    let hidden: Vec<[String; 4]> = findings
        .platforms
        .iter()
        .flat_map(|platform| &platform.findings)
        .filter_map(|found| {
            let suppressed = found.suppressed.as_ref()?;
            let until = suppressed
                .expires
                .map_or_else(|| "-".to_owned(), |day| day.to_string());
            let id = found.finding.id.clone();
            Some([id, found.name.clone(), until, suppressed.reason.clone()])
        })
        .collect();
    if !hidden.is_empty() {
        let columns = [
            Column::up_to("SUPPRESSED", 20),
            Column::up_to("PACKAGE", 20),
            Column::new("UNTIL"),
            Column::new("REASON"),
        ];
        text.push('\n');
        text.push_str(&rows(&columns, &hidden));
    }
    text
}

fn summary(findings: &ImageFindings) -> String {
    let counts: Vec<String> = findings
        .counts
        .iter()
        .rev()
        .map(|(level, count)| format!("{count} {}", level.as_str()))
        .collect();
    let open: usize = findings.counts.values().sum();
    let mut text = match open {
        0 => "findings 0\n".to_owned(),
        _ => format!(
            "findings {open}: {}\nfixable  {}\n",
            counts.join(", "),
            findings.fixable
        ),
    };
    let mut by_side: BTreeMap<Side, usize> = BTreeMap::new();
    for side in findings.open().filter_map(PlacedFinding::side) {
        *by_side.entry(side).or_default() += 1;
    }
    let of = |side| by_side.get(&side).copied().unwrap_or_default();
    // Writing to a text cannot fail.
    if !by_side.is_empty() {
        let _ = writeln!(
            text,
            "layers   {} in the base image, {} in yours",
            of(Side::Base),
            of(Side::Yours)
        );
    }
    if findings.suppressed > 0 {
        let _ = writeln!(text, "hidden   {}, as rules or VEX say", findings.suppressed);
    }
    for rule in &findings.expired_rules {
        let rule_of = format!("{} of {}", rule.id, rule.source);
        let _ = writeln!(
            text,
            "expired  the rule for {}, on {}",
            printable(&rule_of),
            rule.expired
        );
    }
    let unmatched: usize = findings
        .platforms
        .iter()
        .map(|platform| platform.unmatched.len())
        .sum();
    if unmatched > 0 {
        let _ = writeln!(
            text,
            "unknown  {unmatched} packages that no advisories speak of, or without a usable version"
        );
    }
    let _ = writeln!(text, "database {}", findings.database.version);
    text
}

fn list(findings: &[&PlacedFinding]) -> String {
    let lines: Vec<[String; 6]> = findings
        .iter()
        .map(|found| {
            let finding = &found.finding;
            [
                finding.severity.level.as_str().to_owned(),
                finding.id.clone(),
                found.name.clone(),
                found.version.clone().unwrap_or_else(|| "unknown".to_owned()),
                finding.fixed.clone().unwrap_or_else(|| "none".to_owned()),
                layer(found),
            ]
        })
        .collect();
    let columns = [
        Column::new("SEVERITY"),
        Column::up_to("ID", 20),
        Column::up_to("PACKAGE", 20),
        Column::up_to("VERSION", 14),
        Column::up_to("FIXED", 12),
        Column::new("LAYER"),
    ];
    // Without findings of ECR's own scanning every line would say the same.
    if findings
        .iter()
        .all(|found| found.found_by == [FoundBy::Advisories])
    {
        return rows(&columns, &lines);
    }
    let [severity, id, package, version, fixed, layer] = columns;
    let columns = [
        severity,
        id,
        package,
        version,
        fixed,
        layer,
        Column::new("FOUND BY"),
    ];
    let lines: Vec<[String; 7]> = findings
        .iter()
        .zip(lines)
        .map(|(found, [severity, id, package, version, fixed, layer])| {
            let by: Vec<&str> = found.found_by.iter().map(|by| by.as_str()).collect();
            [severity, id, package, version, fixed, layer, by.join(", ")]
        })
        .collect();
    rows(&columns, &lines)
}

/// Says which layer shows the package first, and whose it is.
fn layer(found: &PlacedFinding) -> String {
    let Some(first) = found.places.iter().min_by_key(|place| place.layer.index) else {
        return String::new();
    };
    let side = match first.side {
        Some(Side::Base) => " base",
        Some(Side::Yours) => " yours",
        None => "",
    };
    format!("{}{side}", first.layer.index)
}

/// Reads the severity of `--fail-on`.
///
/// Nobody rates what is `unknown`, many distributions' advisories among it, so that it means any finding.
pub(crate) fn parse_level(word: &str) -> Result<Level, &'static str> {
    match word.to_ascii_lowercase().as_str() {
        "unknown" => Ok(Level::Unknown),
        _ => Level::parse(word).ok_or("expected unknown, negligible, low, medium, high or critical"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A finding as documents have it, with further fields.
    fn found(id: &str, more: &serde_json::Value) -> PlacedFinding {
        let mut document = json!({"id": id, "ids": [id], "purl": "pkg:pypi/a@1", "severity": {"level": "high"},
            "summary": "", "links": [], "modified": "2026-01-01T00:00:00Z", "name": "a", "version": "1", "places": []});
        document
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn every_level_can_be_named_in_any_case() {
        for level in Level::ALL {
            assert_eq!(parse_level(level.as_str()), Ok(level));
        }
        assert_eq!(parse_level("HIGH"), Ok(Level::High));
        assert!(parse_level("").is_err() && parse_level("bad").is_err());
    }

    #[test]
    fn who_found_it_is_told_where_it_was_not_only_advisories() {
        let ours = found("CVE-1", &json!({}));
        assert_eq!(
            list(&[&ours]),
            "SEVERITY  ID     PACKAGE  VERSION  FIXED  LAYER\nhigh      CVE-1  a        1        none\n"
        );
        let both = found("CVE-2", &json!({"found_by": ["advisories", "ecr_basic"]}));
        assert_eq!(
            list(&[&ours, &both]),
            "SEVERITY  ID     PACKAGE  VERSION  FIXED  LAYER  FOUND BY\n\
             high      CVE-1  a        1        none          advisories\n\
             high      CVE-2  a        1        none          advisories, ecr_basic\n"
        );
    }
}
