//! What `scan` and `match` share: a database, and what is done with findings.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use portwarden_advisories::{Database, DatabaseError, Findings, Level, Package};

use crate::{
    failure::Failure,
    text::{Column, printable, table as rows},
};

/// An open database, and what counts as failure.
pub(crate) struct Matching {
    database: Database,
    fail_on: Option<Level>,
}

impl Matching {
    /// Opens a database, and says from which severity on a finding is a failure.
    pub(crate) fn open(advisories: &Path, fail_on: Option<Level>) -> Result<Self, Failure> {
        Ok(Self {
            database: open(advisories)?,
            fail_on,
        })
    }

    /// Finds what is wrong with packages.
    pub(crate) fn find(&self, packages: &[Package]) -> Result<Findings, Failure> {
        self.database.find(packages).map_err(|error| unusable(&error))
    }

    /// Tells whether a finding is as bad as the one that must not be.
    pub(crate) fn fails(&self, findings: &Findings) -> bool {
        self.fail_on.is_some_and(|level| {
            findings
                .findings
                .iter()
                .any(|finding| finding.severity.level >= level)
        })
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

/// Writes findings for people, and what could not be matched.
pub(crate) fn table(findings: &Findings) -> String {
    let mut counts: BTreeMap<Level, usize> = BTreeMap::new();
    for finding in &findings.findings {
        *counts.entry(finding.severity.level).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .rev()
        .map(|(level, count)| format!("{count} {}", level.as_str()))
        .collect();
    let mut text = match findings.findings.len() {
        0 => "findings 0\n".to_owned(),
        count => format!("findings {count}: {}\n", counts.join(", ")),
    };
    if !findings.unmatched.is_empty() {
        let count = findings.unmatched.len();
        let _ = writeln!(
            text,
            "unknown  {count} packages that no advisories speak of, or without a usable version"
        );
    }
    if !findings.findings.is_empty() {
        let lines: Vec<[String; 5]> = findings
            .findings
            .iter()
            .map(|finding| {
                let (name, version) = name_and_version(&finding.purl);
                [
                    finding.severity.level.as_str().to_owned(),
                    finding.id.clone(),
                    name,
                    version,
                    finding.fixed.clone().unwrap_or_else(|| "none".to_owned()),
                ]
            })
            .collect();
        let columns = [
            Column::new("SEVERITY"),
            Column::up_to("ID", 20),
            Column::up_to("PACKAGE", 24),
            Column::up_to("VERSION", 16),
            Column::new("FIXED"),
        ];
        text.push('\n');
        text.push_str(&rows(&columns, &lines));
    }
    text
}

/// Takes a package URL apart for people.
fn name_and_version(purl: &str) -> (String, String) {
    match purl.parse::<packageurl::PackageUrl<'_>>() {
        Ok(parsed) => {
            let is_distributions = matches!(parsed.ty(), "deb" | "apk" | "rpm");
            let name = match parsed.namespace().filter(|_| !is_distributions) {
                Some(namespace) => format!("{namespace}/{}", parsed.name()),
                None => parsed.name().to_owned(),
            };
            (name, parsed.version().unwrap_or("unknown").to_owned())
        }
        Err(_) => (printable(purl).into_owned(), "unknown".to_owned()),
    }
}

/// Reads the severity of `--fail-on`.
pub(crate) fn parse_level(word: &str) -> Result<Level, &'static str> {
    Level::parse(word).ok_or("expected negligible, low, medium, high or critical")
}
