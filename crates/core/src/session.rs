//! Sessions in tenants' accounts: for one purpose, under one name, never without the ExternalId.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{
    arn::{RoleArn, SecretArn},
    clock::Clock,
    id::{AccountId, ExternalId, IntegrationId, Region, RequestId},
    scope::TenantScope,
};

/// A role that was proven to open for its tenant's integration only, with what opens it.
///
/// It comes from [`crate::integration::Connection::trusted_role`] or [`crate::integration::Roles::trusted_role`], which are one
/// rule, and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustedRole {
    scope: TenantScope,
    integration: IntegrationId,
    role: RoleArn,
    external_id: ExternalId,
    region: Region,
}

impl TrustedRole {
    pub(crate) fn new(
        scope: TenantScope,
        integration: IntegrationId,
        role: RoleArn,
        external_id: ExternalId,
        region: Region,
    ) -> Self {
        Self {
            scope,
            integration,
            role,
            external_id,
            region,
        }
    }

    /// Returns whose role it is.
    pub fn scope(&self) -> &TenantScope {
        &self.scope
    }

    /// Returns the integration that the role belongs to.
    pub fn integration(&self) -> &IntegrationId {
        &self.integration
    }

    /// Returns the role.
    pub fn role(&self) -> &RoleArn {
        &self.role
    }

    /// Returns the ExternalId of the integration.
    pub fn external_id(&self) -> &ExternalId {
        &self.external_id
    }

    /// Returns the region to work in, whose STS endpoint is used.
    pub fn region(&self) -> &Region {
        &self.region
    }
}

/// What a session may do, whatever the role allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Read the account's registry.
    Registry,
    /// List the names of repositories in any region, and nothing of them.
    Names,
    /// Prove the role: read the registry, and the role itself.
    Proof,
    /// Read the one secret in which the stack keeps its credentials, and nothing else; for the verifier only.
    Credentials(SecretArn),
}

