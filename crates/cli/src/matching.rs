use std::{fmt::Write as _, fs, path::PathBuf};

use clap::{Args, ValueEnum};
use portwarden_advisories::read_sbom;
use portwarden_report::{cyclonedx, html, sarif};

use crate::{
    failure::{Ending, Failure},
    findings::{self, JudgingArgs, Matching},
    output::Output,
};

/// Finds what is wrong with the packages of an SBOM, whoever wrote it.
#[derive(Debug, Args)]
pub(crate) struct MatchArgs {
    #[doc = "The SBOM in JSON: CycloneDX, or SPDX 2"]
    #[arg(value_name = "SBOM")]
    sbom: PathBuf,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Writes to FILE, whole or not at all
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The database, as portwarden advisories build wrote it
    #[arg(long, value_name = "FILE")]
    advisories: PathBuf,
    #[command(flatten)]
    judging: JudgingArgs,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// What is wrong, and what does not count, CycloneDX 1.6
    CyclonedxJson,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// A page for people, in one file
    Html,
}

impl MatchArgs {
    /// Reads the SBOM and writes its findings.
    pub(crate) fn run(self) -> Result<Ending, Failure> {
        let output = Output::new(self.output)?;
        let matching = Matching::open(&self.advisories, &self.judging)?;
        let name = self.sbom.display().to_string();
        let content = fs::read(&self.sbom).map_err(|error| {
            Failure::new(
                "sbom_unreadable",
                format!("{name} cannot be read"),
                "name a file that is there and can be read",
            )
            .because(&error)
        })?;
        let sbom = read_sbom(&content).map_err(|error| {
            let fix = "name an SBOM in JSON: CycloneDX, or SPDX 2.2 or 2.3";
            Failure::new("sbom_unusable", error.to_string(), fix).because_of_source(&error)
        })?;
        let found = matching.of_sbom(&sbom, &content)?;
        match self.format {
            Format::Table => {
                let mut text = findings::table(&found);
                if sbom.nameless > 0 {
                    let _ = writeln!(
                        text,
                        "\nentries of the SBOM without a package URL: {}",
                        sbom.nameless
                    );
                }
                output.write(text.as_bytes())?;
            }
            Format::Json => output.write_json(&found)?,
            Format::CyclonedxJson => output.write_line(cyclonedx::write_of_sbom(&name, &found))?,
            Format::Sarif => output.write_line(sarif::write(&name, None, &found))?,
            Format::Html => output.write(html::write(&name, None, Some(&found)).as_bytes())?,
        }
        Ok(if matching.fails(&found) {
            Ending::Found
        } else {
            Ending::Done
        })
    }
}
