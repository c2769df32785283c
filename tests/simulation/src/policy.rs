//! IAM's policy language, as far as trust policies use it: who may assume a role, and under which conditions.
//!
//! Source: IAM user guide, "Policy evaluation logic", "IAM JSON policy elements: Principal, Action, Condition
//! operators", and "Creating a condition with multiple keys or values". What it decides is compared with an independent
//! simulator. Not modelled: `NotPrincipal`, policy variables, and operators for numbers, dates, binaries and addresses,
//! none of which is a way to write an ExternalId.

mod condition;
mod glob;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use condition::Condition;
use glob::matches_ignoring_case;

/// A policy document.
#[derive(Debug, Clone, Deserialize)]
pub struct Policy {
    #[serde(rename = "Statement", deserialize_with = "one_or_many")]
    statements: Vec<Statement>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// For which action, such as `sts:AssumeRole`.
    pub action: &'a str,
    /// What is known of the request.
    pub context: &'a Context,
}

/// A session of a role, which is the only one who asks here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    account: String,
    role_arn: String,
    session_arn: String,
}

/// What is known of a request, by lower-case keys.
#[derive(Debug, Clone, Default)]
pub struct Context(BTreeMap<String, Vec<String>>);

/// What a policy says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it and none denies it.
    Allowed,
    /// No statement speaks of it.
    ImplicitlyDenied,
    /// A statement denies it.
    ExplicitlyDenied,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: Effect,
    principal: Principals,
    #[serde(flatten)]
    actions: Actions,
    #[serde(default)]
    condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Deserialize)]
enum Actions {
    #[serde(rename = "Action", deserialize_with = "one_or_many")]
    These(Vec<String>),
    #[serde(rename = "NotAction", deserialize_with = "one_or_many")]
    AllBut(Vec<String>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Principals {
    Everyone(Star),
    Named(Named),
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Star {
    #[serde(rename = "*")]
    Star,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(rename = "AWS", default, deserialize_with = "one_or_many")]
    aws: Vec<String>,
    /// A session is none of these.
    #[serde(rename = "Service", default)]
    _services: serde_json::Value,
    #[serde(rename = "Federated", default)]
    _federated: serde_json::Value,
}

/// Reads what may stand alone or in a list.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        Many(Vec<T>),
        One(T),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(many) => many,
        OneOrMany::One(one) => vec![one],
    })
}

impl Principal {
    /// Names a session of a role without a path.
    pub fn session(account: &str, role: &str, session: &str) -> Self {
        Self {
            account: account.to_owned(),
            role_arn: format!("arn:aws:iam::{account}:role/{role}"),
            session_arn: format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
        }
    }

    /// Returns the ARN of the session.
    pub fn session_arn(&self) -> &str {
        &self.session_arn
    }

    /// Tells whether a policy's entry under `AWS` means this session; only a lone asterisk is a wildcard there.
    fn is_named(&self, entry: &str) -> bool {
        let is_root = || {
            let account = entry
                .strip_prefix("arn:aws:iam::")
                .and_then(|rest| rest.strip_suffix(":root"));
            account == Some(self.account.as_str())
        };
        entry == "*"
            || entry == self.account
            || entry == self.role_arn
            || entry == self.session_arn
            || is_root()
    }
}

impl Context {
    /// Adds a key with its value.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.insert(key.to_ascii_lowercase(), vec![value.into()]);
        self
    }

    fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }

    /// Returns everything that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |value| (key.as_str(), value.as_str())))
    }
}

impl Policy {
    /// Decides about a request.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let mut decision = Decision::ImplicitlyDenied;
        for statement in self
            .statements
            .iter()
            .filter(|statement| statement.speaks_of(request))
        {
            match statement.effect {
                Effect::Deny => return Decision::ExplicitlyDenied,
                Effect::Allow => decision = Decision::Allowed,
            }
        }
        decision
    }
}

