use clap::Args;
use jiff::{SignedDuration, Timestamp};
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::{IntegrationId, Region, TenantId},
    integration::{Connection, Integrations, NoRotation},
    tenant_template::update_command,
};
use serde::Serialize;

use super::{Named, write};
use crate::{
    failure::{Ending, Failure},
    stack::StackChoice,
};

/// Which region's credentials are replaced.
#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    named: Named,
    /// The region whose stack makes new credentials
    #[arg(long)]
    region: Region,
}

#[derive(Serialize)]
struct Rotation<'a> {
    tenant: &'a TenantId,
    integration: &'a IntegrationId,
    region: &'a Region,
    /// What the stack's parameter `CredentialGeneration` is to be.
    generation: u32,
    /// Until when new credentials are expected.
    until: Timestamp,
}

/// How long a tenant may take to update the stack.
const EXPECTED_FOR: SignedDuration = SignedDuration::from_hours(24);

impl RotateArgs {
    /// Lets new credentials come, and prints what makes them.
    pub(super) async fn run(self, choice: &StackChoice, json: bool) -> Result<Ending, Failure> {
        let stack = choice.open().await?;
        let (connection, scope) = self.named.find(&stack).await?;
        let generation = next_generation(&connection, &self.region)?;
        let until = SystemClock.now() + EXPECTED_FOR;
        Integrations::new(stack.store.clone())
            .expect_credentials(&scope, &self.named.id, &self.region, until)
            .await?;
        let rotation = Rotation {
            tenant: &self.named.tenant,
            integration: &self.named.id,
            region: &self.region,
            generation,
            until,
        };
        write(json, &rotation, || rotation.to_text())
    }
}

/// Only a stack that makes its credentials itself can make others.
fn next_generation(connection: &Connection, region: &Region) -> Result<u32, Failure> {
    connection.next_generation(region).map_err(|reason| match reason {
        NoRotation::UnknownRegion => {
            let fix = "`portwarden integration show` lists its regions";
            let message = format!("the integration has not the region {region}");
            Failure::new("region_unknown", message, fix)
        }
        NoRotation::Chosen => {
            let message = "the region's stack has not said that it makes its credentials itself";
            let fix = "update the stack with the current template and an empty Password; then it does";
            Failure::new("credentials_chosen", message, fix)
        }
    })
}

impl Rotation<'_> {
    fn to_text(&self) -> String {
        format!(
            "new credentials of {} are expected until {:.0}; with credentials of the connected account:\n  \
             {}\n\
             The old ones stay valid for 24 hours after the first use of the new ones, so that no event is lost.\n",
            self.region,
            self.until,
            update_command(self.region, self.generation),
        )
    }
}

#[cfg(test)]
mod tests {
    use portwarden_core::{
        event::Claim, integration::NewRegion, random::OsRandomness, scope::OperatorScope, store::MemoryStore,
    };
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_stack_that_makes_its_credentials_makes_the_next_ones() {
        let name: Region = "eu-central-1".parse().unwrap();
        let claim = |secret: &str| -> Claim {
            serde_json::from_value(json!({
                "role-arn": "arn:aws:iam::111122223333:role/r", "external-id": "pw-0123456789abcdefghjkmnpqrs",
                "template-version": "2", "secret-arn": secret, "credential-generation": 3,
            }))
            .unwrap()
        };
        let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
        let region = NewRegion::Quick { region: name.clone() };
        let made = Integrations::new(std::sync::Arc::new(MemoryStore::default()))
            .create(&scope, "n", &[region], Timestamp::UNIX_EPOCH, &OsRandomness)
            .await
            .unwrap();
        let with = |claim: Option<Claim>| {
            let mut connection = made.clone();
            connection.regions.get_mut(&name).unwrap().claim = claim;
            connection
        };
        let own = with(Some(claim(
            "arn:aws:secretsmanager:eu-central-1:111122223333:secret:s-a1b2c3",
        )));
        assert_eq!(next_generation(&own, &name).ok(), Some(4));
        let code = |connection: &Connection, region: &Region| {
            let failure = next_generation(connection, region).unwrap_err();
            failure.problem().code.clone().into_owned()
        };
        assert_eq!(code(&with(Some(claim(""))), &name), "credentials_chosen");
        assert_eq!(code(&with(None), &name), "credentials_chosen");
        assert_eq!(code(&own, &"us-east-1".parse().unwrap()), "region_unknown");
    }
}
