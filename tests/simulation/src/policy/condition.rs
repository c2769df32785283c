//! Conditions: operators, with their prefixes and suffixes, over keys and values.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Context, glob::matches, one_or_many};

/// All tests of a statement; each must hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition(Vec<Test>);

/// One key under one operator.
#[derive(Debug, Clone)]
struct Test {
    operator: Operator,
    key: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Operator {
    set: Option<Set>,
    comparison: Comparison,
    /// The test is whether none of the values compares.
    is_negated: bool,
    if_exists: bool,
}

/// How the values of a key are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    ForAnyValue,
    ForAllValues,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equals,
    EqualsIgnoringCase,
    Like,
    Arn,
    Bool,
    Null,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (set, name) = match name.split_once(':') {
            None => (None, name),
            Some(("ForAnyValue", rest)) => (Some(Set::ForAnyValue), rest),
            Some(("ForAllValues", rest)) => (Some(Set::ForAllValues), rest),
            Some(_) => return None,
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        let (comparison, is_negated) = match name {
            "StringEquals" => (Comparison::Equals, false),
            "StringNotEquals" => (Comparison::Equals, true),
            "StringEqualsIgnoreCase" => (Comparison::EqualsIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Comparison::EqualsIgnoringCase, true),
            "StringLike" => (Comparison::Like, false),
            "StringNotLike" => (Comparison::Like, true),
            "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
            "Bool" => (Comparison::Bool, false),
            "Null" if set.is_none() && !if_exists => (Comparison::Null, false),
            _ => return None,
        };
        Some(Self {
            set,
            comparison,
            is_negated,
            if_exists,
        })
    }
}

impl Comparison {
    fn compares(self, wanted: &str, given: &str) -> bool {
        match self {
            Self::Equals => wanted == given,
            Self::EqualsIgnoringCase | Self::Bool => wanted.to_lowercase() == given.to_lowercase(),
            Self::Like => matches(wanted, given),
            Self::Arn => arn_matches(wanted, given),
            Self::Null => false,
        }
    }
}

/// Compares the six parts of two ARNs one by one: no wildcard reaches over a colon, but for those in the last part.
fn arn_matches(wanted: &str, given: &str) -> bool {
    let (wanted, given): (Vec<_>, Vec<_>) = (wanted.splitn(6, ':').collect(), given.splitn(6, ':').collect());
    let is_arn = |parts: &[&str]| parts.len() == 6;
    is_arn(&wanted)
        && is_arn(&given)
        && wanted
            .iter()
            .zip(&given)
            .all(|(wanted, given)| matches(wanted, given))
}

impl Condition {
    pub(super) fn holds(&self, context: &Context) -> bool {
        self.0.iter().all(|test| test.holds(context))
    }
}

impl Test {
    fn holds(&self, context: &Context) -> bool {
        let Operator {
            set,
            comparison,
            is_negated,
            if_exists,
        } = self.operator;
        let given = context.get(&self.key);
        if comparison == Comparison::Null {
            let is_missing = given.is_none();
            return self
                .values
                .iter()
                .any(|value| value.eq_ignore_ascii_case(if is_missing { "true" } else { "false" }));
        }
        let Some(given) = given else {
            return match set {
                // The empty set has no value that fails.
                Some(Set::ForAllValues) => true,
                // None of no values passes, with the suffix, too: so the independent simulator has it.
                Some(Set::ForAnyValue) => false,
                None => if_exists || is_negated,
            };
        };
        let passes = |given: &String| {
            let compares = self
                .values
                .iter()
                .any(|wanted| comparison.compares(wanted, given));
            compares != is_negated
        };
        match set {
            Some(Set::ForAllValues) => given.iter().all(passes),
            Some(Set::ForAnyValue) | None => given.iter().any(passes),
        }
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let operators = BTreeMap::<String, BTreeMap<String, Values>>::deserialize(deserializer)?;
        let mut tests = Vec::new();
        for (name, keys) in operators {
            let operator = Operator::parse(&name)
                .ok_or_else(|| D::Error::custom(format!("the operator {name} is not modelled")))?;
            tests.extend(keys.into_iter().map(|(key, Values(values))| Test {
                operator,
                key,
                values,
            }));
        }
        Ok(Self(tests))
    }
}

/// Texts, or what is written without quotes and means the same.
#[derive(Debug, Deserialize)]
struct Values(#[serde(deserialize_with = "texts")] Vec<String>);

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let values: Vec<serde_json::Value> = one_or_many(deserializer)?;
    Ok(values
        .into_iter()
        .map(|value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        })
        .collect())
}
