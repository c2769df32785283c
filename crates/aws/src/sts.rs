use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use aws_sdk_sts::{
    Client,
    config::{Builder, IdentityCache, Region as SdkRegion},
    operation::assume_role::AssumeRoleOutput,
};
use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    arn::RoleArn,
    clock::Clock,
    id::{AccountId, Region},
    session::{AssumeError, AssumeRole, ProbeRole, Purpose, Session, SessionName, TrustedRole},
};

use crate::{
    Aws,
    config::credentials,
    failure::{Failure, Kind},
};

const CALL: &str = "sts:AssumeRole";

/// Opens tenants' roles that are proven: always with the ExternalId of the integration.
#[derive(Clone)]
pub struct TenantSessions(Arc<Connector>);

/// Tries roles that are not proven, with any ExternalId and with none; for the verifier only.
#[derive(Clone)]
pub struct RoleProber {
    connector: Arc<Connector>,
    canary: RoleArn,
}

/// The one role of the operator that tenants trust, and the way through it.
pub struct Connector {
    client: Client,
    role: RoleArn,
    clock: Arc<dyn Clock>,
    /// By the first part of the session's name: the role's trust lets each function use only its own.
    sessions: Mutex<HashMap<String, Session>>,
}

/// What is asked of STS on behalf of the connector.
struct Request<'a> {
    role: &'a RoleArn,
    external_id: Option<&'a str>,
    region: &'a Region,
    name: &'a SessionName,
    /// In seconds.
    duration: i32,
}

/// A session of a role that was opened by another role's session lasts for an hour at most.
///
/// Source: IAM user guide, "Role chaining".
const LONGEST: i32 = 3600;

/// The shortest session that STS gives; a probe does nothing with it.
const SHORTEST: i32 = 900;

impl TenantSessions {
    /// Goes through the connector role.
    pub fn new(connector: Arc<Connector>) -> Self {
        Self(connector)
    }
}

#[async_trait]
impl AssumeRole for TenantSessions {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        let request = Request {
            role: role.role(),
            external_id: Some(role.external_id().as_str()),
            region: role.region(),
            name,
            duration: LONGEST,
        };
        self.0.open(&request, &purpose).await
    }
}

impl RoleProber {
    /// Goes through the connector role; `canary` is the operator's role that trusts it without a condition.
    pub fn new(connector: Arc<Connector>, canary: RoleArn) -> Self {
        Self { connector, canary }
    }

    async fn probe(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        region: &Region,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        let request = Request {
            role,
            external_id,
            region,
            name,
            duration: SHORTEST,
        };
        self.connector.open(&request, &Purpose::Proof).await
    }
}

#[async_trait]
impl ProbeRole for RoleProber {
    async fn probe_role(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        region: &Region,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        self.probe(role, external_id, region, name).await
    }

    async fn probe_canary(&self, region: &Region, name: &SessionName) -> Result<Session, AssumeError> {
        self.probe(&self.canary, None, region, name).await
    }
}

impl Connector {
    /// How long before its end the connector's session is not used any more.
    const MARGIN: SignedDuration = SignedDuration::from_mins(5);

    /// Names the connector role; the process's own credentials open it.
    pub fn new(aws: &Aws, role: RoleArn, clock: Arc<dyn Clock>) -> Self {
        Self {
            client: Client::new(&aws.sdk),
            role,
            clock,
            sessions: Mutex::default(),
        }
    }

    /// Opens a role with a session policy; once more with a fresh session of the connector if STS rejects the kept one.
    async fn open(&self, request: &Request<'_>, purpose: &Purpose) -> Result<Session, AssumeError> {
        let family = request.name.as_str().split('-').next().unwrap_or_default();
        let kept = self
            .sessions()
            .get(family)
            .filter(|session| session.expires_at > self.clock.now() + Self::MARGIN)
            .cloned();
        if let Some(connector) = kept {
            match self.assume_from(&connector, request, purpose).await {
                Err(failure) if failure.kind() == Kind::Expired => {}
                result => return result.map_err(role_error),
            }
        }
        let connector = self
            .assume_connector(request.name)
            .await
            .map_err(connector_error)?;
        self.sessions().insert(family.to_owned(), connector.clone());
        let result = self.assume_from(&connector, request, purpose).await;
        result.map_err(role_error)
    }

