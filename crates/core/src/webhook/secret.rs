use std::fmt;

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::Sha256;

use crate::{
    id::{NotificationId, WebhookId},
    scope::TenantScope,
};

/// What all secrets of webhooks are derived from.
///
/// So no secret of a webhook is stored anywhere: the table has nothing that anything could be signed with.
#[derive(Clone)]
pub struct WebhookKey(SecretString);

/// What one webhook's messages are signed with.
#[derive(Clone)]
pub struct WebhookSecret(SecretSlice<u8>);

/// The headers that say who sent a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// `webhook-id`
    pub id: String,
    /// `webhook-timestamp`
    pub timestamp: String,
    /// `webhook-signature`
    pub signature: String,
}

/// The key is not there, or is none.
#[derive(Debug, thiserror::Error)]
#[error("the key for webhooks' secrets cannot be read")]
pub struct WebhookKeyError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Reads the key.
#[async_trait]
pub trait ReadWebhookKey: Send + Sync {
    /// Returns the key; it is read once in a process.
    async fn webhook_key(&self) -> Result<WebhookKey, WebhookKeyError>;
}

/// A key in memory, for tests.
#[async_trait]
impl ReadWebhookKey for WebhookKey {
    async fn webhook_key(&self) -> Result<WebhookKey, WebhookKeyError> {
        Ok(self.clone())
    }
}

/// How many characters the key has at least: 32 of the letters and digits that Secrets Manager makes have 190 bits.
const MIN_KEY: usize = 32;

impl WebhookKey {
    /// Takes a key, if it is long enough not to be guessed.
    pub fn parse(text: SecretString) -> Option<Self> {
        (text.expose_secret().len() >= MIN_KEY).then_some(Self(text))
    }

    /// Derives the secret of a tenant's webhook.
    pub(super) fn secret(&self, scope: &TenantScope, id: &WebhookId, generation: u32) -> WebhookSecret {
        let mut mac = keyed(self.0.expose_secret().as_bytes());
        // None of the three has a line end, so different ones never meet.
        mac.update(format!("webhook\n{}\n{id}\n{generation}", scope.tenant()).as_bytes());
        WebhookSecret(mac.finalize().into_bytes().to_vec().into())
    }
}

impl WebhookSecret {
    /// Returns the secret as its owner is shown it, once.
    ///
    /// Source: Standard Webhooks, "Signature scheme": base64 behind `whsec_`.
    pub fn expose(&self) -> SecretString {
        format!("whsec_{}", BASE64_STANDARD.encode(self.0.expose_secret())).into()
    }

    fn sign(&self, content: &[&[u8]]) -> String {
        let mut mac = keyed(self.0.expose_secret());
        for part in content {
            mac.update(part);
        }
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl Signed {
    /// Signs a message at the time of an attempt, with every secret.
    ///
    /// Source: Standard Webhooks, "Signature scheme" and "Webhook headers".
    pub fn new(id: &NotificationId, now: Timestamp, body: &[u8], secrets: &[WebhookSecret]) -> Self {
        let (id, timestamp) = (id.to_string(), now.as_second().to_string());
        let head = format!("{id}.{timestamp}.");
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| secret.sign(&[head.as_bytes(), body]))
            .collect();
        Self {
            signature: signatures.join(" "),
            id,
            timestamp,
        }
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey")
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::TenantId, random::OsRandomness};

    /// Source: the libraries of Standard Webhooks, whose tests all have this message and its signature.
    #[test]
    fn a_known_message_has_the_known_signature() {
        let secret = BASE64_STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap();
        let signature = WebhookSecret(secret.into()).sign(&[
            b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.",
            br#"{"test": 2432232314}"#,
        ]);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_webhook_and_each_generation_has_a_secret_of_its_own() {
        let key = WebhookKey::parse("a-key-of-thirty-two-characters-00".to_owned().into()).unwrap();
        let other = WebhookKey::parse("a-key-of-thirty-two-characters-01".to_owned().into()).unwrap();
        let [a, b] = [(), ()].map(|()| TenantScope::of(TenantId::generate(&OsRandomness)));
        let [one, two] = [(), ()].map(|()| WebhookId::generate(&OsRandomness));
        let secrets = [
            key.secret(&a, &one, 1),
            key.secret(&a, &one, 2),
            key.secret(&a, &two, 1),
            key.secret(&b, &one, 1),
            other.secret(&a, &one, 1),
        ];
        let shown: std::collections::BTreeSet<String> = secrets
            .iter()
            .map(|secret| secret.expose().expose_secret().to_owned())
            .collect();
        assert_eq!(shown.len(), secrets.len());
        for text in &shown {
            let bytes = BASE64_STANDARD
                .decode(text.strip_prefix("whsec_").unwrap())
                .unwrap();
            assert_eq!(bytes.len(), 32, "24 to 64 are allowed");
        }
        assert!(WebhookKey::parse("short".to_owned().into()).is_none());
        let told = format!("{key:?}{:?}", secrets[0]);
        assert_eq!(told, "WebhookKeyWebhookSecret");
    }
}
