//! What the verifier reads in a tenant's account besides the registry: the role itself, and the one secret of its stack.

use async_trait::async_trait;
use secrecy::SecretString;

use crate::{
    arn::{RoleArn, SecretArn},
    id::Region,
    session::Session,
};

/// Reads a role's own trust policy.
#[async_trait]
pub trait ReadTrustPolicy: Send + Sync {
    /// Returns the trust policy of the role that the session belongs to, as JSON.
    async fn read_trust_policy(
        &self,
        session: &Session,
        role: &RoleArn,
        region: &Region,
    ) -> Result<String, ReadError>;
}

/// Reads the secret in which a stack keeps the credentials that it made.
#[async_trait]
pub trait ReadSecret: Send + Sync {
    /// Returns the secret's current text.
    async fn read_secret(
        &self,
        session: &Session,
        secret: &SecretArn,
        region: &Region,
    ) -> Result<SecretString, ReadError>;
}

/// Why something in a tenant's account was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The role may not read it.
    #[error("the role may not read it")]
    Denied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is not there, or not as it must be.
    #[error("it is not there")]
    Missing(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service is asked too much.
    #[error("the service is throttled")]
    Throttled,
    /// The service cannot be reached, or failed, or the session ended.
    #[error("the service is unreachable")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
