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
/// It comes from [`crate::integration::Connection::trusted_role`] and from nowhere else.
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
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::{clock::ManualClock, id::TenantId, random::OsRandomness};

    /// Opens any role and counts; the access key tells whose session it is.
    struct Counting(AtomicUsize, ManualClock);

    #[async_trait]
    impl AssumeRole for Counting {
        async fn assume_role(
            &self,
            role: &TrustedRole,
            _: Purpose,
            _: &SessionName,
        ) -> Result<Session, AssumeError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Session {
                access_key_id: format!("{role:?}"),
                secret_access_key: "secret".to_owned().into(),
                session_token: "token".to_owned().into(),
                expires_at: self.1.now() + SignedDuration::from_hours(1),
                account: role.role.account().clone(),
            })
        }
    }

    fn role(tenant: &TenantId, external_id: &ExternalId, region: &str) -> TrustedRole {
        TrustedRole::new(
            TenantScope::of(tenant.clone()),
            IntegrationId::operator(),
            "arn:aws:iam::111122223333:role/r".parse().unwrap(),
            external_id.clone(),
            region.parse().unwrap(),
        )
    }

    #[tokio::test]
    async fn sessions_never_meet_and_are_kept_while_they_last() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let sessions = CachedSessions::new(
            Counting(AtomicUsize::new(0), clock.clone()),
            Arc::new(clock.clone()),
        );
        let tenants = [(); 2].map(|()| TenantId::generate(&OsRandomness));
        let ids = [(); 2].map(|()| ExternalId::generate(&OsRandomness));
        let roles = [
            role(&tenants[0], &ids[0], "us-east-1"),
            role(&tenants[1], &ids[0], "us-east-1"),
            role(&tenants[0], &ids[1], "us-east-1"),
            role(&tenants[0], &ids[0], "eu-west-1"),
        ];
        let name = SessionName::scan(&RequestId::generate(&OsRandomness));
        let mut assumed = 0;
        for (minutes, calls) in [(0, 4), (0, 0), (54, 0), (1, 4)] {
            clock.advance(Duration::from_mins(minutes));
            for role in &roles {
                let session = sessions
                    .assume_role(role, Purpose::Registry, &name)
                    .await
                    .unwrap();
                assert_eq!(session.access_key_id, format!("{role:?}"));
            }
            assumed += calls;
            assert_eq!(
                sessions.inner.0.load(Ordering::SeqCst),
                assumed,
                "after {minutes} minutes"
            );
        }
        sessions.forget(&roles[0]);
        sessions
            .assume_role(&roles[0], Purpose::Registry, &name)
            .await
            .unwrap();
        assert_eq!(sessions.inner.0.load(Ordering::SeqCst), assumed + 1);
    }

    #[tokio::test]
    async fn a_hundred_tenants_in_one_process_each_have_a_session_of_their_own() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let sessions = CachedSessions::new(
            Counting(AtomicUsize::new(0), clock.clone()),
            Arc::new(clock.clone()),
        );
        let roles: Vec<TrustedRole> = (0..100)
            .map(|_| {
                let id = ExternalId::generate(&OsRandomness);
                role(&TenantId::generate(&OsRandomness), &id, "us-east-1")
            })
            .collect();
        // In another order each time, and all under way at once.
        for stride in [1, 7, 33, 99] {
            let name = SessionName::scan(&RequestId::generate(&OsRandomness));
            let turns = (0..100).map(|turn| &roles[turn * stride % 100]);
            let turns = turns.map(async |role| {
                tokio::task::yield_now().await;
                let session = sessions.assume_role(role, Purpose::Registry, &name).await;
                assert_eq!(session.unwrap().access_key_id, format!("{role:?}"));
            });
            futures_util::future::join_all(turns).await;
        }
        assert_eq!(sessions.inner.0.load(Ordering::SeqCst), 100);
    }

    #[tokio::test]
    async fn what_is_kept_has_a_limit_and_ends_with_its_sessions() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let sessions = CachedSessions::new(
            Counting(AtomicUsize::new(0), clock.clone()),
            Arc::new(clock.clone()),
        );
        let tenant = TenantId::generate(&OsRandomness);
        let roles: Vec<_> = (0..=CachedSessions::<Counting>::MOST)
            .map(|_| role(&tenant, &ExternalId::generate(&OsRandomness), "us-east-1"))
            .collect();
        let name = SessionName::scan(&RequestId::generate(&OsRandomness));
        let assumed_for = async |role: &TrustedRole| {
            let before = sessions.inner.0.load(Ordering::SeqCst);
            sessions
                .assume_role(role, Purpose::Registry, &name)
                .await
                .unwrap();
            sessions.inner.0.load(Ordering::SeqCst) - before
        };
        let last = roles.last().unwrap();
        for role in &roles {
            assert_eq!(assumed_for(role).await, 1);
        }
        assert_eq!(assumed_for(&roles[0]).await, 0);
        assert_eq!(assumed_for(last).await, 1, "there is no place for it");
        clock.advance(Duration::from_mins(55));
        assert_eq!(assumed_for(last).await, 1);
        assert_eq!(assumed_for(last).await, 0, "the others made place for it");
    }

    #[test]
    fn session_policies_fit_and_read_only() {
        let region = "ap-southeast-2".parse().unwrap();
        let longest = format!(
            "arn:aws:iam::111122223333:role/{}/{}",
            "p".repeat(500),
            "n".repeat(64)
        );
        let secret = format!(
            "arn:aws:secretsmanager:{region}:111122223333:secret:{}",
            "s".repeat(519)
        );
        let secret: SecretArn = secret.parse().unwrap();
        let purposes = [
            (Purpose::Registry, "registry"),
            (Purpose::Names, "names"),
            (Purpose::Proof, "proof"),
            (Purpose::Credentials(secret), "credentials"),
        ];
        for (purpose, name) in purposes {
            assert_eq!(purpose.name(), name);
            let policy = purpose.session_policy(&longest.parse().unwrap(), &region);
            assert!(policy.len() <= 2048, "{purpose:?}: {}", policy.len());
            for word in [
                "Put", "Delete", "Upload", "Set", "Tag\"", ":*\"", "Create", "Update",
            ] {
                assert!(!policy.contains(word), "{purpose:?}: {word}");
            }
        }
    }

    #[test]
    fn session_names_say_what_for_and_fit() {
        let request = RequestId::generate(&OsRandomness);
        for (name, purpose) in [
            (SessionName::scan(&request), "scan-"),
            (SessionName::reconcile(&request), "reconcile-"),
            (SessionName::verify(&request), "verify-"),
            (SessionName::verify_credentials(&request), "verify-credentials-"),
        ] {
            let name = name.as_str();
            assert_eq!(name.strip_prefix(purpose), Some(request.as_str()));
            // Source: STS API reference, "AssumeRole", RoleSessionName: 2 to 64 of [\w+=,.@-].
            assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let session = Session {
            access_key_id: "AKIA".into(),
            secret_access_key: "very-secret".to_owned().into(),
            session_token: "very-secret".to_owned().into(),
            expires_at: Timestamp::UNIX_EPOCH,
            account: "111122223333".parse().unwrap(),
        };
        assert_eq!(
            format!("{session:?}"),
            r#"Session { account: AccountId("111122223333"), expires_at: 1970-01-01T00:00:00Z, .. }"#
        );
    }
}
