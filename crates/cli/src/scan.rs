mod source;
mod table;

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    num::NonZeroUsize,
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use portwarden_aws::SystemClock;
use portwarden_catalog::Limits;
use portwarden_core::problem::Problem;
use portwarden_oci::{Platform, Version};
use portwarden_report::{ImageFindings, PlatformReport, Report, cyclonedx, html, sarif};
use portwarden_scanner::{BlockingThreads, Deadline, MemoryLayers, Scan, ScanError, Scanned};

pub(crate) use self::source::read_password;
use self::source::{AccessArgs, ImageName, Source};
use serde::Serialize;

use crate::{
    failure::{Ending, Failure},
    findings::{self, JudgingArgs, Matching},
    output::Output,
    progress,
    text::printable,
};

/// Scans an image of a registry, of an OCI layout or of a file, and prints its packages.
///
/// Layers are streamed: nothing is written to disk, and memory does not grow with the image.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// [REGISTRY/]NAME[:TAG|@DIGEST], oci:DIR[:TAG|@DIGEST] for an OCI layout, or docker-archive:FILE[:NAME:TAG]
    #[arg(value_name = "IMAGE")]
    image: String,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Writes to FILE, whole or not at all
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Scans the image of one platform only, where there are several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    platform: Option<Platform>,
    /// Finds what is wrong with the packages, by a database of portwarden advisories build
    #[arg(long, value_name = "FILE")]
    advisories: Option<PathBuf>,
    #[command(flatten)]
    judging: JudgingArgs,
    #[command(flatten)]
    access: AccessArgs,
}

/// How the result of a scan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// The report, with every platform, layer and package
    Json,
    /// The SBOM of one platform, CycloneDX 1.6; with --advisories also what is wrong, and what does not count
    CyclonedxJson,
    /// The SBOM of one platform, SPDX 2.3
    SpdxJson,
    /// What is wrong, SARIF 2.1.0, for code scanning
    Sarif,
    /// A page for people, in one file
    Html,
}

/// How many layers are read at the same time; each takes a processor while it is inflated.
const PARALLEL: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");

impl ScanArgs {
    /// Scans the image and writes what was found.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        let name: ImageName = self.image.parse()?;
        let output = Output::new(self.output)?;
        if self.format == Format::Sarif && self.advisories.is_none() {
            return Err(Failure::new(
                "findings_missing",
                "SARIF holds findings, and there is nothing to find them with",
                "add --advisories FILE, a database of portwarden advisories build",
            ));
        }
        if self.format == Format::SpdxJson && self.advisories.is_some() {
            return Err(Failure::new(
                "findings_unwritable",
                "an SPDX document has no place for findings",
                "use another --format with --advisories, or write the SBOM and use portwarden match on it",
            ));
        }
        let matching = self
            .advisories
            .map(|file| Matching::open(&file, &self.judging))
            .transpose()?;
        let mut source = name.open(self.access).await?;
        if let Some(platform) = &self.platform {
            source.choose(platform).await?;
        }
        let report = scan(&source).await?;
        if let Some(platform) = &self.platform {
            check_platform(&report, platform)?;
        }
        let findings = matching
            .as_ref()
            .map(|matching| matching.of_report(&report))
            .transpose()?;
        write(self.format, &output, &report, findings.as_ref())?;
        let is_failure = matching
            .zip(findings)
            .is_some_and(|(matching, findings)| matching.fails(&findings));
        Ok(if is_failure {
            Ending::Found
        } else if report.partial {
            say("warning: packages may be missing; the report says which layers could not be read, and why");
            Ending::Partial
        } else {
            Ending::Done
        })
    }
}

