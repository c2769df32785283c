use serde_json::{Value, json};

use super::{CONNECTOR, OPERATOR};
use crate::policy::Policy;

/// A way to write a trust policy, with what is known of it beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As the tenants' template writes it.
    Exact,
    /// The operator's whole account, with the right ExternalId.
    ExactByAccount,
    /// Everyone, and a denial of every other ExternalId.
    ExactByDenial,
    /// The role is missing.
    Missing,
    /// Somebody else is trusted.
    Nobody,
    /// No condition.
    Open,
    /// The id counts only if there is one.
    IfExists,
    /// All of no ids are right.
    AllValues,
    /// Any id.
    AnyId,
    /// Any id that begins like the right one.
    Prefix,
    /// The id in any case.
    IgnoringCase,
    /// Any id but one.
    NotAnother,
}

/// What a role does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Openness {
    pub(crate) opens: bool,
    pub(crate) refuses_none: bool,
    pub(crate) refuses_others: bool,
}

impl Manner {
    /// All that open for us and for nobody else.
    pub(crate) const GOOD: [Self; 3] = [Self::Exact, Self::ExactByAccount, Self::ExactByDenial];

    /// All that must never be trusted.
    pub(crate) const BAD: [Self; 9] = [
        Self::Missing,
        Self::Nobody,
        Self::Open,
        Self::IfExists,
        Self::AllValues,
        Self::AnyId,
        Self::Prefix,
        Self::IgnoringCase,
        Self::NotAnother,
    ];

    pub(crate) fn is_good(self) -> bool {
        let openness = self.openness();
        openness.opens && openness.refuses_none && openness.refuses_others
    }

    /// Tells whether a role in this manner opens for us, and for nobody without an ExternalId.
    pub(crate) fn refuses_none(self) -> bool {
        let openness = self.openness();
        openness.opens && openness.refuses_none
    }

    /// Says what AWS documents about the manner; it is not worked out from the policy.
    pub(crate) fn openness(self) -> Openness {
        let (opens, refuses_none, refuses_others) = match self {
            Self::Exact | Self::ExactByAccount | Self::ExactByDenial => (true, true, true),
            Self::Missing | Self::Nobody => (false, true, true),
            Self::Open | Self::NotAnother => (true, false, false),
            Self::IfExists | Self::AllValues => (true, false, true),
            Self::AnyId | Self::Prefix | Self::IgnoringCase => (true, true, false),
        };
        Openness {
            opens,
            refuses_none,
            refuses_others,
        }
    }

    /// Writes the policy for a role whose right ExternalId is `right`; nothing if the role is missing.
    pub(crate) fn policy(self, right: &str) -> Option<Policy> {
        let statement = |role: &str, condition: Value| {
            json!({
                "Effect": "Allow", "Action": "sts:AssumeRole", "Condition": condition,
                "Principal": {"AWS": format!("arn:aws:iam::{OPERATOR}:role/{role}")},
            })
        };
        let on_id = |operator: &str, id: &str| {
            let mut condition = json!({});
            condition[operator]["sts:ExternalId"] = json!(id);
            statement(CONNECTOR, condition)
        };
        let statements = match self {
            Self::Missing => return None,
            Self::Exact => on_id("StringEquals", right),
            Self::ExactByAccount => json!([{
                "Effect": "Allow", "Action": "sts:AssumeRole",
                "Principal": {"AWS": format!("arn:aws:iam::{OPERATOR}:root")},
                "Condition": {"StringEquals": {"sts:ExternalId": [right]}},
            }]),
            Self::ExactByDenial => json!([statement(CONNECTOR, json!({})), {
                "Effect": "Deny", "Action": "sts:*", "Principal": "*",
                "Condition": {"StringNotEquals": {"sts:ExternalId": right}},
            }]),
            Self::Nobody => statement("somebody-else", json!({})),
            Self::Open => statement(CONNECTOR, json!({})),
            Self::IfExists => on_id("StringEqualsIfExists", right),
            Self::AllValues => on_id("ForAllValues:StringEquals", right),
            Self::AnyId => on_id("StringLike", "*"),
            Self::Prefix => on_id("StringLike", &format!("{}*", &right[..right.len() / 2])),
            Self::IgnoringCase => on_id("StringEqualsIgnoreCase", right),
            Self::NotAnother => on_id("StringNotEquals", "another"),
        };
        let policy = serde_json::from_value(json!({"Version": "2012-10-17", "Statement": statements}));
        Some(policy.expect("the policies of this list can be read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Context, Decision, Principal, Request};

    #[test]
    fn every_manner_is_as_it_is_known_to_be() {
        let right = "pw-0123456789abcdefghjkmnpqrs";
        let others = [
            "pw-0123456789abcdefghjkmnpqr0",
            "PW-0123456789ABCDEFGHJKMNPQRS",
            "x",
        ];
        for manner in Manner::GOOD.into_iter().chain(Manner::BAD) {
            let policy = manner.policy(right);
            let opens = |id: Option<&str>| {
                let context = id.map_or_else(Context::default, |id| {
                    Context::default().with("sts:ExternalId", id)
                });
                let principal = Principal::session(OPERATOR, CONNECTOR, "verify-1");
                let request = Request {
                    principal: &principal,
                    action: "sts:AssumeRole",
                    context: &context,
                };
                policy
                    .as_ref()
                    .is_some_and(|policy| policy.decide(&request) == Decision::Allowed)
            };
            let found = Openness {
                opens: opens(Some(right)),
                refuses_none: !opens(None),
                refuses_others: !others.iter().any(|other| opens(Some(other))),
            };
            assert_eq!(found, manner.openness(), "{manner:?}");
            assert_eq!(manner.is_good(), Manner::GOOD.contains(&manner), "{manner:?}");
        }
    }
}