impl Statement {
    fn speaks_of(&self, request: &Request<'_>) -> bool {
        let is_meant = match &self.principal {
            Principals::Everyone(Star::Star) => true,
            // A session is neither a service nor a user of another identity provider.
            Principals::Named(named) => named.aws.iter().any(|entry| request.principal.is_named(entry)),
        };
        let matches = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| matches_ignoring_case(pattern, request.action))
        };
        let is_action = match &self.actions {
            Actions::These(patterns) => matches(patterns),
            Actions::AllBut(patterns) => !matches(patterns),
        };
        is_meant && is_action && self.condition.holds(request.context)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CONNECTOR: &str = "arn:aws:iam::999988887777:role/portwarden-connector";

    fn decide(statements: &Value, external_id: Option<&str>) -> Decision {
        let policy: Policy =
            serde_json::from_value(json!({"Version": "2012-10-17", "Statement": statements})).unwrap();
        let principal = Principal::session("999988887777", "portwarden-connector", "verify-1");
        let mut context = Context::default().with("sts:RoleSessionName", "verify-1");
        if let Some(id) = external_id {
            context = context.with("sts:ExternalId", id);
        }
        policy.decide(&Request {
            principal: &principal,
            action: "sts:AssumeRole",
            context: &context,
        })
    }

    fn allow(condition: &Value) -> Value {
        json!({
            "Effect": "Allow", "Principal": {"AWS": CONNECTOR}, "Action": "sts:AssumeRole", "Condition": condition,
        })
    }

    #[test]
    fn the_ways_to_write_a_condition_decide_as_aws_documents() {
        use Decision::{Allowed as Yes, ImplicitlyDenied as No};
        for (condition, none, right, wrong) in [
            (json!({"StringEquals": {"sts:ExternalId": "pw-1"}}), No, Yes, No),
            (
                json!({"StringEquals": {"STS:externalid": ["x", "pw-1"]}}),
                No,
                Yes,
                No,
            ),
            (
                json!({"StringEqualsIfExists": {"sts:ExternalId": "pw-1"}}),
                Yes,
                Yes,
                No,
            ),
            (
                json!({"ForAllValues:StringEquals": {"sts:ExternalId": "pw-1"}}),
                Yes,
                Yes,
                No,
            ),
            (
                json!({"ForAnyValue:StringEquals": {"sts:ExternalId": "pw-1"}}),
                No,
                Yes,
                No,
            ),
            (json!({"StringLike": {"sts:ExternalId": "*"}}), No, Yes, Yes),
            (
                json!({"StringNotEquals": {"sts:ExternalId": "pw-2"}}),
                Yes,
                Yes,
                No,
            ),
            (json!({"Null": {"sts:ExternalId": "true"}}), Yes, No, No),
            (json!({"Null": {"sts:ExternalId": false}}), No, Yes, Yes),
            (json!({}), Yes, Yes, Yes),
        ] {
            let decided = [None, Some("pw-1"), Some("pw-2")].map(|id| decide(&allow(&condition), id));
            assert_eq!(decided, [none, right, wrong], "{condition}");
        }
    }

    #[test]
    fn a_denial_wins_wherever_it_stands() {
        let deny = json!({
            "Effect": "Deny", "Principal": "*", "Action": "sts:*",
            "Condition": {"StringNotEquals": {"sts:ExternalId": "pw-1"}},
        });
        for statements in [json!([allow(&json!({})), deny]), json!([deny, allow(&json!({}))])] {
            assert_eq!(decide(&statements, Some("pw-1")), Decision::Allowed);
            assert_eq!(decide(&statements, Some("pw-2")), Decision::ExplicitlyDenied);
            assert_eq!(decide(&statements, None), Decision::ExplicitlyDenied);
        }
    }

    #[test]
    fn what_is_not_modelled_is_refused_and_not_passed_over() {
        for statement in [
            json!({"Effect": "Allow", "NotPrincipal": {"AWS": CONNECTOR}, "Action": "sts:AssumeRole"}),
            json!({"Effect": "Allow", "Principal": "x", "Action": "sts:AssumeRole"}),
            allow(&json!({"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}})),
            json!({"Effect": "Allow", "Principal": "*"}),
        ] {
            let read = serde_json::from_value::<Policy>(json!({ "Statement": statement }));
            assert!(read.is_err(), "{statement}");
        }
    }
}
