use std::fmt;

use clap::Args;
use portwarden_aws::SystemClock;
use portwarden_core::{
    arn::RoleArn,
    clock::Clock as _,
    endpoint::{CredentialError, Password, Username},
    id::{AccountId, ExternalId, IntegrationId, Region, TenantId},
    integration::{Integrations, NewRegion},
    random::OsRandomness,
    tenant_template::launch::{Launch, LaunchLink},
};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::json;

use super::{confirm::refuse_ours, write};
use crate::{
    failure::{Ending, Failure},
    scan::read_password,
    stack::StackChoice,
    tenant,
    text::{printable, shell_word},
};

/// What an integration is made of.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Whose account is connected
    #[arg(long)]
    tenant: TenantId,
    /// What people call the account
    #[arg(long, value_parser = portwarden_core::name::parse_name)]
    name: String,
    /// A region whose registry is watched; may be given several times
    #[arg(long = "region", value_name = "REGION", required = true)]
    regions: Vec<Region>,
    /// The account, if it is known: then nothing is left to be confirmed
    #[arg(long)]
    account: Option<AccountId>,
    /// Makes a password here, for stacks that shall not make one themselves
    #[arg(long)]
    classic: bool,
    /// The user that a classic stack sends events as
    #[arg(long, value_name = "USER", value_parser = Username::parse, default_value = "portwarden", requires = "classic")]
    username: Username,
    /// Reads the user's password from standard input; a generated one is better
    #[arg(long, requires = "classic")]
    password_stdin: bool,
}

/// What the tenant needs; the password is in here and nowhere else, once.
#[derive(Serialize)]
struct Created {
    tenant: TenantId,
    /// The stack's parameter `TenantName`.
    tenant_name: String,
    integration: IntegrationId,
    /// For each region, what opens CloudFormation with all parameters but a password.
    links: Vec<LaunchLink>,
    /// The stack's parameter `Url`.
    url: String,
    /// The stack's parameter `Username`, if the stack does not make its credentials itself.
    username: Option<String>,
    /// The stack's parameter `Password`, if it was generated here.
    password: Option<String>,
    /// The account, if it was named.
    account: Option<AccountId>,
    /// The stack's parameter `ExternalId`.
    external_id: ExternalId,
    /// The role that the tenant's role trusts.
    connector_role: RoleArn,
    /// The options that choose the same Portwarden.
    #[serde(skip)]
    options: String,
}

impl CreateArgs {
    /// Makes the integration and prints what the tenant needs.
    pub(super) async fn run(self, choice: &StackChoice, json: bool) -> Result<Ending, Failure> {
        let password = if !self.classic {
            None
        } else if self.password_stdin {
            let password = Password::parse(&read_password()?).map_err(|error: CredentialError| {
                let fix = "leave --password-stdin away, and a good one is made";
                Failure::new("password_invalid", error.to_string(), fix)
            })?;
            Some(password)
        } else {
            Some(Password::generate(&OsRandomness))
        };
        let mut regions = self.regions;
        regions.sort();
        regions.dedup();

        let stack = choice.open().await?;
        let (tenant, scope) = tenant::find(&stack, &self.tenant).await?;
        let mut pad = stack.launch_pad()?;
        if let Some(account) = &self.account {
            refuse_ours(&stack, account)?;
        }
        let new_region = |region: &Region| match &password {
            Some(password) => NewRegion::Classic {
                region: region.clone(),
                username: self.username.clone(),
                password: password.clone(),
            },
            None => NewRegion::Quick {
                region: region.clone(),
            },
        };
        let new_regions: Vec<NewRegion> = regions.iter().map(new_region).collect();
        let integrations = Integrations::new(stack.store.clone());
        let integration = integrations
            .create_in(
                &scope,
                self.account.as_ref(),
                &self.name,
                &new_regions,
                SystemClock.now(),
                &OsRandomness,
            )
            .await?
            .integration;
        let url = format!("{}/{}", stack.events_url, integration.id);
        pad.add_regions(regions.iter().cloned());
        let mut links = pad.links(&Launch {
            tenant_name: &tenant.name,
            url: &url,
            external_id: &integration.external_id,
        });
        links.retain(|link| regions.contains(&link.region));
        let created = Created {
            tenant: self.tenant,
            tenant_name: tenant.name,
            url,
            integration: integration.id,
            links,
            username: password.as_ref().map(|_| self.username.as_str().to_owned()),
            password: password
                .filter(|_| !self.password_stdin)
                .map(|password| password.secret().expose_secret().to_owned()),
            account: self.account,
            external_id: integration.external_id,
            connector_role: stack.connector,
            options: choice.options(),
        };
        write(json, &created, || created.to_string())
    }
}

