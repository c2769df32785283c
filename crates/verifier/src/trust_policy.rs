//! A role's trust policy as it is published: whom it names, and which ids it asks for.
//!
//! The negative probes find a role that opens for us without the right id. They cannot find a second id that nobody
//! guesses, nor that others are named beside us; the policy itself shows both.

use portwarden_core::{arn::RoleArn, id::ExternalId};
use serde_json::Value;

/// What is wrong with a trust policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooWide {
    /// It names everybody, or an account as a whole.
    Principal,
    /// It names others beside our connector role.
    Others,
    /// It does not ask for the one ExternalId with an operator that compares whole texts.
    Condition,
    /// It takes other ids, too.
    OtherIds,
    /// It is not a policy that can be read.
    Unreadable,
}

/// Judges a trust policy: only the connector may be allowed, with exactly one ExternalId.
///
/// Source: IAM user guide, "IAM JSON policy element reference". What only denies is never too wide.
pub fn judge(policy: &str, connector: &RoleArn, external_id: &ExternalId) -> Result<(), TooWide> {
    let policy: Value = serde_json::from_str(policy).map_err(|_| TooWide::Unreadable)?;
    let statements = list(policy.get("Statement").ok_or(TooWide::Unreadable)?);
    for statement in statements {
        match statement.get("Effect").and_then(Value::as_str) {
            Some("Deny") => continue,
            Some("Allow") => {}
            _ => return Err(TooWide::Unreadable),
        }
        judge_principal(statement, connector)?;
        judge_condition(statement.get("Condition"), external_id)?;
    }
    Ok(())
}

fn judge_principal(statement: &Value, connector: &RoleArn) -> Result<(), TooWide> {
    if statement.get("NotPrincipal").is_some() {
        return Err(TooWide::Principal);
    }
    let principal = statement.get("Principal").ok_or(TooWide::Unreadable)?;
    let Some(kinds) = principal.as_object() else {
        return Err(TooWide::Principal);
    };
    for (kind, names) in kinds {
        for name in texts(names)? {
            let is_account = name.ends_with(":root") || name.bytes().all(|b| b.is_ascii_digit());
            if name.contains('*') || is_account {
                return Err(TooWide::Principal);
            }
            if kind != "AWS" || name != connector.as_str() {
                return Err(TooWide::Others);
            }
        }
    }
    Ok(())
}

/// Source: IAM user guide, "IAM JSON policy elements: Condition operators": keys and operators know no case, and all
/// operators of a condition must hold.
fn judge_condition(condition: Option<&Value>, external_id: &ExternalId) -> Result<(), TooWide> {
    let operators = condition.and_then(Value::as_object).ok_or(TooWide::Condition)?;
    let mut asked = Err(TooWide::Condition);
    for (operator, keys) in operators {
        if !operator.eq_ignore_ascii_case("StringEquals") {
            continue;
        }
        for (key, values) in keys.as_object().ok_or(TooWide::Unreadable)? {
            if !key.eq_ignore_ascii_case("sts:ExternalId") {
                continue;
            }
            let ids = texts(values)?;
            if ids.iter().any(|id| *id != external_id.as_str()) {
                return Err(TooWide::OtherIds);
            }
            if !ids.is_empty() {
                asked = Ok(());
            }
        }
    }
    asked
}

