use clap::{Args, Subcommand};
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::TenantId,
    integration::Integrations,
    random::OsRandomness,
    scope::{OperatorScope, TenantScope},
    tenant::{Tenant, Tenants},
};
use serde::Serialize;

use crate::{
    failure::{Ending, Failure},
    integration::{self, IntegrationView},
    output::Output,
    stack::{Stack, StackChoice},
    text::{Column, printable, table},
};

/// Makes and lists tenants: the customers of whoever runs Portwarden.
#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    #[command(subcommand)]
    command: TenantCommand,
    #[command(flatten)]
    stack: StackChoice,
    /// Prints JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// Makes a tenant and prints its id
    Create {
        /// What people call the tenant
        #[arg(value_parser = portwarden_core::name::parse_name)]
        name: String,
    },
    /// Lists all tenants
    List,
    /// Shows a tenant and its integrations
    Show {
        /// The tenant's id
        #[arg(value_name = "TENANT")]
        id: TenantId,
    },
}

/// A tenant with its integrations.
#[derive(Serialize)]
struct TenantView {
    tenant: Tenant,
    integrations: Vec<IntegrationView>,
}

impl TenantArgs {
    /// Does what the subcommand says.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        let stack = self.stack.open().await?;
        let tenants = Tenants::new(stack.store.clone());
        let operator = OperatorScope::of_this_process();
        match self.command {
            TenantCommand::Create { name } => {
                let tenant = tenants
                    .create(operator, &name, SystemClock.now(), &OsRandomness)
                    .await?;
                if self.json {
                    Output::Stdout.write_json(&tenant)?;
                } else {
                    Output::Stdout.write(format!("{}\n", tenant.id).as_bytes())?;
                }
            }
            TenantCommand::List => {
                let tenants = tenants.list(operator).await?;
                if self.json {
                    Output::Stdout.write_json(&tenants)?;
                } else {
                    Output::Stdout.write(list(&tenants).as_bytes())?;
                }
            }
            TenantCommand::Show { id } => {
                let (tenant, scope) = find(&stack, &id).await?;
                let connections = Integrations::new(stack.store.clone()).list(&scope).await?;
                let integrations: Vec<_> = connections
                    .iter()
                    .map(|connection| IntegrationView::new(connection, &stack.events_url, SystemClock.now()))
                    .collect();
                let view = TenantView { tenant, integrations };
                if self.json {
                    Output::Stdout.write_json(&view)?;
                } else {
                    Output::Stdout.write(show(&view).as_bytes())?;
                }
            }
        }
        Ok(Ending::Done)
    }
}

/// Finds a tenant, and the scope of what is its.
pub(crate) async fn find(stack: &Stack, id: &TenantId) -> Result<(Tenant, TenantScope), Failure> {
    let operator = OperatorScope::of_this_process();
    let tenant = Tenants::new(stack.store.clone()).find(operator, id).await?;
    let tenant = tenant.ok_or_else(|| {
        let fix = "`portwarden tenant list` lists the tenants, `portwarden tenant create NAME` makes one";
        Failure::new("tenant_missing", format!("there is no tenant {id}"), fix)
    })?;
    let scope = operator.tenant(id.clone());
    Ok((tenant, scope))
}

fn list(tenants: &[Tenant]) -> String {
    let rows: Vec<[String; 3]> = tenants
        .iter()
        .map(|tenant| {
            [
                tenant.id.to_string(),
                format!("{:.0}", tenant.created_at),
                tenant.name.clone(),
            ]
        })
        .collect();
    table(
        &[Column::new("TENANT"), Column::new("CREATED"), Column::new("NAME")],
        &rows,
    )
}

fn show(view: &TenantView) -> String {
    let TenantView { tenant, integrations } = view;
    let head = format!(
        "tenant   {}\nname     {}\ncreated  {:.0}\n",
        tenant.id,
        printable(&tenant.name),
        tenant.created_at
    );
    if integrations.is_empty() {
        head
    } else {
        format!("{head}\n{}", integration::list(integrations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_nobody_has_its_titles() {
        assert_eq!(list(&[]), "TENANT  CREATED  NAME\n");
    }
}