/// What stands where a password stands that its owner knows.
const OWN_PASSWORD: &str = "(the one that you gave)";

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_deref().unwrap_or(OWN_PASSWORD);
        let mut parameters = vec![
            ("TenantName", self.tenant_name.as_str()),
            ("Url", self.url.as_str()),
            ("ExternalId", self.external_id.as_str()),
        ];
        if let Some(username) = &self.username {
            parameters.extend([("Username", username.as_str()), ("Password", password)]);
        }
        writeln!(
            f,
            "integration {} of tenant {} is made\n",
            self.integration, self.tenant
        )?;
        writeln!(
            f,
            "Links that create the tenant's stack; open one signed in to the account that is connected:"
        )?;
        for LaunchLink { region, link } in &self.links {
            writeln!(f, "  {region}  {link}")?;
        }
        let once = match self.username {
            Some(_) => "; the password is shown only now",
            None => "; the password is made by the stack itself",
        };
        writeln!(f, "\nParameters of the tenant's stack{once}:")?;
        for (name, value) in &parameters {
            writeln!(f, "  {name:10}  {}", printable(value))?;
        }
        writeln!(
            f,
            "\nThe same without a browser, with credentials of that account:"
        )?;
        writeln!(
            f,
            "  portwarden template --principal {} --output portwarden-ecr.yaml",
            self.connector_role
        )?;
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value }))
            .collect();
        // JSON, since the short form gives commas and quotes a meaning.
        let parameters = serde_json::Value::from(parameters).to_string();
        for LaunchLink { region, .. } in &self.links {
            writeln!(
                f,
                "  aws cloudformation create-stack --region {region} --stack-name portwarden-ecr --capabilities CAPABILITY_IAM \
                 --template-body file://portwarden-ecr.yaml --parameters {}",
                shell_word(&parameters)
            )?;
        }
        if self.username.is_none() {
            return self.write_quick_end(f);
        }
        writeln!(f, "\nThen, with the stack's output AssumeRoleArn:")?;
        for LaunchLink { region, .. } in &self.links {
            writeln!(
                f,
                "  portwarden integration verify {} --tenant {} --region {region} --role-arn ARN{}",
                self.integration, self.tenant, self.options
            )?;
        }
        Ok(())
    }
}

impl Created {
    /// Says what is left to be done when the stack says everything else itself.
    fn write_quick_end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = format!("{} --tenant {}", self.integration, self.tenant);
        match &self.account {
            Some(account) => writeln!(
                f,
                "\nNothing else is to be done: stacks in account {account} are connected as they say that they are there.\n  \
                 portwarden integration show {named}{}",
                self.options
            ),
            None => writeln!(
                f,
                "\nThen, once the stack has said that it is there, confirm its account:\n  \
                 portwarden integration confirm {named}{}",
                self.options
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(password: Option<&str>) -> Created {
        let link = |region: &str| LaunchLink {
            region: region.parse().unwrap(),
            link: format!("https://{region}.console.example/#/create?param_TenantName=Shop%20%26%20Co"),
        };
        Created {
            tenant: "t-00000000000000000000000000".parse().unwrap(),
            tenant_name: "Shop & Co".to_owned(),
            integration: "i-11111111111111111111111111".parse().unwrap(),
            links: vec![link("eu-central-1"), link("us-east-1")],
            url: "https://api.example/v1/events/i-11111111111111111111111111".to_owned(),
            username: Some("portwarden".to_owned()),
            password: password.map(str::to_owned),
            account: None,
            external_id: "pw-22222222222222222222222222".parse().unwrap(),
            connector_role: "arn:aws:iam::111122223333:role/portwarden-connector"
                .parse()
                .unwrap(),
            options: " --local".to_owned(),
        }
    }

    #[test]
    fn the_tenant_can_paste_what_it_needs() {
        let text = created(Some("secret,with=it's")).to_string();
        for needed in [
            "  us-east-1  https://us-east-1.console.example/#/create?param_TenantName=Shop%20%26%20Co\n",
            "  TenantName  Shop & Co\n",
            "  Password    secret,with=it's\n",
            "portwarden template --principal arn:aws:iam::111122223333:role/portwarden-connector --output",
            r#"{"ParameterKey":"Password","ParameterValue":"secret,with=it'\''s"}"#,
            "create-stack --region us-east-1 --stack-name portwarden-ecr --capabilities CAPABILITY_IAM ",
            "integration verify i-11111111111111111111111111 --tenant t-00000000000000000000000000 --region eu-central-1 \
             --role-arn ARN --local\n",
        ] {
            assert!(text.contains(needed), "{needed} is missing in:\n{text}");
        }
    }

    #[test]
    fn quick_connect_needs_a_link_and_a_confirmation() {
        let quick = |account: Option<&str>| {
            Created {
                username: None,
                account: account.map(|account| account.parse().unwrap()),
                ..created(None)
            }
            .to_string()
        };
        let text = quick(None);
        assert!(
            !text.contains("Password ") && !text.contains("Username"),
            "{text}"
        );
        let confirm = "integration confirm i-11111111111111111111111111 --tenant t-00000000000000000000000000 --local\n";
        assert!(text.ends_with(confirm), "{text}");
        let named = quick(Some("111122223333"));
        assert!(
            !named.contains("confirm") && named.contains("account 111122223333"),
            "{named}"
        );
    }

    #[test]
    fn a_password_that_somebody_gave_is_not_shown() {
        let text = created(None).to_string();
        assert!(text.contains("  Password    (the one that you gave)\n"), "{text}");
        assert_eq!(
            serde_json::to_value(created(None)).unwrap()["password"],
            json!(null)
        );
    }
}
