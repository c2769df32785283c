use std::{fmt::Write as _, fs, path::PathBuf};

use clap::{Args, ValueEnum};
use portwarden_advisories::{Level, read_sbom};

use crate::{
    failure::{Ending, Failure},
    findings::{self, Matching, parse_level},
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
    /// Ends with status 4 if there is a finding of this severity, or worse
    #[arg(long, value_name = "SEVERITY", value_parser = parse_level)]
    fail_on: Option<Level>,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

impl MatchArgs {
    /// Reads the SBOM and writes its findings.
    pub(crate) fn run(self) -> Result<Ending, Failure> {
        let output = Output::new(self.output)?;
        let matching = Matching::open(&self.advisories, self.fail_on)?;
        let path = self.sbom.display();
        let content = fs::read(&self.sbom).map_err(|error| {
            Failure::new(
                "sbom_unreadable",
                format!("{path} cannot be read"),
                "name a file that is there and can be read",
            )
            .because(&error)
        })?;
        let sbom = read_sbom(&content).map_err(|error| {
            let fix = "name an SBOM in JSON: CycloneDX, or SPDX 2.2 or 2.3";
            Failure::new("sbom_unusable", error.to_string(), fix).because_of_source(&error)
        })?;
        let found = matching.find(&sbom.packages)?;
        match self.format {
            Format::Table => {
                let mut text = findings::table(&found);
                if sbom.nameless > 0 {
                    let _ = writeln!(
                        text,
                        "\n{} entries of the SBOM have no package URL",
                        sbom.nameless
                    );
                }
                output.write(text.as_bytes())?;
            }
            Format::Json => output.write_json(&found)?,
        }
        Ok(if matching.fails(&found) {
            Ending::Found
        } else {
            Ending::Done
        })
    }
}
