use std::fmt::Write as _;

use clap::Args;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::Region,
    reconcile::{Coverage, Inventories, RegionCoverage, RepositoryCoverage, Unwatched, Watch},
    tenant_template::launch::{Launch, LaunchLink},
};
use portwarden_oci::RepositoryName;
use serde::Serialize;

use super::Named;
use crate::{
    failure::{Ending, Failure},
    output::Output,
    stack::StackChoice,
    text::{Column, printable, table},
};

/// Which integration's coverage is shown.
#[derive(Debug, Args)]
pub(super) struct CoverageArgs {
    #[command(flatten)]
    named: Named,
}

/// The coverage of an integration, with what connects the regions in which nothing is watched.
#[derive(Debug, Serialize)]
struct CoverageView {
    #[serde(flatten)]
    coverage: Coverage,
    /// A link for each region that lacks a stack and has repositories, or of which it is not known.
    links: Vec<LaunchLink>,
}

impl CoverageArgs {
    pub(super) async fn run(self, stack: &StackChoice, json: bool) -> Result<Ending, Failure> {
        let stack = stack.open().await?;
        let (tenant, connection) = self.named.find_with_tenant(&stack).await?;
        let (_, scope) = crate::tenant::find(&stack, &tenant.id).await?;
        let now = SystemClock.now();
        let coverage = Inventories::new(stack.store.clone())
            .coverage(&scope, &connection, now)
            .await?;
        let mut pad = stack.launch_pad()?;
        pad.add_regions(coverage.regions.keys().cloned());
        let integration = &connection.integration;
        let mut links = pad.links(&Launch {
            tenant_name: &tenant.name,
            url: &format!("{}/{}", stack.events_url, integration.id),
            external_id: &integration.external_id,
        });
        links.retain(|link| lacks_stack(&coverage, &link.region));
        let view = CoverageView { coverage, links };
        if json {
            Output::Stdout.write_json(&view)?;
        } else {
            Output::Stdout.write(view.to_text().as_bytes())?;
        }
        Ok(Ending::Done)
    }
}

/// Tells whether a region lacks a stack, and may have something to watch.
fn lacks_stack(coverage: &Coverage, region: &Region) -> bool {
    let watch = coverage.regions.get(region).map(|region| region.watch);
    match unwatched(coverage, region) {
        Some(Unwatched::Seen { count: 0, .. }) => false,
        _ => matches!(watch, None | Some(Watch::Unproven | Watch::NoEvents)),
    }
}

fn unwatched<'a>(coverage: &'a Coverage, region: &Region) -> Option<&'a Unwatched> {
    coverage.elsewhere.as_ref()?.regions.get(region)
}

impl CoverageView {
    fn to_text(&self) -> String {
        let columns = [
            Column::new("REGION"),
            Column::up_to("IMAGES", 10),
            Column::new("BY EVENT"),
            Column::new("BY BACKFILL"),
            Column::new("BY SWEEP"),
            Column::new("COMPARED"),
            Column::new("EVENTS"),
        ];
        let rows: Vec<_> = self.coverage.regions.iter().map(region_row).collect();
        let mut text = table(&columns, &rows);
        for (name, region) in &self.coverage.regions {
            text.push_str(&missed(name, region));
            text.push_str(&repositories(name, region));
        }
        let (found, unknown): (Vec<_>, Vec<_>) = self.links.iter().partition(|link| {
            unwatched(&self.coverage, &link.region).is_some_and(Unwatched::has_repositories)
        });
        if !found.is_empty() {
            text.push_str(
                "\nNobody watches these regions, and they have repositories; a link connects one:\n",
            );
        }
        for link in found {
            let _ = writeln!(text, "  {:14}  {}", link.region, printable(&link.link));
            if let Some(Unwatched::Seen { count, more, first }) = unwatched(&self.coverage, &link.region) {
                let names: Vec<&str> = first.iter().map(RepositoryName::as_str).collect();
                let (names, more) = (names.join(", "), if *more { " or more" } else { "" });
                let _ = writeln!(text, "  {:14}  {count}{more} repositories: {names}", "");
            }
        }
        if !unknown.is_empty() {
            text.push_str(
                "\nWhat these regions have is not known: their account, or the stack that was asked, does not let it be \
                 seen, or nobody has looked yet; a link connects one:\n",
            );
        }
        for link in unknown {
            let _ = writeln!(text, "  {:14}  {}", link.region, printable(&link.link));
        }
        text
    }
}