    async fn assume_connector(&self, name: &SessionName) -> Result<Session, Failure> {
        let answer = self
            .client
            .assume_role()
            .role_arn(self.role.as_str())
            .role_session_name(name.as_str())
            .duration_seconds(LONGEST)
            .send()
            .await;
        session(&answer.map_err(|error| Failure::of(CALL, &error))?)
    }

    /// Asks the STS of the tenant's region: other regions may be closed to the account.
    async fn assume_from(
        &self,
        connector: &Session,
        request: &Request<'_>,
        purpose: &Purpose,
    ) -> Result<Session, Failure> {
        // The client stays the same and with it its connections; nothing of one session is kept for the next.
        let caller = Builder::new()
            .region(SdkRegion::new(request.region.as_str().to_owned()))
            .credentials_provider(credentials(connector))
            .identity_cache(IdentityCache::no_cache());
        let answer = self
            .client
            .assume_role()
            .role_arn(request.role.as_str())
            .role_session_name(request.name.as_str())
            .set_external_id(request.external_id.map(str::to_owned))
            .policy(purpose.session_policy(request.role, request.region))
            .duration_seconds(request.duration)
            .customize()
            .config_override(caller)
            .send()
            .await;
        session(&answer.map_err(|error| Failure::of(CALL, &error))?)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session(answer: &AssumeRoleOutput) -> Result<Session, Failure> {
    let incomplete = |what| Failure::unreachable(CALL, what);
    let credentials = answer
        .credentials()
        .ok_or_else(|| incomplete("the answer has no credentials"))?;
    let account = answer
        .assumed_role_user()
        .and_then(|user| account_of_session(user.arn()))
        .ok_or_else(|| incomplete("the answer names no account"))?;
    let expires_at = Timestamp::from_second(credentials.expiration().secs())
        .map_err(|_| incomplete("the session ends at no time"))?;
    Ok(Session {
        access_key_id: credentials.access_key_id().to_owned(),
        secret_access_key: credentials.secret_access_key().into(),
        session_token: credentials.session_token().into(),
        expires_at,
        account,
    })
}

/// Reads the account of `arn:aws:sts::<account>:assumed-role/<role>/<session>`.
fn account_of_session(arn: &str) -> Option<AccountId> {
    let mut parts = arn.split(':');
    (parts.nth(2)? == "sts").then(|| parts.nth(1)?.parse().ok())?
}

/// Says why a role that the connector asked for is not open.
fn role_error(failure: Failure) -> AssumeError {
    if failure.has_code("RegionDisabledException") {
        return AssumeError::RegionDisabled(failure.into());
    }
    match failure.kind() {
        Kind::Denied => AssumeError::NotAllowed(failure.into()),
        Kind::Throttled => AssumeError::Throttled,
        // The connector's session was opened just now, so it is the connector that is not accepted.
        Kind::Expired => AssumeError::Connector(failure.into()),
        Kind::Refused | Kind::Unreachable => AssumeError::Unreachable(failure.into()),
    }
}

/// Says why the connector role is not open.
fn connector_error(failure: Failure) -> AssumeError {
    match failure.kind() {
        Kind::Throttled => AssumeError::Throttled,
        Kind::Unreachable => AssumeError::Unreachable(failure.into()),
        Kind::Denied | Kind::Expired | Kind::Refused => AssumeError::Connector(failure.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_that_of_the_session() {
        let account = |arn| account_of_session(arn).map(String::from);
        assert_eq!(
            account("arn:aws:sts::111122223333:assumed-role/r/scan-1"),
            Some("111122223333".to_owned())
        );
        for arn in [
            "",
            "arn:aws:iam::111122223333:role/r",
            "arn:aws:sts:::assumed-role/r/s",
        ] {
            assert_eq!(account(arn), None, "{arn:?}");
        }
    }
}