/// A policy may leave out the brackets around a single element.
fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn texts(value: &Value) -> Result<Vec<&str>, TooWide> {
    let texts = list(value).iter().map(Value::as_str);
    texts.collect::<Option<_>>().ok_or(TooWide::Unreadable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONNECTOR: &str = "arn:aws:iam::999988887777:role/portwarden-connector";
    const ID: &str = "pw-0123456789abcdefghjkmnpqrs";

    fn judged(policy: &Value) -> Result<(), TooWide> {
        judge(
            &policy.to_string(),
            &CONNECTOR.parse().unwrap(),
            &ID.parse().unwrap(),
        )
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "each caller makes them for the call"
    )]
    fn statement(principal: Value, condition: Value) -> Value {
        json!({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition})
    }

    fn us() -> Value {
        json!({"AWS": CONNECTOR})
    }

    fn ours() -> Value {
        json!({"StringEquals": {"sts:ExternalId": ID}})
    }

    fn policy(statements: &[Value]) -> Value {
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    #[test]
    fn what_names_us_alone_with_the_one_id_is_right() {
        let right = statement(us(), ours());
        let narrower = json!({
            "stringequals": {"STS:externalid": [ID]}, "IpAddress": {"aws:SourceIp": "192.0.2.0/24"},
        });
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "*"});
        for fine in [
            policy(std::slice::from_ref(&right)),
            json!({"Version": "2012-10-17", "Statement": right}),
            policy(&[statement(json!({"AWS": [CONNECTOR]}), narrower), deny]),
        ] {
            assert_eq!(judged(&fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn each_kind_of_wide_policy_is_named() {
        let other = "arn:aws:iam::111122223333:role/admin";
        for (found, expected) in [
            (statement(json!("*"), ours()), TooWide::Principal),
            (statement(json!({"AWS": "*"}), ours()), TooWide::Principal),
            (
                statement(json!({"AWS": "999988887777"}), ours()),
                TooWide::Principal,
            ),
            (
                statement(json!({"AWS": "arn:aws:iam::999988887777:root"}), ours()),
                TooWide::Principal,
            ),
            (
                statement(json!({"AWS": [CONNECTOR, other]}), ours()),
                TooWide::Others,
            ),
            (statement(json!({"AWS": "AROAEXAMPLE"}), ours()), TooWide::Others),
            (
                statement(
                    json!({"AWS": CONNECTOR, "Service": "lambda.amazonaws.com"}),
                    ours(),
                ),
                TooWide::Others,
            ),
            (
                statement(json!({"Federated": "cognito"}), ours()),
                TooWide::Others,
            ),
            (
                statement(
                    us(),
                    json!({"StringEquals": {"sts:ExternalId": [ID, "pw-another"]}}),
                ),
                TooWide::OtherIds,
            ),
            (
                statement(
                    us(),
                    json!({"StringLike": {"sts:ExternalId": [ID, "pw-another"]}}),
                ),
                TooWide::Condition,
            ),
            (
                statement(us(), json!({"ForAllValues:StringEquals": {"sts:ExternalId": ID}})),
                TooWide::Condition,
            ),
            (
                statement(us(), json!({"StringEqualsIfExists": {"sts:ExternalId": ID}})),
                TooWide::Condition,
            ),
            (
                statement(us(), json!({"StringEquals": {"aws:PrincipalArn": CONNECTOR}})),
                TooWide::Condition,
            ),
            (
                statement(us(), json!({"StringEquals": {"sts:ExternalId": []}})),
                TooWide::Condition,
            ),
            (statement(us(), json!({})), TooWide::Condition),
        ] {
            assert_eq!(
                judged(&policy(std::slice::from_ref(&found))),
                Err(expected),
                "{found}"
            );
            // A right statement beside it mends nothing.
            let both = policy(&[statement(us(), ours()), found]);
            assert_eq!(judged(&both), Err(expected), "{both}");
        }
        let not_others =
            json!({"Effect": "Allow", "NotPrincipal": us(), "Action": "sts:AssumeRole", "Condition": ours()});
        assert_eq!(judged(&policy(&[not_others])), Err(TooWide::Principal));
    }

    #[test]
    fn what_cannot_be_read_is_not_right() {
        for garbled in [
            json!({}),
            json!({"Statement": [{}]}),
            json!({"Statement": [{"Effect": "Maybe"}]}),
            json!({"Statement": [{"Effect": "Allow", "Action": "*"}]}),
            policy(&[statement(json!({"AWS": 7}), ours())]),
            policy(&[statement(us(), json!({"StringEquals": 7}))]),
            policy(&[statement(us(), json!({"StringEquals": {"sts:ExternalId": 7}}))]),
        ] {
            assert_eq!(judged(&garbled), Err(TooWide::Unreadable), "{garbled}");
        }
        let (connector, id) = (CONNECTOR.parse().unwrap(), ID.parse().unwrap());
        assert_eq!(judge("{", &connector, &id), Err(TooWide::Unreadable));
    }
}
