use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use portwarden_advisories::Level;
use portwarden_report::{Cause, Change, Changes, ImageFindings, Report, Snapshot, compare};
use serde::Deserialize;

use crate::{
    failure::{Ending, Failure},
    findings::parse_level,
    output::Output,
    text::{Column, table as rows},
};

/// Compares the findings of two scans: what is new, what is fixed, and why.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The earlier scan, written with --advisories and --format json
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The later scan, written so, too
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    /// How the changes are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Writes to FILE, whole or not at all
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Ends with status 4 if there is a new finding of this severity, or worse
    #[arg(long, value_name = "SEVERITY", value_parser = parse_level)]
    fail_on: Option<Level>,
}

/// How changes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// What `scan --format json --advisories` writes.
struct Scanned {
    report: Report,
    findings: ImageFindings,
}

impl DiffArgs {
    /// Compares the scans and writes what changed.
    pub(crate) fn run(self) -> Result<Ending, Failure> {
        let output = Output::new(self.output)?;
        let (before, after) = (read(&self.before)?, read(&self.after)?);
        // Without a database nothing of it can be damaged.
        let changes = compare(&before.snapshot(), &after.snapshot(), None).map_err(|error| {
            Failure::new("scans_incomparable", error.to_string(), "scan both images again")
        })?;
        match self.format {
            Format::Table => output.write(table(&changes).as_bytes())?,
            Format::Json => output.write_json(&changes)?,
        }
        let is_failure = self.fail_on.is_some_and(|level| {
            let mut new = changes.new.iter();
            new.any(|change| change.found.finding.severity.level >= level)
        });
        Ok(if is_failure { Ending::Found } else { Ending::Done })
    }
}

impl Scanned {
    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::of_report(&self.report, &self.findings)
    }
}

fn read(path: &Path) -> Result<Scanned, Failure> {
    #[derive(Deserialize)]
    struct WithFindings {
        findings: ImageFindings,
    }
    let name = path.display();
    let json = fs::read(path).map_err(|error| {
        let fix = "name a file that is there and can be read";
        Failure::new("scan_unreadable", format!("{name} cannot be read"), fix).because(&error)
    })?;
    let parse = || {
        let report = serde_json::from_slice(&json)?;
        let WithFindings { findings } = serde_json::from_slice(&json)?;
        Ok(Scanned { report, findings })
    };
    parse().map_err(|error: serde_json::Error| {
        let fix = "write it with portwarden scan --advisories FILE --format json";
        Failure::new("scan_unusable", format!("{name} is no scan with findings"), fix).because(&error)
    })
}

fn table(changes: &Changes) -> String {
    let mut text = format!(
        "new      {}\nfixed    {}\nhidden   {}, as rules or VEX say now\nsame     {}\n",
        changes.new.len(),
        changes.fixed.len(),
        changes.suppressed.len(),
        changes.still_there.len(),
    );
    for (title, list) in [
        ("NEW", &changes.new),
        ("FIXED", &changes.fixed),
        ("HIDDEN", &changes.suppressed),
    ] {
        if !list.is_empty() {
            // Writing to a text cannot fail.
            let _ = write!(text, "\n{}", section(title, list));
        }
    }
    text
}

fn section(title: &'static str, changes: &[Change]) -> String {
    let lines: Vec<[String; 4]> = changes
        .iter()
        .map(|change| {
            let finding = &change.found.finding;
            [
                finding.id.clone(),
                finding.severity.level.as_str().to_owned(),
                change.found.name.clone(),
                sentence(&change.cause),
            ]
        })
        .collect();
    let columns = [
        Column::up_to(title, 20),
        Column::new("SEVERITY"),
        Column::up_to("PACKAGE", 20),
        Column::new("WHY"),
    ];
    rows(&columns, &lines)
}

fn sentence(cause: &Cause) -> String {
    match cause {
        Cause::PackageAdded => "the package came".to_owned(),
        Cause::PackageRemoved => "the package went".to_owned(),
        Cause::PackageUpdated { from, to } => format!("{} to {}", from.join(", "), to.join(", ")),
        Cause::AdvisoryPublished => "the advisory is new".to_owned(),
        Cause::AdvisoryChanged => "the advisory changed".to_owned(),
        Cause::AdvisoryWithdrawn => "the advisory was withdrawn".to_owned(),
        Cause::RegistryScanned => "by ECR's own scanning".to_owned(),
        Cause::Suppressed => "it was suppressed".to_owned(),
        Cause::SuppressionEnded => "it is suppressed no more".to_owned(),
    }
}
