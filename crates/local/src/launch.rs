//! What a tenant's administrator does with a launch link: the stack that it describes, in an account.

use std::collections::HashMap;

use jiff::Timestamp;
use portwarden_aws::SystemClock;
use portwarden_core::{
    arn::RoleArn,
    clock::Clock as _,
    id::{AccountId, ExternalId, IntegrationId, Region, RequestId},
    random::OsRandomness,
    tenant_template,
};
use reqwest::{StatusCode, Url, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::{
    Account, LocalCloud, LocalError, RegistryAddress,
    deploy::{self, Stack},
    destination::BasicAuth,
    tenant::{self, StackParameters},
};

/// A stack that was created by a launch link.
#[derive(Debug)]
pub struct Launched {
    /// The account that it is in.
    pub account: Account,
    /// The account's registry.
    pub registry: RegistryAddress,
    /// The role that it made.
    pub role: RoleArn,
    /// Where its messages and events go.
    pub events_url: Url,
    /// What they are sent with.
    pub auth: BasicAuth,
    external_id: ExternalId,
    /// Where the password is that it made, if it made one.
    secret: Option<String>,
    /// The parameter `CredentialGeneration`.
    generation: u32,
    stack: Stack,
}

/// What a launch link says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    region: Region,
    tenant_name: String,
    url: String,
    external_id: ExternalId,
}

impl Link {
    /// Reads the link as CloudFormation's console does: the parameters stand behind the `#`.
    fn parse(link: &str) -> Option<Self> {
        let url = Url::parse(link).ok()?;
        let (_, query) = url.fragment()?.split_once('?')?;
        let filled = Url::parse(&format!("link:?{query}")).ok()?;
        let filled: HashMap<String, String> = filled.query_pairs().into_owned().collect();
        let region = url.query_pairs().find(|(name, _)| name == "region")?.1;
        Some(Self {
            region: region.parse().ok()?,
            tenant_name: filled.get("param_TenantName")?.clone(),
            url: filled.get("param_Url")?.clone(),
            external_id: filled.get("param_ExternalId")?.parse().ok()?,
        })
    }
}

impl LocalCloud {
    /// Creates the stack that a launch link describes in an account; without credentials, the stack makes a password.
    pub async fn launch(
        &self,
        link: &str,
        account: &AccountId,
        credentials: Option<BasicAuth>,
    ) -> Result<Launched, LocalError> {
        let unreadable = || LocalError::call("read a launch link", link.to_owned());
        let link = Link::parse(link).ok_or_else(unreadable)?;
        let integration: IntegrationId = link
            .url
            .rsplit('/')
            .next()
            .and_then(|id| id.parse().ok())
            .ok_or_else(unreadable)?;
        let account = self.account(account, &link.region);
        let events_url: Url = format!("{}/v1/events/{integration}", self.api()?)
            .parse()
            .map_err(|error| LocalError::call("write the event endpoint's URL", error))?;
        let parameters = StackParameters {
            tenant_name: link.tenant_name,
            // The template takes addresses of AWS only, and the link has the emulator's.
            url: self.public_events_url(&integration)?,
            events_url: events_url.clone(),
            auth: credentials.clone(),
            external_id: link.external_id.clone(),
            role_name: None,
        };
        let stack = tenant::create_stack(&account, &self.published_template().await?, &parameters).await?;
        let role = stack
            .output("AssumeRoleArn")?
            .parse()
            .map_err(|error| LocalError::call("read the role's ARN", error))?;
        let (auth, secret) = if let Some(auth) = credentials {
            (auth, None)
        } else {
            let (auth, secret) = made_credentials(&account, &stack).await?;
            (auth, Some(secret))
        };
        Ok(Launched {
            registry: RegistryAddress::open(&account).await?,
            account,
            role,
            events_url,
            auth,
            external_id: link.external_id,
            secret,
            generation: 1,
            stack,
        })
    }
}

