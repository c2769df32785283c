use clap::Args;
use jiff::Timestamp;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::{IntegrationId, TenantId},
    integration::{Directory, Integrations, OrphanIntegration, OrphanStack},
    scope::OperatorScope,
    tenant::Tenants,
};
use serde::Serialize;

use crate::{
    failure::{Ending, Failure},
    output::Output,
    stack::StackChoice,
    text::{Column, table},
};

/// Lists what was forgotten: stacks that send for nobody, and integrations that nothing comes from.
#[derive(Debug, Args)]
pub(crate) struct OrphansArgs {
    #[command(flatten)]
    stack: StackChoice,
    /// Prints JSON, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Orphans {
    stacks: Vec<OrphanStack>,
    integrations: Vec<Forgotten>,
}

#[derive(Serialize)]
struct Forgotten {
    tenant: TenantId,
    integration: IntegrationId,
    #[serde(flatten)]
    orphan: OrphanIntegration,
}

impl OrphansArgs {
    /// Lists them.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        let stack = self.stack.open().await?;
        let operator = OperatorScope::of_this_process();
        let now = SystemClock.now();
        let integrations = Integrations::new(stack.store.clone());
        let mut forgotten = Vec::new();
        for tenant in Tenants::new(stack.store.clone()).list(operator).await? {
            for connection in integrations.list(&operator.tenant(tenant.id)).await? {
                forgotten.extend(connection.orphan(now).map(|orphan| Forgotten {
                    tenant: connection.integration.tenant.clone(),
                    integration: connection.integration.id.clone(),
                    orphan,
                }));
            }
        }
        let orphans = Orphans {
            stacks: Directory::new(stack.store).orphan_stacks(operator).await?,
            integrations: forgotten,
        };
        if self.json {
            Output::Stdout.write_json(&orphans)?;
        } else {
            Output::Stdout.write(orphans.to_text().as_bytes())?;
        }
        Ok(Ending::Done)
    }
}

impl Orphans {
    fn to_text(&self) -> String {
        let stack = |stack: &OrphanStack| {
            let what = if stack.known {
                "a stack of a removed integration"
            } else {
                "a stack of an unknown integration"
            };
            let fix = "have its owner delete it";
            row(&stack.integration, what, stack.first, stack.last, fix)
        };
        let forgotten = |forgotten: &Forgotten| {
            let (what, since, fix) = match forgotten.orphan {
                OrphanIntegration::NeverConnected { since } => (
                    "an integration that never connected",
                    since,
                    "send its launch link again, or remove it",
                ),
                OrphanIntegration::Silent { since } => (
                    "an integration that is silent",
                    since,
                    "ask the tenant about its stacks, or remove it",
                ),
            };
            row(&forgotten.integration, what, since, since, fix)
        };
        let rows: Vec<_> = self
            .stacks
            .iter()
            .map(stack)
            .chain(self.integrations.iter().map(forgotten))
            .collect();
        let columns = ["INTEGRATION", "WHAT", "SINCE", "LAST", "WHAT TO DO"].map(Column::new);
        table(&columns, &rows)
    }
}

fn row(integration: &IntegrationId, what: &str, since: Timestamp, last: Timestamp, fix: &str) -> [String; 5] {
    let [since, last] = [since, last].map(|time| format!("{time:.0}"));
    [
        integration.to_string(),
        what.to_owned(),
        since,
        last,
        fix.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use portwarden_core::random::OsRandomness;

    use super::*;

    #[test]
    fn both_sides_are_listed() {
        let time = |text: &str| -> Timestamp { text.parse().unwrap() };
        let [gone, lost] = [(), ()].map(|()| IntegrationId::generate(&OsRandomness));
        let orphans = Orphans {
            stacks: vec![OrphanStack {
                integration: gone.clone(),
                known: true,
                first: time("2026-11-01T00:00:00Z"),
                last: time("2026-11-02T00:00:00Z"),
                minutes: 96,
            }],
            integrations: vec![Forgotten {
                tenant: TenantId::generate(&OsRandomness),
                integration: lost.clone(),
                orphan: OrphanIntegration::NeverConnected {
                    since: time("2026-11-01T00:00:00Z"),
                },
            }],
        };
        let text = orphans.to_text();
        let line = |start: &IntegrationId| text.lines().find(|line| line.starts_with(start.as_str()));
        assert!(
            line(&gone)
                .unwrap()
                .contains("2026-11-02T00:00:00Z  have its owner delete it"),
            "{text}"
        );
        assert!(line(&lost).unwrap().contains("never connected"), "{text}");
    }
}
