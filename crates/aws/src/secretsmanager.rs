use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws_sdk_secretsmanager::{
    Client,
    config::{Builder, IdentityCache, Region as SdkRegion},
};
use portwarden_core::{
    arn::SecretArn,
    id::Region,
    receipt::CallCounter,
    session::Session,
    tenant_account::{ReadError, ReadSecret},
    webhook::{ReadWebhookKey, WebhookKey, WebhookKeyError},
};
use secrecy::SecretString;

use crate::{Aws, config::counted, failure::Failure};

/// Secrets Manager of tenants' accounts, in the region and with the session of each call.
#[derive(Debug, Clone)]
pub struct SecretsManager {
    client: Client,
    calls: Arc<CallCounter>,
}

impl SecretsManager {
    /// Makes the one client of the process; its own region and credentials are never used.
    pub fn new(aws: &Aws) -> Self {
        Self {
            client: Client::new(&aws.sdk),
            calls: aws.calls(),
        }
    }
}

/// The key for webhooks' secrets, in Secrets Manager of our own account.
#[derive(Debug)]
pub struct WebhookKeySecret {
    aws: Aws,
    arn: String,
    read: OnceLock<WebhookKey>,
}

impl WebhookKeySecret {
    /// Names the secret.
    pub fn new(aws: &Aws, arn: String) -> Self {
        Self {
            aws: aws.clone(),
            arn,
            read: OnceLock::new(),
        }
    }
}

#[async_trait]
impl ReadWebhookKey for WebhookKeySecret {
    async fn webhook_key(&self) -> Result<WebhookKey, WebhookKeyError> {
        if let Some(key) = self.read.get() {
            return Ok(key.clone());
        }
        // Asked once in a process, if at all.
        let client = Client::new(&self.aws.sdk);
        let answer = client.get_secret_value().secret_id(&self.arn).send().await;
        let answer = answer.map_err(|error| WebhookKeyError(Failure::of(CALL, &error).into()))?;
        let text = answer.secret_string.map(SecretString::from);
        let key = text.and_then(WebhookKey::parse).ok_or_else(|| {
            WebhookKeyError(
                Failure::unreachable(CALL, "the secret is no text of 32 characters or more").into(),
            )
        })?;
        // It never changes, so whoever comes second puts the same there.
        Ok(self.read.get_or_init(|| key).clone())
    }
}

const CALL: &str = "secretsmanager:GetSecretValue";

#[async_trait]
impl ReadSecret for SecretsManager {
    async fn read_secret(
        &self,
        session: &Session,
        secret: &SecretArn,
        region: &Region,
    ) -> Result<SecretString, ReadError> {
        let caller = Builder::new()
            .region(SdkRegion::new(region.as_str().to_owned()))
            .credentials_provider(counted(session, &self.calls))
            .identity_cache(IdentityCache::no_cache());
        let answer = self
            .client
            .get_secret_value()
            .secret_id(secret.as_str())
            .customize()
            .config_override(caller)
            .send()
            .await;
        let answer = answer.map_err(|error| Failure::of(CALL, &error).into_read_error())?;
        answer
            .secret_string
            .map(SecretString::from)
            .ok_or_else(|| ReadError::Missing(Failure::unreachable(CALL, "the secret is not a text").into()))
    }
}