fn region_row((name, region): (&Region, &RegionCoverage)) -> [String; 7] {
    let compared = match (&region.run, &region.last) {
        (Some(run), _) => format!(
            "under way, {} of the repositories are done",
            run.found.repositories + run.found.unread
        ),
        (None, Some(last)) => format!("{:.0}", last.at),
        (None, None) => "never".to_owned(),
    };
    [
        name.to_string(),
        region.images.total().to_string(),
        region.images.event.to_string(),
        region.images.backfill.to_string(),
        region.images.reconcile.to_string(),
        compared,
        region.watch.sentence().to_owned(),
    ]
}

fn missed(name: &Region, region: &RegionCoverage) -> String {
    let Some(missed) = &region.missed else {
        return String::new();
    };
    let rule = if missed.rule_is_silent {
        "and none has told of a push since: look at the rule for image events of the stack in this region"
    } else {
        "though others did: ECR's events are best effort"
    };
    format!(
        "\n{name}: no event told of {} pushes from {:.0} to {:.0}, the last one {}@{}, {rule}\n",
        missed.count, missed.first_at, missed.last_at, missed.repository, missed.digest
    )
}

fn repositories(name: &Region, region: &RegionCoverage) -> String {
    if region.repositories.is_empty() {
        return String::new();
    }
    let columns = [
        Column::up_to("REPOSITORY", 60),
        Column::new("IMAGES"),
        Column::new("BY EVENT"),
        Column::new("BY BACKFILL"),
        Column::new("BY SWEEP"),
        Column::new("STATE"),
    ];
    let row = |repository: &RepositoryCoverage| {
        let images = &repository.images;
        let state = match repository.unread.as_deref() {
            None => "compared".to_owned(),
            Some("not_included") => "left out by the stack's parameter Repositories".to_owned(),
            Some(code) => format!("not read: {code}"),
        };
        [
            repository.repository.to_string(),
            images.total().to_string(),
            images.event.to_string(),
            images.backfill.to_string(),
            images.reconcile.to_string(),
            state,
        ]
    };
    let rows: Vec<_> = region.repositories.iter().map(row).collect();
    format!("\n{name}\n{}", table(&columns, &rows))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use portwarden_core::reconcile::{Elsewhere, HowKnown};

    use super::*;

    #[test]
    fn a_region_that_nobody_watches_is_named_with_its_link_and_an_empty_one_is_not() {
        let watched = RegionCoverage {
            watch: Watch::Watched,
            last: None,
            run: None,
            missed: None,
            images: HowKnown::default(),
            repositories: Vec::new(),
        };
        let unwatched = [
            (
                "eu-west-2",
                Unwatched::seen(vec!["forgotten".parse().unwrap()], false),
            ),
            ("eu-west-3", Unwatched::seen(Vec::new(), false)),
            (
                "us-east-1",
                Unwatched::Unseen {
                    code: "ecr_denied".to_owned(),
                },
            ),
        ];
        let region = |name: &str| -> Region { name.parse().unwrap() };
        let coverage = Coverage {
            regions: BTreeMap::from([(region("eu-west-1"), watched)]),
            elsewhere: Some(Elsewhere {
                at: Timestamp::UNIX_EPOCH,
                regions: unwatched
                    .map(|(name, unwatched)| (region(name), unwatched))
                    .into(),
            }),
        };
        let names = ["eu-west-1", "eu-west-2", "eu-west-3", "us-east-1", "us-east-2"];
        let links = names.into_iter().map(|name| LaunchLink {
            region: region(name),
            link: format!("https://example.com/{name}"),
        });
        let links: Vec<_> = links
            .filter(|link| lacks_stack(&coverage, &link.region))
            .collect();
        let text = CoverageView { coverage, links }.to_text();
        let (found, unknown) = text.split_once("is not known").unwrap();
        assert!(
            found.contains("https://example.com/eu-west-2\n")
                && found.contains("1 repositories: forgotten\n"),
            "{text}"
        );
        assert!(
            unknown.contains("https://example.com/us-east-1\n")
                && unknown.contains("https://example.com/us-east-2\n"),
            "{text}"
        );
        assert!(
            !text.contains("example.com/eu-west-1") && !text.contains("example.com/eu-west-3"),
            "{text}"
        );
    }
}