fn write(
    format: Format,
    output: &Output,
    report: &Report,
    findings: Option<&ImageFindings>,
) -> Result<(), Failure> {
    let name = report.name();
    match (format, findings) {
        (Format::Table, _) => {
            let mut text = table::write(report);
            if let Some(findings) = findings {
                text.push('\n');
                text.push_str(&findings::table(findings));
            }
            output.write(text.as_bytes())
        }
        (Format::Json, _) => output.write_json(&ReportWithFindings { report, findings }),
        (Format::CyclonedxJson, Some(findings)) => {
            output.write_line(cyclonedx::write(report, sbom_platform(report)?, findings))
        }
        (Format::CyclonedxJson, None) => output.write_line(report.cyclonedx(sbom_platform(report)?)),
        (Format::SpdxJson, _) => output.write_line(report.spdx(sbom_platform(report)?)),
        (Format::Sarif, findings) => match findings {
            Some(findings) => output.write_line(sarif::write(&name, Some(report), findings)),
            None => unreachable!("SARIF without advisories is refused before the scan"),
        },
        (Format::Html, _) => output.write(html::write(&name, Some(report), findings).as_bytes()),
    }
}

/// A report, and what is wrong with its packages.
#[derive(Serialize)]
struct ReportWithFindings<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<&'a ImageFindings>,
}

async fn scan(source: &Source) -> Result<Report, Failure> {
    let scan = Scan {
        source: &*source.images,
        // Shared by the platforms of one index.
        cache: &MemoryLayers::default(),
        cataloguing: &BlockingThreads,
        progress: progress::of_scan(),
        clock: &SystemClock,
        deadline: Deadline::never(),
        limits: Limits::default(),
        parallel: PARALLEL,
        is_continued: false,
    };
    let tags = match &source.named {
        Version::Tag(tag) => BTreeSet::from([tag.clone()]),
        Version::Digest(_) => BTreeSet::new(),
    };
    match scan.run(&source.repository, tags, &source.version).await {
        Ok(Scanned::Finished(report)) => Ok(report),
        Ok(Scanned::Unfinished { .. }) => unreachable!("a scan that has no deadline is not cut off by one"),
        Err(ScanError::Refused(refusal)) => Err(refusal.problem().into()),
        Err(ScanError::Source(error)) => Err(source.failure(&error)),
        Err(error @ ScanError::Corrupt(_)) => {
            let fix =
                "pull from another place, or build and push the image again: nobody can use it as it is";
            Err(Failure::new("content_corrupt", error.to_string(), fix).because_of_source(&error))
        }
        Err(error) => {
            let fix = "check the disk or the network that the image comes from, and run the command again";
            Err(Failure::new("layer_unreadable", error.to_string(), fix).because_of_source(&error))
        }
    }
}

/// An image that is not part of an index has one platform, whatever was asked for.
fn check_platform(report: &Report, wanted: &Platform) -> Result<(), Failure> {
    let is_wanted =
        |platform: &PlatformReport| platform.platform.as_ref().is_some_and(|p| source::is(p, wanted));
    if report.platforms.iter().any(is_wanted) {
        Ok(())
    } else {
        let offered = report
            .platforms
            .iter()
            .filter_map(|platform| platform.platform.as_ref());
        Err(source::no_such_platform(wanted, offered).into())
    }
}

fn sbom_platform(report: &Report) -> Result<&PlatformReport, Failure> {
    let platform = report.main_platform().ok_or_else(|| {
        Problem::new(
            "nothing_scanned",
            "no image of the index could be scanned",
            "use --format json, which says why",
        )
    })?;
    if report.platforms.len() > 1 {
        let name = platform
            .platform
            .as_ref()
            .map_or_else(|| platform.digest.to_string(), Platform::to_string);
        say(&format!(
            "note: of {} platforms, this is the SBOM of {name}; --platform chooses another",
            report.platforms.len()
        ));
    }
    Ok(platform)
}

/// Says something beside the data.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

fn parse_platform(text: &str) -> Result<Platform, &'static str> {
    let mut parts = text.split('/').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform {
                os,
                architecture,
                variant,
            })
        }
        _ => Err("expected a platform, such as linux/amd64 or linux/arm64/v8"),
    }
}