/// Reads the password that a stack has made, as its connection does, and says where it is.
async fn made_credentials(account: &Account, stack: &Stack) -> Result<(BasicAuth, String), LocalError> {
    let secret = deploy::physical_id(account, stack, "Secret").await?;
    let failed = |error: &dyn std::fmt::Display| LocalError::call("read a stack's secret", error.to_string());
    let client = reqwest::Client::builder().no_proxy().build();
    let answer = client
        .map_err(|error| failed(&error))?
        .post(account.endpoint())
        .header(header::AUTHORIZATION, account.authorization("secretsmanager"))
        .header("x-amz-target", "secretsmanager.GetSecretValue")
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
        .body(json!({ "SecretId": secret }).to_string())
        .send()
        .await
        .map_err(|error| failed(&error))?;
    let text = answer.text().await.map_err(|error| failed(&error))?;
    let parse = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| failed(&error));
    let answer = parse(&text)?;
    let text_of = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let made = parse(&text_of(&answer, "SecretString"))?;
    let field = |name: &str| text_of(&made, name);
    let auth = BasicAuth {
        username: field("username"),
        password: field("password").into(),
    };
    // The emulator's stack names the secret, and its ARN has some characters more.
    Ok((auth, text_of(&answer, "ARN")))
}

impl Launched {
    /// Writes the heartbeat that the stack sends now.
    pub fn heartbeat(&self) -> Value {
        self.message("aws.events", "Portwarden Heartbeat", json!({}))
    }

    /// Writes what the stack sends when its status has become `status`, such as `CREATE_COMPLETE`.
    pub fn status(&self, status: &str) -> Value {
        let detail = json!({ "status-details": { "status": status } });
        self.message("aws.cloudformation", "CloudFormation Stack Status Change", detail)
    }

    /// Writes what the template's rules make of an event: with `detail`, and what the stack says of itself.
    fn message(&self, source: &str, detail_type: &str, mut detail: Value) -> Value {
        let (account, region) = (self.account.id(), self.account.region());
        let now: Timestamp = SystemClock.now();
        detail["stack-id"] = json!(format!(
            "arn:aws:cloudformation:{region}:{account}:stack/portwarden-ecr/0"
        ));
        detail["role-arn"] = json!(self.role);
        detail["external-id"] = json!(self.external_id);
        detail["template-version"] = json!(tenant_template::VERSION);
        detail["rate-minutes"] = json!(15);
        detail["credential-generation"] = json!(self.generation);
        detail["secret-arn"] = json!(self.secret.as_deref().unwrap_or_default());
        detail["repositories"] = json!("");
        json!({
            "version": "0",
            "id": RequestId::generate(&OsRandomness),
            "detail-type": detail_type,
            "source": source,
            "account": account,
            "time": format!("{now:.0}"),
            "region": region,
            "resources": [],
            "detail": detail,
        })
    }

    /// Updates the stack with another `CredentialGeneration`, on which it makes another password and sends with that.
    pub async fn renew_password(&mut self, generation: u32) -> Result<(), LocalError> {
        let value = generation.to_string();
        let parameter = ("CredentialGeneration", value.as_str());
        self.stack = deploy::update_parameter(&self.account, &self.stack, parameter).await?;
        (self.auth, _) = made_credentials(&self.account, &self.stack).await?;
        self.generation = generation;
        Ok(())
    }

    /// Sends an event once, and returns the endpoint's answer: whether EventBridge tries again is not ours here.
    pub async fn send(&self, event: &Value) -> Result<StatusCode, LocalError> {
        self.send_with(event, &self.auth.password).await
    }

    /// Sends an event once with another password than the stack's.
    pub async fn send_with(&self, event: &Value, password: &SecretString) -> Result<StatusCode, LocalError> {
        let failed = |error: reqwest::Error| LocalError::call("send an event", error);
        let client = reqwest::Client::builder().no_proxy().build().map_err(failed)?;
        let sent = client
            .post(self.events_url.clone())
            .basic_auth(&self.auth.username, Some(password.expose_secret()))
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .body(event.to_string())
            .send();
        Ok(sent.await.map_err(failed)?.status())
    }
}

#[cfg(test)]
mod tests {
    use portwarden_core::tenant_template::launch::{Launch, LaunchPad};

    use super::*;

    #[test]
    fn a_link_is_read_as_it_is_written() {
        let external_id: ExternalId = "pw-0123456789abcdefghjkmnpqrs".parse().unwrap();
        let url = "https://api.example/v1/events/i-0123456789abcdefghjkmnpqrs";
        let launch = Launch {
            tenant_name: "Größe & Söhne + 1",
            url,
            external_id: &external_id,
        };
        for link in LaunchPad::new("https://templates.example/t".to_owned()).links(&launch) {
            let read = Link {
                region: link.region,
                tenant_name: launch.tenant_name.to_owned(),
                url: url.to_owned(),
                external_id: external_id.clone(),
            };
            assert_eq!(Link::parse(&link.link), Some(read), "{}", link.link);
        }
        assert_eq!(Link::parse("https://example.com/"), None);
    }
}
