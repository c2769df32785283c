use clap::Args;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::{AccountId, IntegrationId, Region, RequestId, TenantId},
    integration::{Confirmed, Connection, Integrations, NotOneAccount},
    random::OsRandomness,
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
};
use serde::Serialize;

use super::{Named, write};
use crate::{
    failure::{Ending, Failure},
    stack::{Stack, StackChoice},
};

/// Which account is confirmed.
#[derive(Debug, Args)]
pub(super) struct ConfirmArgs {
    #[command(flatten)]
    named: Named,
    /// The AWS account, as its owner knows it; without it, the one account whose stack claims the integration
    #[arg(long)]
    account: Option<AccountId>,
}

#[derive(Serialize)]
struct ConfirmedAccount<'a> {
    tenant: &'a TenantId,
    integration: &'a IntegrationId,
    account: AccountId,
    /// The regions whose stacks claimed a role in the account, which are tested now.
    regions: Vec<Region>,
}

impl ConfirmArgs {
    /// Confirms the account, and has its roles tested.
    pub(super) async fn run(self, choice: &StackChoice, json: bool) -> Result<Ending, Failure> {
        let stack = choice.open().await?;
        let (connection, scope) = self.named.find(&stack).await?;
        let account = match self.account {
            Some(account) => account,
            None => only_proposed(&connection)?,
        };
        refuse_ours(&stack, &account)?;
        let integrations = Integrations::new(stack.store.clone());
        let id = &self.named.id;
        match integrations.confirm_account(&scope, id, &account).await? {
            Confirmed::Now | Confirmed::Before => {}
            Confirmed::OtherAccount(other) => {
                let message = format!("integration {id} belongs to account {other}");
                let fix = "make another integration for the other account";
                return Err(Failure::new("other_account", message, fix));
            }
            Confirmed::Missing => {
                let fix = "make a new one with `portwarden integration create`";
                return Err(Failure::new(
                    "integration_removed",
                    format!("integration {id} is removed"),
                    fix,
                ));
            }
        }
        let regions = connection.regions_naming(&account);
        for region in &regions {
            let request = VerifyRequest {
                tenant: self.named.tenant.clone(),
                integration: id.clone(),
                region: region.clone(),
                role: None,
                claim: None,
                said_at: None,
                reason: VerifyReason::Asked,
                request: RequestId::generate(&OsRandomness),
                trace: TraceId::generate(SystemClock.now(), &OsRandomness),
                attempt: 0,
            };
            stack.verifications.queue_verify(&request).await?;
        }
        let confirmed = ConfirmedAccount {
            tenant: &self.named.tenant,
            integration: id,
            account,
            regions,
        };
        write(json, &confirmed, || confirmed.to_text(choice))
    }
}

impl ConfirmedAccount<'_> {
    fn to_text(&self, choice: &StackChoice) -> String {
        let regions: Vec<&str> = self.regions.iter().map(Region::as_str).collect();
        let what = if regions.is_empty() {
            "its stacks are tested as soon as they say that they are there".to_owned()
        } else {
            format!("its roles are tested now: {}", regions.join(", "))
        };
        format!(
            "account {} is confirmed; {what}\n  portwarden integration show {} --tenant {}{}\n",
            self.account,
            self.integration,
            self.tenant,
            choice.options()
        )
    }
}

/// Our own account belongs to nobody's integration but the operator's.
pub(super) fn refuse_ours(stack: &Stack, account: &AccountId) -> Result<(), Failure> {
    if account == stack.connector.account() {
        let fix =
            "name an account of the tenant; the operator's own registries are watched without any of this";
        let message = format!("{account} is the account that Portwarden itself runs in");
        return Err(Failure::new("account_ours", message, fix));
    }
    Ok(())
}

/// Returns the one account that is proposed; where there are several, a person has to say which.
fn only_proposed(connection: &Connection) -> Result<AccountId, Failure> {
    let fix = "name the account: --account 123456789012";
    connection.only_proposed().map_err(|error| match error {
        NotOneAccount::Nothing => {
            let message = "no stack has claimed the integration with a role that is as it must be";
            Failure::new("nothing_proposed", message, fix)
        }
        NotOneAccount::Several(accounts) => {
            let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
            let message = format!("several accounts claim the integration: {}", accounts.join(", "));
            Failure::new("several_proposed", message, fix)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use jiff::Timestamp;
    use portwarden_core::{
        integration::{NewRegion, RegionConnection, Trust},
        scope::OperatorScope,
        store::MemoryStore,
    };

    use super::*;

    async fn connection(trusts: &[Trust]) -> Connection {
        let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
        let regions: [NewRegion; 0] = [];
        let made = Integrations::new(Arc::new(MemoryStore::default()))
            .create(&scope, "n", &regions, Timestamp::UNIX_EPOCH, &OsRandomness)
            .await
            .unwrap();
        let names = ["eu-west-1", "us-east-1", "us-west-2"];
        let regions = names.iter().zip(trusts).map(|(name, trust)| {
            let region: Region = name.parse().unwrap();
            let connection = RegionConnection {
                trust: trust.clone(),
                ..RegionConnection::new(region.clone())
            };
            (region, connection)
        });
        Connection {
            regions: regions.collect::<BTreeMap<_, _>>(),
            ..made
        }
    }

    fn proposed(account: &str) -> Trust {
        Trust::Proposed {
            role: format!("arn:aws:iam::{account}:role/r").parse().unwrap(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn one_click_is_enough_where_one_account_is_proposed_and_never_else() {
        let code = |failure: Failure| failure.problem().code.clone().into_owned();
        let [one, other] = ["111122223333", "444455556666"].map(proposed);
        let both_regions = connection(&[one.clone(), one.clone(), Trust::Unnamed]).await;
        let account = only_proposed(&both_regions).unwrap();
        assert_eq!(account.as_str(), "111122223333");
        assert_eq!(both_regions.regions_naming(&account).len(), 2);
        let several = connection(&[one, other]).await;
        assert_eq!(
            only_proposed(&several).map_err(code),
            Err("several_proposed".to_owned())
        );
        let none = connection(&[Trust::Unnamed]).await;
        assert_eq!(
            only_proposed(&none).map_err(code),
            Err("nothing_proposed".to_owned())
        );
    }
}
