use std::path::PathBuf;

use clap::Args;
use portwarden_core::{arn::RoleArn, tenant_template};

use crate::{
    failure::{Ending, Failure},
    output::Output,
};

/// Prints the CloudFormation template by which a tenant connects an account.
#[derive(Debug, Args)]
pub(crate) struct TemplateArgs {
    /// The role that the tenant's role trusts: the output `ConnectorRoleArn` of the operator's stack
    #[arg(long, value_name = "ARN")]
    principal: String,
    /// Writes to FILE, whole or not at all
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl TemplateArgs {
    /// Prints the template.
    pub(crate) fn run(self) -> Result<Ending, Failure> {
        let principal: RoleArn = self.principal.parse().map_err(|error| {
            let message = "--principal is not the ARN of an IAM role";
            let fix = "give the output ConnectorRoleArn of the operator's stack, such as \
                       arn:aws:iam::111122223333:role/portwarden-connector";
            Failure::new("principal_invalid", message, fix).because(&error)
        })?;
        Output::new(self.output)?.write(tenant_template::render(&principal).as_bytes())?;
        Ok(Ending::Done)
    }
}
