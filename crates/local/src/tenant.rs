//! Connects an AWS account as a tenant does: with the tenants' template, in that account.

use std::collections::BTreeMap;

use aws_sdk_eventbridge::types::{
    ApiDestinationHttpMethod, ConnectionAuthorizationType, CreateConnectionAuthRequestParameters,
    CreateConnectionBasicAuthRequestParameters,
};
use portwarden_core::{
    arn::RoleArn,
    id::{ExternalId, IntegrationId, TenantId},
};
use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::{
    account::Account,
    deploy::{self, Stack},
    destination::{ApiDestination, BasicAuth, Delivery, RetryPolicy},
    error::LocalError,
    registry::RegistryAddress,
    template::Template,
};

/// What the stack's name in the tenant's account begins with.
const STACK: &str = "portwarden-ecr";

/// The name of the tenants' template in messages.
const TEMPLATE: &str = "ecr-integration.template";

/// An AWS account that is connected to the Portwarden of the same emulator.
#[derive(Debug)]
pub struct Tenant {
    /// The tenant.
    pub id: TenantId,
    /// The integration.
    pub integration: IntegrationId,
    /// The ExternalId that the role demands.
    pub external_id: ExternalId,
    /// The role that the stack made.
    pub role: RoleArn,
    /// The account.
    pub account: Account,
    /// The account's registry, at an address of its own.
    pub registry: RegistryAddress,
    /// Where the integration's events go.
    pub events_url: Url,
    /// What they are sent with.
    pub auth: BasicAuth,
    pub(crate) destination: ApiDestination,
    pub(crate) stack: Stack,
}

/// What a tenant is given to fill in the stack's parameters.
#[derive(Debug, Clone)]
pub(crate) struct StackParameters {
    /// What people call the tenant.
    pub tenant_name: String,
    /// The endpoint's public URL.
    pub url: String,
    /// The endpoint's URL in the emulator.
    pub events_url: Url,
    /// The credentials, unless the stack makes them.
    pub auth: Option<BasicAuth>,
    pub external_id: ExternalId,
    /// The name that CloudFormation gives to the role, if it is to be a certain one.
    pub role_name: Option<&'static str>,
}

/// Creates the tenants' stack in `account`, from the published template.
///
/// The connection and the API destination are made through the API, since the emulator's CloudFormation has not these
/// types; all the rest is the template's.
pub(crate) async fn create_stack(
    account: &Account,
    template: &str,
    parameters: &StackParameters,
) -> Result<Stack, LocalError> {
    let mut template = Template::parse(TEMPLATE, template)?;
    // A password that the stack makes is there too late for this; whoever sends its events reads it then.
    let auth = parameters.auth.clone().unwrap_or_else(|| BasicAuth {
        username: "portwarden".to_owned(),
        password: "made by the stack".to_owned().into(),
    });
    for (connection, _) in template.take_resources("AWS::Events::Connection") {
        let arn = create_connection(account, &connection, &auth).await?;
        for (destination, properties) in template.take_resources("AWS::Events::ApiDestination") {
            let rate = &properties["Properties"]["InvocationRateLimitPerSecond"];
            let arn = create_destination(account, &destination, &arn, &parameters.events_url, rate).await?;
            template.replace_references(&destination, &arn);
        }
        template.replace_references(&connection, &arn);
    }
    if let Some(name) = parameters.role_name {
        template.set_property("Role", "RoleName", name);
    }
    let mut filled = BTreeMap::from([
        ("TenantName", parameters.tenant_name.as_str()),
        ("Url", parameters.url.as_str()),
        ("ExternalId", parameters.external_id.as_str()),
    ]);
    if let Some(auth) = &parameters.auth {
        filled.insert("Username", &auth.username);
        filled.insert("Password", auth.password.expose_secret());
    }
    // The emulator makes a role's name of the stack's, and a name is one role of the account in all regions.
    let name = format!("{STACK}-{}", account.region());
    deploy::create_stack(account, &name, &template, &filled).await
}

async fn create_connection(
    account: &Account,
    logical_id: &str,
    auth: &BasicAuth,
) -> Result<String, LocalError> {
    let basic = CreateConnectionBasicAuthRequestParameters::builder()
        .username(&auth.username)
        .password(auth.password.expose_secret())
        .build()
        .map_err(|error| LocalError::call("create a connection", error))?;
    let answer = account
        .eventbridge()
        .create_connection()
        .name(format!("{STACK}-{logical_id}"))
        .authorization_type(ConnectionAuthorizationType::Basic)
        .auth_parameters(
            CreateConnectionAuthRequestParameters::builder()
                .basic_auth_parameters(basic)
                .build(),
        )
        .send()
        .await
        .map_err(|error| LocalError::call("create a connection", error))?;
    answer
        .connection_arn
        .ok_or_else(|| LocalError::call("create a connection", "the answer has no ARN"))
}

/// The emulator itself sends scheduled heartbeats there, so that the address must be on this machine.
async fn create_destination(
    account: &Account,
    logical_id: &str,
    connection: &str,
    events_url: &Url,
    rate: &Value,
) -> Result<String, LocalError> {
    let rate = rate.as_i64().and_then(|rate| i32::try_from(rate).ok());
    let answer = account
        .eventbridge()
        .create_api_destination()
        .name(format!("{STACK}-{logical_id}"))
        .connection_arn(connection)
        .invocation_endpoint(events_url.as_str())
        .http_method(ApiDestinationHttpMethod::Post)
        .set_invocation_rate_limit_per_second(rate)
        .send()
        .await
        .map_err(|error| LocalError::call("create an API destination", error))?;
    answer
        .api_destination_arn
        .ok_or_else(|| LocalError::call("create an API destination", "the answer has no ARN"))
}

impl Tenant {
    /// Delivers an event to the integration's endpoint as the account's API destination does, dead letters included.
    pub async fn deliver(&self, event: &Value) -> Result<Delivery, LocalError> {
        let body = event.to_string();
        let delivery = self
            .destination
            .deliver(body.as_bytes(), &portwarden_core::random::OsRandomness)
            .await;
        if let Delivery::DeadLetter { cause, .. } = &delivery {
            tracing::warn!(account.id = %self.account.id(), %cause, "event is a dead letter");
            self.account
                .sqs()
                .send_message()
                .queue_url(self.stack.output("DeadLetterQueueUrl")?)
                .message_body(body)
                .send()
                .await
                .map_err(|error| LocalError::call("send a dead letter", error))?;
        }
        Ok(delivery)
    }

    pub(crate) fn destination(events_url: Url, auth: BasicAuth) -> Result<ApiDestination, LocalError> {
        ApiDestination::new(events_url, auth, RetryPolicy::EVENT_BRIDGE)
    }
}
