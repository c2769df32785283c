//! The AWS accounts: roles with their trust policies, and the sessions that STS opened.

mod manner;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    arn::{RoleArn, SecretArn},
    id::{AccountId, Region},
    session::{AssumeError, Purpose, Session},
};
use serde_json::json;

use crate::{
    function::Function,
    policy::{Context, Decision, Policy, Principal, Request},
};

pub(crate) use manner::Manner;

/// The account that the functions run in.
pub(crate) const OPERATOR: &str = "999988887777";

/// The name of the role that tenants trust.
pub(crate) const CONNECTOR: &str = "portwarden-connector";

/// All accounts.
pub(crate) struct Cloud {
    roles: BTreeMap<String, Role>,
    sessions: BTreeMap<String, Opened>,
    connector_trust: Policy,
    connector_denials: Policy,
    canary: Role,
    /// What stacks keep in Secrets Manager.
    secrets: BTreeMap<String, String>,
    /// Our own policy stands in the way of negative probes; only the canary shows it.
    pub(crate) is_muzzled: bool,
}

/// A role of a tenant's account.
pub(crate) struct Role {
    arn: RoleArn,
    right: String,
    trust: Option<Policy>,
    /// How it trusted, since when.
    history: Vec<(Timestamp, Manner)>,
}

/// What a session is for, as STS noted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) role: String,
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) external_id: Option<String>,
    pub(crate) purpose: Purpose,
    pub(crate) ends: Timestamp,
}

/// What is asked of STS.
pub(crate) struct Assume<'a> {
    pub(crate) by: Function,
    pub(crate) name: &'a str,
    pub(crate) role: &'a RoleArn,
    pub(crate) external_id: Option<&'a str>,
    pub(crate) region: &'a Region,
    pub(crate) purpose: Purpose,
}

impl Cloud {
    pub(crate) fn new(now: Timestamp) -> Self {
        let read = |value| serde_json::from_value(value).expect("the policies of the operator can be read");
        let by_name = |role: &str, names: &str| {
            json!({
                "Effect": "Allow", "Action": "sts:AssumeRole",
                "Principal": {"AWS": format!("arn:aws:iam::{OPERATOR}:role/{role}")},
                "Condition": {"StringLike": {"sts:RoleSessionName": names}},
            })
        };
        let statements = [
            by_name(Function::Scanner.role(), "scan-*"),
            by_name(Function::Reconciler.role(), "reconcile-*"),
            by_name(Function::Verifier.role(), "verify-*"),
        ];
        let canary: RoleArn = canary_arn();
        Self {
            roles: BTreeMap::new(),
            sessions: BTreeMap::new(),
            // As the operator's template has them; the template's own are judged by tests/template.
            connector_trust: read(json!({ "Statement": statements })),
            connector_denials: read(json!({"Statement": {
                "Effect": "Deny", "Action": "sts:AssumeRole", "Principal": "*",
                "Condition": {
                    "Null": {"sts:ExternalId": "true"}, "StringNotLike": {"aws:userid": "*:verify-*"},
                },
            }})),
            canary: Role::new(canary, String::new(), Manner::Open, now),
            secrets: BTreeMap::new(),
            is_muzzled: false,
        }
    }

    pub(crate) fn add_role(&mut self, arn: &RoleArn, right: &str, manner: Manner, now: Timestamp) {
        let role = Role::new(arn.clone(), right.to_owned(), manner, now);
        self.roles.insert(arn.to_string(), role);
    }

    /// Keeps credentials where a stack keeps them, in the place of those that were there.
    pub(crate) fn keep_secret(&mut self, arn: &SecretArn, username: &str, password: &str) {
        let text = json!({"username": username, "password": password}).to_string();
        self.secrets.insert(arn.as_str().to_owned(), text);
    }

    pub(crate) fn secret(&self, arn: &SecretArn) -> Option<&str> {
        self.secrets.get(arn.as_str()).map(String::as_str)
    }

