use clap::Args;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::{IntegrationId, Region},
    integration::{Integrations, Removal},
};

use super::{Named, view::removal_text, write};
use crate::{
    failure::{Ending, Failure},
    stack::StackChoice,
};

/// Which integration is removed.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    named: Named,
}

impl RemoveArgs {
    /// Removes the integration, and prints the receipt; again for one that is removed already.
    pub(super) async fn run(self, choice: &StackChoice, json: bool) -> Result<Ending, Failure> {
        let id = &self.named.id;
        if *id == IntegrationId::operator() {
            let fix = "nothing: the deployment makes it; to watch none of its registries, delete OperatorEventsRule";
            return Err(Failure::new(
                "integration_of_operator",
                "the operator's own integration stays",
                fix,
            ));
        }
        let stack = choice.open().await?;
        let (_, scope) = self.named.find(&stack).await?;
        let integrations = Integrations::new(stack.store.clone());
        integrations.remove(&scope, id, SystemClock.now()).await?;
        let receipt = integrations.removal(&scope, id).await?.ok_or_else(|| {
            let message = format!("integration {id} was removed, and there is no receipt");
            Failure::new("receipt_missing", message, "run the command again")
        })?;
        write(json, &receipt, || text(&receipt))
    }
}

fn text(receipt: &Removal) -> String {
    let regions: Vec<&str> = receipt.regions.iter().map(Region::as_str).collect();
    let stacks = match &receipt.account {
        Some(account) => format!(
            "delete the stacks in account {account}, or they go on sending what nobody takes: {}\n",
            regions.join(", ")
        ),
        None => String::new(),
    };
    format!("{}{stacks}", removal_text(receipt))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use portwarden_core::{
        id::TenantId, integration::NewRegion, random::OsRandomness, scope::OperatorScope, store::MemoryStore,
    };

    use super::*;

    #[tokio::test]
    async fn a_receipt_says_when_and_what_is_left_to_do() {
        let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
        let integrations = Integrations::new(Arc::new(MemoryStore::default()));
        let regions = ["eu-central-1", "us-east-1"].map(|region| NewRegion::Quick {
            region: region.parse().unwrap(),
        });
        let now = Timestamp::UNIX_EPOCH;
        let made = integrations
            .create(&scope, "n", &regions, now, &OsRandomness)
            .await
            .unwrap();
        let id = made.integration.id;
        let account = "111122223333".parse().unwrap();
        integrations.confirm_account(&scope, &id, &account).await.unwrap();
        assert!(integrations.remove(&scope, &id, now).await.unwrap());
        let receipt = integrations.removal(&scope, &id).await.unwrap().unwrap();
        assert_eq!(
            text(&receipt),
            "removed      1970-01-01T00:00:00Z: the tenant wished it\n\
             deleted      from 1970-01-31T00:00:00Z on\n\
             delete the stacks in account 111122223333, or they go on sending what nobody takes: eu-central-1, us-east-1\n"
        );
        let later = "1970-02-01T00:00:00Z".parse().unwrap();
        assert!(!integrations.remove(&scope, &id, later).await.unwrap());
        assert_eq!(
            integrations.removal(&scope, &id).await.unwrap(),
            Some(receipt),
            "the first time counts"
        );
    }
}
