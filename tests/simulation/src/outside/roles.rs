use async_trait::async_trait;
use portwarden_core::{
    arn::{RoleArn, SecretArn},
    id::Region,
    session::{AssumeError, AssumeRole, ProbeRole, Purpose, Session, SessionName, TrustedRole},
    tenant_account::{ReadError, ReadSecret, ReadTrustPolicy},
};
use secrecy::SecretString;

use crate::{
    cloud::{Assume, canary_arn},
    world::{Asked, Process, StsAnswer, Told},
};

#[async_trait]
impl AssumeRole for Process {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        let id = Some(role.external_id().as_str());
        let asked = Assume {
            by: self.function,
            name: name.as_str(),
            role: role.role(),
            external_id: id,
            region: role.region(),
            purpose,
        };
        self.call("sts assume", role.role(), |state| {
            let checked = state.check_role_is_proven(self.id, role);
            state.judge(checked);
            self.ask(state, &asked)
        })
        .await
    }
}

#[async_trait]
impl ProbeRole for Process {
    async fn probe_role(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        region: &Region,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        let asked = Assume {
            by: self.function,
            name: name.as_str(),
            role,
            external_id,
            region,
            purpose: Purpose::Proof,
        };
        let answer = self
            .call("sts probe", role, |state| self.ask(state, &asked))
            .await;
        let external_id = external_id.map(str::to_owned);
        let role = role.to_string();
        self.tell(name, Asked::Role { role, external_id }, &answer);
        answer
    }

    async fn probe_canary(&self, region: &Region, name: &SessionName) -> Result<Session, AssumeError> {
        let canary = canary_arn();
        let asked = Assume {
            by: self.function,
            name: name.as_str(),
            role: &canary,
            external_id: None,
            region,
            purpose: Purpose::Proof,
        };
        let answer = self
            .call("sts canary", &canary, |state| self.ask(state, &asked))
            .await;
        self.tell(name, Asked::Canary, &answer);
        answer
    }
}

/// The roles of this world may not read themselves, so that the probes alone decide.
#[async_trait]
impl ReadTrustPolicy for Process {
    async fn read_trust_policy(
        &self,
        session: &Session,
        role: &RoleArn,
        _: &Region,
    ) -> Result<String, ReadError> {
        self.call("iam get role", role, |state| {
            let opened = state.cloud.session(&session.access_key_id).cloned();
            let checked = opened.map_or(Ok(()), |opened| state.check_reads(self.id, &opened));
            state.judge(checked);
            Err(ReadError::Denied("AccessDenied".into()))
        })
        .await
    }
}

/// The secrets of those stacks that make their credentials themselves.
#[async_trait]
impl ReadSecret for Process {
    async fn read_secret(
        &self,
        session: &Session,
        secret: &SecretArn,
        region: &Region,
    ) -> Result<SecretString, ReadError> {
        self.call("secret read", secret.as_str(), |state| {
            let Some(opened) = state.cloud.session(&session.access_key_id).cloned() else {
                return Err(ReadError::Denied("ExpiredToken".into()));
            };
            let checked = state.check_secret(self.id, &opened, secret, region);
            state.judge(checked);
            let text = state.cloud.secret(secret);
            text.map(|text| text.to_owned().into())
                .ok_or_else(|| ReadError::Missing("ResourceNotFoundException".into()))
        })
        .await
    }
}

impl Process {
    fn ask(&self, state: &mut crate::world::State, asked: &Assume<'_>) -> Result<Session, AssumeError> {
        let checked = state.check_assume(self.id, asked);
        state.judge(checked);
        let (now, key) = (state.now(), state.chance.number() >> 12);
        state.cloud.assume(asked, now, key)
    }

    /// Remembers what the function was told.
    fn tell(&self, name: &SessionName, asked: Asked, answer: &Result<Session, AssumeError>) {
        let answer = match answer {
            Ok(_) => StsAnswer::Opened,
            Err(AssumeError::NotAllowed(_)) => StsAnswer::Refused,
            Err(_) => StsAnswer::Unknown,
        };
        if let Some(serving) = self.world.state().serving.get_mut(&self.id) {
            let session = name.as_str().to_owned();
            serving.told.push(Told {
                session,
                asked,
                answer,
            });
        }
    }
}