impl Purpose {
    /// Returns a short name for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Names => "names",
            Self::Proof => "proof",
            Self::Credentials(_) => "credentials",
        }
    }

    /// Writes the session policy, at most 2,048 characters.
    ///
    /// `GetAuthorizationToken` and `DescribeRegistry` know no resource but `*`, and a list of all repositories is
    /// judged against it: these are narrowed by region instead, as the roles' own policies narrow them.
    pub fn session_policy(&self, role: &RoleArn, region: &Region) -> String {
        let statements = match self {
            Self::Registry => read_registry(role, region).to_vec(),
            Self::Names => {
                vec![json!({"Effect": "Allow", "Action": "ecr:DescribeRepositories", "Resource": "*"})]
            }
            Self::Proof => {
                let mut statements = read_registry(role, region).to_vec();
                statements.push(json!({"Effect": "Allow", "Action": "iam:GetRole", "Resource": role}));
                statements
            }
            Self::Credentials(secret) => {
                vec![
                    json!({"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret}),
                ]
            }
        };
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    }
}

fn read_registry(role: &RoleArn, region: &Region) -> [Value; 2] {
    let account = role.account();
    let repositories = format!("arn:{}:ecr:{region}:{account}:repository/*", region.partition());
    [
        json!({
            "Effect": "Allow",
            "Action": ["ecr:DescribeRegistry", "ecr:DescribeRepositories", "ecr:GetAuthorizationToken"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:RequestedRegion": region}},
        }),
        json!({
            "Effect": "Allow",
            "Action": [
                "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImageScanFindings",
                "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer", "ecr:ListImages", "ecr:ListTagsForResource",
            ],
            "Resource": repositories,
        }),
    ]
}

/// The name that a tenant sees in its `CloudTrail`: who works, and the request's id.
///
/// The connector role lets each function use only its own names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionName(String);

impl SessionName {
    /// Names a session of the scanner.
    pub fn scan(request: &RequestId) -> Self {
        Self(format!("scan-{request}"))
    }

    /// Names a session of the reconciler.
    pub fn reconcile(request: &RequestId) -> Self {
        Self(format!("reconcile-{request}"))
    }

    /// Names a session in which the verifier proves a role.
    pub fn verify(request: &RequestId) -> Self {
        Self(format!("verify-{request}"))
    }

    /// Names the session in which the verifier reads the secret of a stack.
    pub fn verify_credentials(request: &RequestId) -> Self {
        Self(format!("verify-credentials-{request}"))
    }

    /// Returns the name as text: at most 64 characters, as STS demands.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Temporary credentials.
#[derive(Clone)]
pub struct Session {
    /// The access key's id, which is no secret.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: SecretString,
    /// The session token.
    pub session_token: SecretString,
    /// When they end.
    pub expires_at: Timestamp,
    /// The account that they belong to, as STS says.
    pub account: AccountId,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("account", &self.account)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Opens sessions in proven roles.
#[async_trait]
pub trait AssumeRole: Send + Sync {
    /// Assumes a tenant's role by way of the connector role, with the ExternalId and the purpose's session policy.
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError>;
}

#[async_trait]
impl<T: AssumeRole + ?Sized> AssumeRole for Arc<T> {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        (**self).assume_role(role, purpose, name).await
    }
}

/// Asks whether a role would open, for the verifier only: nothing is done with what opens.
#[async_trait]
pub trait ProbeRole: Send + Sync {
    /// Tries to assume `role` by way of the connector role, with this ExternalId or with none.
    ///
    /// Every session has the session policy of [`Purpose::Proof`], so that even a role with administrator rights opens
    /// no more than the registry and itself.
    async fn probe_role(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        region: &Region,
        name: &SessionName,
    ) -> Result<Session, AssumeError>;

    /// Tries to assume the canary role, which trusts the connector role without a condition.
    async fn probe_canary(&self, region: &Region, name: &SessionName) -> Result<Session, AssumeError>;
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum AssumeError {
    /// STS says no: the role is missing, does not trust us, or demands another ExternalId; STS does not tell which.
    #[error("the role cannot be assumed")]
    NotAllowed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Our own connector role cannot be assumed, so nothing is known of the tenant's.
    #[error("the connector role cannot be assumed")]
    Connector(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// STS is not active in the region.
    #[error("the region's STS endpoint is not active in the account")]
    RegionDisabled(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// STS is asked too much.
    #[error("STS is throttled")]
    Throttled,
    /// STS cannot be reached, or failed.
    #[error("STS is unreachable")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Keeps sessions for as long as they last, under everything that distinguishes them.
pub struct CachedSessions<A> {
    inner: A,
    clock: Arc<dyn Clock>,
    sessions: std::sync::Mutex<std::collections::HashMap<(TrustedRole, Purpose), Session>>,
}

impl<A: AssumeRole> CachedSessions<A> {
    /// How long before its end a session is not used any more.
    const MARGIN: SignedDuration = SignedDuration::from_mins(5);

    /// How many sessions a process keeps.
    const MOST: usize = 1024;

    /// Keeps the sessions that `inner` opens.
    pub fn new(inner: A, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            clock,
            sessions: std::sync::Mutex::default(),
        }
    }

    fn sessions(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::HashMap<(TrustedRole, Purpose), Session>> {
        self.sessions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Forgets a role's sessions, after one was refused as expired or revoked.
    pub fn forget(&self, role: &TrustedRole) {
        self.sessions().retain(|(kept, _), _| kept != role);
    }
}

#[async_trait]
impl<A: AssumeRole> AssumeRole for CachedSessions<A> {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        let key = (role.clone(), purpose.clone());
        let fresh_until = self.clock.now() + Self::MARGIN;
        let known = self
            .sessions()
            .get(&key)
            .filter(|session| session.expires_at > fresh_until)
            .cloned();
        if let Some(session) = known {
            return Ok(session);
        }
        let session = self.inner.assume_role(role, purpose, name).await?;
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.expires_at > fresh_until);
        if sessions.len() < Self::MOST {
            sessions.insert(key, session.clone());
        }
        Ok(session)
    }
}

#[cfg(test)]
mod tests;
