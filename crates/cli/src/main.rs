#![doc = include_str!("../README.md")]

mod advisories;
mod diff;
mod failure;
mod findings;
mod integration;
mod launch_links;
mod local;
mod matching;
mod member;
mod orphans;
mod output;
mod progress;
mod scan;
mod stack;
mod template;
mod tenant;
mod text;
mod webhook;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::failure::{Ending, Failure};

/// Watches, scans and reports on the container images of any number of AWS accounts.
#[derive(Debug, Parser)]
#[command(name = "portwarden", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done; 1 failed, or a connection is not trusted; 2 wrong usage; 3 scanned, but packages may be missing;
4 findings of the severity that --fail-on names, or worse.
RUST_LOG=debug shows more on standard error.";

#[derive(Debug, Subcommand)]
enum Command {
    Scan(scan::ScanArgs),
    Match(matching::MatchArgs),
    Diff(diff::DiffArgs),
    Advisories(advisories::AdvisoriesArgs),
    Local(local::LocalArgs),
    Template(template::TemplateArgs),
    Tenant(tenant::TenantArgs),
    Integration(integration::IntegrationArgs),
    LaunchLinks(launch_links::LaunchLinksArgs),
    Member(member::MemberArgs),
    Webhook(webhook::WebhookArgs),
    Orphans(orphans::OrphansArgs),
}

fn main() -> ExitCode {
    portwarden_scanner::share_one_arena();
    let cli = Cli::parse();
    show_logs();
    let ended = tokio::runtime::Runtime::new()
        .map_err(|error| {
            Failure::new(
                "no_runtime",
                "the program cannot start its threads",
                "end other programs, or raise the limits of this shell (ulimit -u, ulimit -n)",
            )
            .because(&error)
        })
        .and_then(|runtime| runtime.block_on(cli.command.run()));
    match ended {
        Ok(ending) => ending.into(),
        Err(failure) => {
            // Nobody is left to be told when standard error is closed.
            let _ = write!(io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    async fn run(self) -> Result<Ending, Failure> {
        match self {
            Self::Scan(args) => args.run().await,
            Self::Match(args) => args.run(),
            Self::Diff(args) => args.run(),
            Self::Advisories(args) => args.run().await,
            Self::Local(args) => args.run().await,
            Self::Template(args) => args.run(),
            Self::Tenant(args) => args.run().await,
            Self::Integration(args) => args.run().await,
            Self::LaunchLinks(args) => args.run().await,
            Self::Member(args) => args.run().await,
            Self::Webhook(args) => args.run().await,
            Self::Orphans(args) => args.run().await,
        }
    }
}

/// Shows warnings of all crates on standard error, or what `RUST_LOG` asks for.
fn show_logs() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .without_time()
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Parses a command line; `None` when clap refuses it.
    pub(crate) fn parse(line: &str) -> Option<Command> {
        let words = ["portwarden"].into_iter().chain(line.split_whitespace());
        Cli::try_parse_from(words).ok().map(|cli| cli.command)
    }

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lines_of_the_documentation_are_understood() {
        for line in [
            "scan alpine",
            "scan oci:some/layout --format cyclonedx-json --output sbom.json",
            "scan r.example/a --username AWS --password-stdin --platform linux/arm64/v8 --internal r.example",
            "scan alpine --advisories db --fail-on high",
            "match sbom.json --advisories db --fail-on critical --format json --output findings.json",
            "scan alpine --advisories db --ignore rules.yaml --ignore more.yaml --vex vex.json --format sarif",
            "match sbom.json --advisories db --ignore rules.yaml --vex vex.json --format html -o report.html",
            "diff yesterday.json today.json --fail-on high --format json",
            "advisories build --from osv --output db",
            "advisories info db --json",
            "local --once --image oci:some/layout --port 4566",
            "local --invoke receiver --event events/ecr_push_tagged.json",
            "template --principal arn:aws:iam::111122223333:role/portwarden-connector",
            "tenant create Shop",
            "tenant list --local --json",
            "tenant --stack other show t-00000000000000000000000000",
            "integration create --tenant t-00000000000000000000000000 --name production --region eu-central-1 --region us-east-1",
            "member add --tenant t-00000000000000000000000000 --role administrator --local",
            "member list --tenant t-00000000000000000000000000 --json",
            "member remove p-00000000000000000000000000 --tenant t-00000000000000000000000000",
            "member add-operator --stack-region eu-west-1",
            "webhook add --tenant t-00000000000000000000000000 --name chat https://hooks.example.com/portwarden",
            "webhook list --tenant t-00000000000000000000000000 --local --json",
            "webhook test w-00000000000000000000000000 --tenant t-00000000000000000000000000",
            "webhook deliveries w-00000000000000000000000000 --tenant t-00000000000000000000000000 --limit 5",
            "webhook redeliver w-00000000000000000000000000 n-00000000000000000000000000 --tenant t-00000000000000000000000000",
            "webhook renew-secret w-00000000000000000000000000 --tenant t-00000000000000000000000000",
            "webhook remove w-00000000000000000000000000 --tenant t-00000000000000000000000000",
            "integration list --tenant t-00000000000000000000000000 --stack-region eu-west-1",
            "integration show i-00000000000000000000000000 --tenant t-00000000000000000000000000",
            "integration verify i-00000000000000000000000000 --tenant t-00000000000000000000000000 --region eu-central-1 \
             --role-arn arn:aws:iam::111122223333:role/r",
            "integration receipts i-00000000000000000000000000 --tenant t-00000000000000000000000000 --since \
             2026-11-23T12:00:00Z --limit 10",
            "integration remove i-00000000000000000000000000 --tenant t-00000000000000000000000000 --json",
            "orphans --local --json",
            "launch-links --integration i-00000000000000000000000000 --tenant t-00000000000000000000000000 --region eu-north-1 \
             --region sa-east-1 --local --json",
        ] {
            assert!(parse(line).is_some(), "{line}");
        }
    }

    #[test]
    fn lines_that_mean_nothing_are_refused() {
        for line in [
            "",
            "scan",
            "scan a b",
            "scan a --format xml",
            "scan a --fail-on high",
            "scan a --ignore rules.yaml",
            "scan a --vex vex.json",
            "match sbom.json --advisories db --format spdx-json",
            "diff a",
            "match sbom.json",
            "match sbom.json --advisories db --fail-on bad",
            "advisories build --from osv",
            "advisories info a b",
            "scan a --platform linux",
            // A password without its user, and a user without a password.
            "scan a --password-stdin",
            "scan a --username AWS",
            "local --invoke receiver",
            "local --event events/ecr_push_tagged.json",
            "local --once --invoke receiver --event events/ecr_push_tagged.json",
            "template",
            "tenant create",
            "tenant show 111122223333",
            "tenant list --local --stack other",
            "integration create --tenant t-00000000000000000000000000 --name x",
            "integration create --name x --region eu-central-1",
            "integration create --tenant t-00000000000000000000000000 --name x --region Frankfurt",
            "integration create --tenant t-00000000000000000000000000 --name x --region eu-central-1 --username a:b --password-stdin",
            "integration verify i-00000000000000000000000000 --tenant t-00000000000000000000000000",
            "launch-links --integration i-00000000000000000000000000",
            "member add",
            "webhook add --name a https://hooks.example.com/",
            "webhook list",
            "webhook test w-0 --tenant t-00000000000000000000000000",
            "member add --tenant t-00000000000000000000000000 --role operator",
            "member remove ada --tenant t-00000000000000000000000000",
            "launch-links --tenant t-00000000000000000000000000 --integration i-00000000000000000000000000 --region Mars",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
