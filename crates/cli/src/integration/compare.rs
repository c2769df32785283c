use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock,
    id::{IntegrationId, Region, RequestId},
    integration::Connection,
    random::OsRandomness,
    reconcile::{Finished, Inventories},
    scope::TenantScope,
    store::StoreError,
    trace::TraceId,
    work::{InventoryReason, InventoryRequest},
};
use serde::Serialize;

use super::{Named, write};
use crate::{
    failure::{Ending, Failure},
    progress::Waiting,
    stack::StackChoice,
    text::{Column, table},
};

/// Which registries are compared.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    named: Named,
    /// The region whose registry is compared; without it, those of all regions whose role is proven
    #[arg(long)]
    region: Option<Region>,
    /// How long to wait for the end
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
}

/// What a comparison found in a region.
#[derive(Debug, Serialize)]
struct Compared {
    region: Region,
    #[serde(flatten)]
    finished: Finished,
}

/// How often the table is asked for the end.
const POLL: Duration = Duration::from_millis(500);

impl CompareArgs {
    /// Has registries compared with what is known of them, and prints what was found.
    pub(super) async fn run(self, choice: &StackChoice, json: bool) -> Result<Ending, Failure> {
        let stack = choice.open().await?;
        let (connection, scope) = self.named.find(&stack).await?;
        let regions = self.regions(&connection)?;
        let asked_at = SystemClock.now();
        for region in &regions {
            let request = InventoryRequest {
                tenant: self.named.tenant.clone(),
                integration: self.named.id.clone(),
                region: region.clone(),
                reason: InventoryReason::Asked,
                repository: None,
                event: None,
                request: RequestId::generate(&OsRandomness),
                trace: TraceId::generate(asked_at, &OsRandomness),
                continuation: 0,
            };
            stack
                .comparisons
                .queue_inventory(&request, Duration::ZERO)
                .await?;
        }
        let inventories = Inventories::new(stack.store);
        let waiting = Waiting::for_("the reconciler compares the registries");
        let patience = Duration::from_secs(self.timeout);
        let mut compared = Vec::new();
        for region in regions {
            let ended = Ended {
                scope: &scope,
                integration: &self.named.id,
                region: &region,
                asked_at,
            };
            let finished = ended.wait(&inventories, patience, &SystemClock).await?;
            let finished = finished.ok_or_else(|| self.no_end(choice, &region))?;
            compared.push(Compared { region, finished });
        }
        drop(waiting);
        write(json, &compared, || list(&compared))
    }

    /// Returns the regions that can be compared, or refuses at once what the reconciler would drop.
    fn regions(&self, connection: &Connection) -> Result<Vec<Region>, Failure> {
        let wanted = |region: &&Region| self.region.as_ref().is_none_or(|only| only == *region);
        let regions = connection.regions.keys().filter(wanted);
        let proven = regions.filter(|region| connection.trusted_role(region).is_some());
        let proven: Vec<Region> = proven.cloned().collect();
        if connection.integration.removed_at.is_some() || proven.is_empty() {
            let id = &self.named.id;
            let message = format!("integration {id} has no such region whose role is proven");
            let fix = format!(
                "`portwarden integration show {id} --tenant {}` says what is wrong with each region",
                self.named.tenant
            );
            return Err(Failure::new("region_unproven", message, fix));
        }
        Ok(proven)
    }

    fn no_end(&self, choice: &StackChoice, region: &Region) -> Failure {
        let message = format!(
            "the comparison of {region} has not come to its end within {} s",
            self.timeout
        );
        let fix = format!(
            "a large registry takes longer: look at how far it came (portwarden integration coverage {} --tenant {}{}), \
             or at the log of the reconciler function",
            self.named.id,
            self.named.tenant,
            choice.options()
        );
        Failure::new("comparison_missing", message, fix)
    }
}

/// The end of a comparison that is waited for.
struct Ended<'a> {
    scope: &'a TenantScope,
    integration: &'a IntegrationId,
    region: &'a Region,
    asked_at: Timestamp,
}

