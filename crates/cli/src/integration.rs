mod compare;
mod confirm;
mod coverage;
mod create;
mod receipts;
mod remove;
mod rotate;
mod verify;
mod view;

use clap::{Args, Subcommand};
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::{IntegrationId, TenantId},
    integration::{Connection, Integrations},
    scope::TenantScope,
    tenant::Tenant,
};

use self::{
    compare::CompareArgs, confirm::ConfirmArgs, coverage::CoverageArgs, create::CreateArgs,
    receipts::ReceiptsArgs, remove::RemoveArgs, rotate::RotateArgs, verify::VerifyArgs,
};
use crate::{
    failure::{Ending, Failure},
    output::Output,
    stack::{Stack, StackChoice},
    tenant,
};

pub(crate) use view::{IntegrationView, list};

/// Connects AWS accounts of tenants: makes, lists, shows and tests their integrations.
#[derive(Debug, Args)]
pub(crate) struct IntegrationArgs {
    #[command(subcommand)]
    command: IntegrationCommand,
    #[command(flatten)]
    stack: StackChoice,
    /// Prints JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum IntegrationCommand {
    /// Makes an integration and prints, once, what the tenant's stack needs
    Create(CreateArgs),
    /// Confirms the account whose stack claims an integration, from which on its images are read
    Confirm(ConfirmArgs),
    /// Compares what is known with what ECR lists, as is done once a day, and says what was found
    Compare(CompareArgs),
    /// Shows which regions and repositories are watched, and how each image became known
    Coverage(CoverageArgs),
    /// Expects new credentials of a region's stack, and says how the stack makes them
    Rotate(RotateArgs),
    /// Lists a tenant's integrations
    List {
        /// Whose integrations
        #[arg(long)]
        tenant: TenantId,
    },
    /// Shows an integration, and what the last test of each region found
    Show(Named),
    /// Tests the connection of a region, and says what was found and how to mend it
    Verify(VerifyArgs),
    /// Lists the sessions that were opened in the account, to hold against its CloudTrail
    Receipts(ReceiptsArgs),
    /// Removes an integration: nothing is done for it any more, and what is known of it is deleted later
    Remove(RemoveArgs),
}

/// Names an integration.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The integration's id
    #[arg(value_name = "INTEGRATION")]
    id: IntegrationId,
    /// Whose integration it is
    #[arg(long)]
    tenant: TenantId,
}

impl IntegrationArgs {
    /// Does what the subcommand says.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        match self.command {
            IntegrationCommand::Create(args) => args.run(&self.stack, self.json).await,
            IntegrationCommand::Confirm(args) => args.run(&self.stack, self.json).await,
            IntegrationCommand::Compare(args) => args.run(&self.stack, self.json).await,
            IntegrationCommand::Coverage(args) => args.run(&self.stack, self.json).await,
            IntegrationCommand::Rotate(args) => args.run(&self.stack, self.json).await,
            IntegrationCommand::List { tenant } => {
                let stack = self.stack.open().await?;
                let (_, scope) = tenant::find(&stack, &tenant).await?;
                let connections = Integrations::new(stack.store.clone()).list(&scope).await?;
                let views: Vec<_> = connections
                    .iter()
                    .map(|connection| IntegrationView::new(connection, &stack.events_url, SystemClock.now()))
                    .collect();
                write(self.json, &views, || list(&views))
            }
            IntegrationCommand::Show(named) => {
                let stack = self.stack.open().await?;
                let (connection, scope) = named.find(&stack).await?;
                let removal = Integrations::new(stack.store.clone())
                    .removal(&scope, &named.id)
                    .await?;
                let view = IntegrationView::new(&connection, &stack.events_url, SystemClock.now());
                let view = view.with_removal(removal);
                write(self.json, &view, || view.to_text())
            }
            IntegrationCommand::Verify(args) => args.run(&self.stack, self.json).await,
            IntegrationCommand::Receipts(args) => args.run(&self.stack, self.json).await,
            IntegrationCommand::Remove(args) => args.run(&self.stack, self.json).await,
        }
    }
}

impl Named {
    /// Names an integration of a tenant.
    pub(crate) fn new(id: IntegrationId, tenant: TenantId) -> Self {
        Self { id, tenant }
    }

    /// Finds the integration, and the tenant that it belongs to.
    pub(crate) async fn find_with_tenant(&self, stack: &Stack) -> Result<(Tenant, Connection), Failure> {
        let (tenant, _) = tenant::find(stack, &self.tenant).await?;
        let (connection, _) = self.find(stack).await?;
        Ok((tenant, connection))
    }

    async fn find(&self, stack: &Stack) -> Result<(Connection, TenantScope), Failure> {
        let (_, scope) = tenant::find(stack, &self.tenant).await?;
        let connection = Integrations::new(stack.store.clone())
            .find(&scope, &self.id)
            .await?;
        let connection = connection.ok_or_else(|| {
            let message = format!("tenant {} has no integration {}", self.tenant, self.id);
            let fix = format!(
                "`portwarden integration list --tenant {}` lists its integrations",
                self.tenant
            );
            Failure::new("integration_missing", message, fix)
        })?;
        Ok((connection, scope))
    }
}

fn write<T: serde::Serialize>(
    json: bool,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<Ending, Failure> {
    if json {
        Output::Stdout.write_json(value)?;
    } else {
        Output::Stdout.write(text().as_bytes())?;
    }
    Ok(Ending::Done)
}
