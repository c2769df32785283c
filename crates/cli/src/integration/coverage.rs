use std::fmt::Write as _;

use clap::Args;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::Region,
    reconcile::{Coverage, Inventories, RegionCoverage, RepositoryCoverage, Watch},
    tenant_template::launch::{Launch, LaunchLink},
};
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
    /// A link for each region that sends no events.
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
        links.retain(|link| sends_nothing(&coverage, &link.region));
        let view = CoverageView { coverage, links };
        if json {
            Output::Stdout.write_json(&view)?;
        } else {
            Output::Stdout.write(view.to_text().as_bytes())?;
        }
        Ok(Ending::Done)
    }
}

/// Tells whether a stack is missing in a region.
fn sends_nothing(coverage: &Coverage, region: &Region) -> bool {
    let watch = coverage.regions.get(region).map(|region| region.watch);
    matches!(watch, None | Some(Watch::Unproven | Watch::NoEvents))
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
        if !self.links.is_empty() {
            text.push_str(
                "\nNothing is known of these regions, since each stack's role opens its own region only; a link \
                 connects one:\n",
            );
        }
        for link in &self.links {
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
