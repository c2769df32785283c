use portwarden_oci::RepositoryName;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    arn::{RoleArn, SecretArn},
    id::ExternalId,
};

/// What an unproven message says of its stack.
///
/// The input transformers of the tenants' template write it; what is optional came with later versions of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Claim {
    /// The role to assume.
    #[serde(rename = "role-arn")]
    pub role: RoleArn,
    /// The ExternalId that the role's trust policy is said to demand.
    pub external_id: ExternalId,
    /// The version of the tenants' template.
    #[serde(deserialize_with = "super::short_word")]
    pub template_version: String,
    /// Where the stack keeps the credentials that it made; none where the tenant chose them.
    #[serde(
        default,
        rename = "secret-arn",
        deserialize_with = "secret_or_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub secret: Option<SecretArn>,
    /// Counts the credentials that the stack has made, from 1.
    #[serde(
        default = "first",
        rename = "credential-generation",
        deserialize_with = "number_or_digits"
    )]
    pub generation: u32,
    /// Minutes between two heartbeats.
    #[serde(
        default,
        deserialize_with = "minutes",
        skip_serializing_if = "Option::is_none"
    )]
    pub rate_minutes: Option<u32>,
    /// The repositories that the role may read; none where it may read all.
    #[serde(
        default,
        deserialize_with = "names",
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "joined"
    )]
    pub repositories: Vec<RepositoryName>,
}

fn first() -> u32 {
    1
}

/// A parameter of a stack that is not given is an empty text.
fn secret_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretArn>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(D::Error::custom))
        .transpose()
}

/// `CloudFormation` writes a number as its digits wherever a text stands around it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Digits(String),
}

fn number_or_digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match Number::deserialize(deserializer)? {
        Number::Number(number) => Ok(number),
        Number::Digits(digits) => digits.parse().map_err(D::Error::custom),
    }
}

fn minutes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let minutes = number_or_digits(deserializer)?;
    // A day is the longest that a silence may stay unnoticed.
    if (1..=1440).contains(&minutes) {
        Ok(Some(minutes))
    } else {
        Err(D::Error::custom("expected 1 to 1440 minutes"))
    }
}

/// How many names a claim may hold: more do not fit into a parameter of a stack.
const MOST_NAMES: usize = 200;

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RepositoryName>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let names: Vec<&str> = text.split(',').filter(|name| !name.is_empty()).collect();
    if names.len() > MOST_NAMES {
        return Err(D::Error::custom("expected up to 200 names"));
    }
    names
        .into_iter()
        .map(|name| name.parse().map_err(D::Error::custom))
        .collect()
}

fn joined<S: serde::Serializer>(names: &[RepositoryName], serializer: S) -> Result<S::Ok, S::Error> {
    let names: Vec<&str> = names.iter().map(RepositoryName::as_str).collect();
    serializer.serialize_str(&names.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(changes: &Value) -> Result<Claim, serde_json::Error> {
        let mut claim = json!({
            "role-arn": "arn:aws:iam::111122223333:role/r",
            "external-id": "pw-0123456789abcdefghjkmnpqrs",
            "template-version": "2",
        });
        for (name, value) in changes.as_object().unwrap() {
            claim[name] = value.clone();
        }
        serde_json::from_value(claim)
    }

    #[test]
    fn what_a_stack_does_not_say_is_as_in_its_first_version() {
        let old = claim(&json!({})).unwrap();
        assert_eq!((&old.secret, old.generation, old.rate_minutes), (&None, 1, None));
        let none =
            claim(&json!({"secret-arn": "", "credential-generation": "1", "repositories": ""})).unwrap();
        assert_eq!(none, old);
    }

    #[test]
    fn a_claim_is_written_as_it_is_read() {
        let secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:s-a1b2c3";
        let whole = claim(&json!({
            "secret-arn": secret, "credential-generation": 7, "rate-minutes": "5", "repositories": "shop/web,shop/db",
        }))
        .unwrap();
        assert_eq!(whole.secret.as_ref().map(SecretArn::as_str), Some(secret));
        assert_eq!((whole.generation, whole.rate_minutes), (7, Some(5)));
        assert_eq!(whole.repositories.len(), 2);
        let written = serde_json::to_value(&whole).unwrap();
        assert_eq!(serde_json::from_value::<Claim>(written).unwrap(), whole);
    }

    #[test]
    fn what_is_not_as_the_template_writes_it_is_no_claim() {
        for wrong in [
            json!({"role-arn": "arn:aws:iam::111122223333:user/u"}),
            json!({"external-id": "mine"}),
            json!({"template-version": "x".repeat(65)}),
            json!({"secret-arn": "arn:aws:secretsmanager:eu-west-1:*:secret:s"}),
            json!({"credential-generation": -1}),
            json!({"credential-generation": "x"}),
            json!({"rate-minutes": 0}),
            json!({"rate-minutes": 1441}),
            json!({"repositories": "UPPER"}),
            json!({"repositories": "a,".repeat(201)}),
        ] {
            assert!(claim(&wrong).is_err(), "{wrong}");
        }
        let most = claim(&json!({"repositories": "a,".repeat(200)})).unwrap();
        assert_eq!(most.repositories.len(), 200);
    }
}
