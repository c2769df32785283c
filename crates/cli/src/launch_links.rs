use clap::Args;
use portwarden_core::{
    id::{IntegrationId, Region, TenantId},
    tenant_template::launch::Launch,
};

use crate::{
    failure::{Ending, Failure},
    integration::Named,
    output::Output,
    stack::StackChoice,
    text::printable,
};

/// Prints the links by which a tenant creates its stack, one for each region, with everything filled in.
#[derive(Debug, Args)]
pub(crate) struct LaunchLinksArgs {
    /// The integration to connect
    #[arg(long)]
    integration: IntegrationId,
    /// Whose integration it is
    #[arg(long)]
    tenant: TenantId,
    /// Another region; may be repeated
    #[arg(long, value_name = "REGION")]
    region: Vec<Region>,
    #[command(flatten)]
    stack: StackChoice,
    /// Prints JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl LaunchLinksArgs {
    /// Prints the links.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        let stack = self.stack.open().await?;
        let (tenant, connection) = Named::new(self.integration, self.tenant)
            .find_with_tenant(&stack)
            .await?;
        let mut pad = stack.launch_pad()?;
        pad.add_regions(self.region);
        let links = pad.links(&Launch {
            tenant_name: &tenant.name,
            url: &format!("{}/{}", stack.events_url, connection.integration.id),
            external_id: &connection.integration.external_id,
        });
        if self.json {
            Output::Stdout.write_json(&links)?;
        } else {
            let text: Vec<String> = links
                .iter()
                .map(|link| format!("{:14}  {}\n", link.region, printable(&link.link)))
                .collect();
            Output::Stdout.write(text.concat().as_bytes())?;
        }
        Ok(Ending::Done)
    }
}