    pub(crate) fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.get(arn)
    }

    pub(crate) fn change_trust(&mut self, arn: &str, manner: Manner, now: Timestamp) {
        if let Some(role) = self.roles.get_mut(arn) {
            role.trust = manner.policy(&role.right);
            role.history.push((now, manner));
        }
    }

    /// Decides as STS does: first whether the function may become the connector, then whether the connector may ask, then
    /// whether the role trusts it.
    pub(crate) fn assume(
        &mut self,
        asked: &Assume<'_>,
        now: Timestamp,
        key: u64,
    ) -> Result<Session, AssumeError> {
        let function = Principal::session(OPERATOR, asked.by.role(), "function");
        let named = Context::default().with("sts:RoleSessionName", asked.name);
        if !allows(&self.connector_trust, &function, &named) {
            return Err(AssumeError::Connector("AccessDenied".into()));
        }
        let connector = Principal::session(OPERATOR, CONNECTOR, asked.name);
        let mut context = named.with("aws:userid", format!("AROACONNECTOR:{}", asked.name));
        if let Some(id) = asked.external_id {
            context = context.with("sts:ExternalId", id);
        }
        let is_denied = self.connector_denials.decide(&Request {
            principal: &connector,
            action: ACTION,
            context: &context,
        }) == Decision::ExplicitlyDenied
            || (self.is_muzzled && asked.external_id.is_none());
        let role = if asked.role == &self.canary.arn {
            Some(&self.canary)
        } else {
            self.roles.get(asked.role.as_str())
        };
        let trusts = role
            .and_then(|role| role.trust.as_ref())
            .is_some_and(|trust| allows(trust, &connector, &context));
        if is_denied || !trusts {
            return Err(AssumeError::NotAllowed("AccessDenied".into()));
        }
        let access_key_id = format!("ASIA{key:016}");
        let ends = now + SignedDuration::from_hours(1);
        let opened = Opened {
            role: asked.role.to_string(),
            account: asked.role.account().clone(),
            region: asked.region.clone(),
            external_id: asked.external_id.map(str::to_owned),
            purpose: asked.purpose.clone(),
            ends,
        };
        self.sessions.insert(access_key_id.clone(), opened);
        Ok(Session {
            secret_access_key: "secret".to_owned().into(),
            session_token: access_key_id.clone().into(),
            access_key_id,
            expires_at: ends,
            account: asked.role.account().clone(),
        })
    }

    pub(crate) fn session(&self, key: &str) -> Option<&Opened> {
        self.sessions.get(key)
    }

    /// Ends a session before its time, as when its role is changed or its credentials are revoked.
    pub(crate) fn revoke(&mut self, key: &str, now: Timestamp) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.ends = session.ends.min(now);
        }
    }
}

impl Role {
    fn new(arn: RoleArn, right: String, manner: Manner, now: Timestamp) -> Self {
        Self {
            trust: manner.policy(&right),
            arn,
            right,
            history: vec![(now, manner)],
        }
    }

    /// Returns how the role trusts now.
    pub(crate) fn manner(&self) -> Manner {
        self.history.last().map_or(Manner::Nobody, |(_, manner)| *manner)
    }

    /// Tells whether the role trusted in some such manner at some time from `since` on.
    pub(crate) fn was(&self, since: Timestamp, manner: impl Fn(Manner) -> bool) -> bool {
        let started = self.history.partition_point(|(at, _)| *at <= since);
        self.history
            .iter()
            .skip(started.saturating_sub(1))
            .any(|(_, found)| manner(*found))
    }
}

const ACTION: &str = "sts:AssumeRole";

fn allows(policy: &Policy, principal: &Principal, context: &Context) -> bool {
    policy.decide(&Request {
        principal,
        action: ACTION,
        context,
    }) == Decision::Allowed
}

pub(crate) fn connector_arn() -> RoleArn {
    operator_role(CONNECTOR)
}

pub(crate) fn canary_arn() -> RoleArn {
    operator_role("portwarden-canary")
}

pub(crate) fn operator_role(name: &str) -> RoleArn {
    format!("arn:aws:iam::{OPERATOR}:role/{name}")
        .parse()
        .expect("a constant ARN is valid")
}