impl Ended<'_> {
    /// Waits for the end of a comparison, which may be one that was under way; nothing when that takes too long.
    async fn wait(
        &self,
        inventories: &Inventories,
        patience: Duration,
        clock: &dyn Clock,
    ) -> Result<Option<Finished>, StoreError> {
        loop {
            let last = inventories
                .last(self.scope, self.integration, self.region)
                .await?;
            if let Some(last) = last.filter(|last| last.at >= self.asked_at) {
                return Ok(Some(last));
            }
            if clock.now().duration_since(self.asked_at).unsigned_abs() >= patience {
                return Ok(None);
            }
            clock.sleep(POLL).await;
        }
    }
}

fn list(compared: &[Compared]) -> String {
    let row = |Compared { region, finished }: &Compared| {
        let found = &finished.found;
        let missed = found.missed.as_ref().map_or(0, |missed| missed.count);
        [
            region.to_string(),
            found.repositories.to_string(),
            found.unread.to_string(),
            found.images.to_string(),
            found.new.to_string(),
            found.changed.to_string(),
            found.gone.to_string(),
            missed.to_string(),
        ]
    };
    let rows: Vec<_> = compared.iter().map(row).collect();
    let columns = [
        "REGION",
        "REPOSITORIES",
        "UNREAD",
        "IMAGES",
        "NEW",
        "CHANGED",
        "GONE",
        "MISSED",
    ];
    table(&columns.map(Column::new), &rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portwarden_core::{
        clock::ManualClock,
        id::TenantId,
        integration::{Integrations, NewRegion},
        reconcile::Begun,
        scope::OperatorScope,
        store::MemoryStore,
    };

    use super::*;

    #[tokio::test]
    async fn the_end_of_any_comparison_after_the_question_is_the_answer() {
        let clock = ManualClock::at(Timestamp::from_second(1000).unwrap());
        let inventories = Inventories::new(Arc::new(MemoryStore::default()));
        let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
        let region: Region = "eu-west-1".parse().unwrap();
        let integration = IntegrationId::generate(&OsRandomness);
        let request = InventoryRequest {
            tenant: scope.tenant().clone(),
            integration: integration.clone(),
            region: region.clone(),
            reason: InventoryReason::Connected,
            repository: None,
            event: None,
            request: RequestId::generate(&OsRandomness),
            trace: TraceId::generate(clock.now(), &OsRandomness),
            continuation: 0,
        };
        let begun = inventories
            .begin(&request, clock.now(), Timestamp::MAX)
            .await
            .unwrap();
        let Begun::Ours(run) = begun else {
            panic!("{begun:?}")
        };
        let ended = async |asked_at| {
            let ended = Ended {
                scope: &scope,
                integration: &integration,
                region: &region,
                asked_at,
            };
            ended
                .wait(&inventories, Duration::from_secs(10), &clock)
                .await
                .unwrap()
        };
        assert_eq!(ended(clock.now()).await, None, "it is under way");
        inventories.finish(&request, &run, clock.now()).await.unwrap();
        let finished = ended(Timestamp::from_second(1001).unwrap()).await.unwrap();
        assert_eq!(finished.request, request.request);
        clock.advance(Duration::from_secs(1));
        assert_eq!(
            ended(clock.now()).await,
            None,
            "one that ended before is no answer"
        );
        let compared = Compared { region, finished };
        let text = list(&[compared]);
        assert!(
            text.contains("REPOSITORIES") && text.contains("eu-west-1"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_region_that_cannot_be_compared_is_named_at_once() {
        let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
        let region = NewRegion::Quick {
            region: "eu-west-1".parse().unwrap(),
        };
        let connection = Integrations::new(Arc::new(MemoryStore::default()))
            .create(&scope, "n", &[region], Timestamp::UNIX_EPOCH, &OsRandomness)
            .await
            .unwrap();
        let args = CompareArgs {
            named: Named::new(connection.integration.id.clone(), scope.tenant().clone()),
            region: None,
            timeout: 1,
        };
        let failure = args.regions(&connection).unwrap_err();
        assert_eq!(failure.problem().code, "region_unproven");
    }
}
