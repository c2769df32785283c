//! How an item lies in the table: `pk` and `sk`, its `body` as a map, its revision `rev`, its order `ord` if it has
//! one, and `expires_at` in seconds since 1970, which is the table's time-to-live attribute.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::types::AttributeValue;
use portwarden_core::store::{Key, Revision, StoreError, Stored};
use serde::de::Error as _;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The greatest sizes of the two parts of a key in bytes.
///
/// Source: DynamoDB developer guide, "Quotas", "Partition keys and sort keys".
const KEY_PARTS: [(&str, usize); 2] = [("pk", 2048), ("sk", 1024)];

/// Writes a key.
pub(super) fn attributes_of(key: &Key) -> Result<Item, StoreError> {
    let texts = [key.partition().as_str(), key.sort()];
    let parts = KEY_PARTS.into_iter().zip(texts);
    parts
        .map(|((name, limit), text)| {
            if (1..=limit).contains(&text.len()) {
                Ok((name.to_owned(), AttributeValue::S(text.to_owned())))
            } else {
                let reason = format!("{name} has {} bytes, and 1 to {limit} are allowed", text.len());
                Err(StoreError::Refused(reason.into()))
            }
        })
        .collect()
}

/// Writes the content of an item.
pub(super) fn body_of(value: &serde_json::Value) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(|error| StoreError::Refused(error.into()))
}

/// Reads the sort key of an item of a query's answer.
pub(super) fn sort_of(item: &Item) -> Result<String, StoreError> {
    match item.get("sk") {
        Some(AttributeValue::S(sort)) => Ok(sort.clone()),
        _ => Err(corrupt("of unknown name", "sk is not a text")),
    }
}

/// Reads an item.
pub(super) fn stored(key: Key, mut item: Item) -> Result<Stored, StoreError> {
    let revision = match item.get("rev") {
        Some(AttributeValue::N(number)) => number.parse().ok(),
        _ => None,
    };
    let revision = revision.ok_or_else(|| corrupt(&key, "rev is not a number"))?;
    let body = item
        .remove("body")
        .ok_or_else(|| corrupt(&key, "body is missing"))?;
    let body = serde_dynamo::from_attribute_value(body).map_err(|error| corrupt(&key, error))?;
    Ok(Stored {
        key,
        revision: Revision(revision),
        body: Arc::new(body),
    })
}

fn corrupt(key: &(impl ToString + ?Sized), reason: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        key: key.to_string(),
        source: serde_json::Error::custom(reason),
    }
}

#[cfg(test)]
mod tests {
    use portwarden_core::{id::TenantId, scope::OperatorScope, store::Partition};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn partition(part: &str) -> Partition {
        OperatorScope::of_this_process()
            .tenant(TenantId::operator())
            .partition(&[part])
    }

    /// Every JSON value without fractions, which none of our records has: a number of `DynamoDB` is decimal.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map(".{0,8}", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn contents_come_back_as_they_were(value in value(), revision: u64) {
            let key = partition("p").key(&["k"]);
            let mut item = attributes_of(&key).unwrap();
            item.insert("body".into(), body_of(&value).unwrap());
            item.insert("rev".into(), AttributeValue::N(revision.to_string()));
            let expected = Stored { key: key.clone(), revision: Revision(revision), body: Arc::new(value) };
            prop_assert_eq!(stored(key, item).unwrap(), expected);
        }
    }

    #[test]
    fn keys_have_the_sizes_that_the_table_takes() {
        let scope = partition("").as_str().len();
        let longest = partition(&"p".repeat(2048 - scope)).key(&[&"s".repeat(1024)]);
        let item = attributes_of(&longest).unwrap();
        assert_eq!(item["sk"], AttributeValue::S("s".repeat(1024)));
        for (key, reason) in [
            (
                partition(&"p".repeat(2049 - scope)).key(&["s"]),
                "pk has 2049 bytes, and 1 to 2048 are allowed",
            ),
            (
                partition("p").key(&[&"ü".repeat(513)]),
                "sk has 1026 bytes, and 1 to 1024 are allowed",
            ),
            (
                partition("p").key(&[""]),
                "sk has 0 bytes, and 1 to 1024 are allowed",
            ),
        ] {
            let Err(StoreError::Refused(source)) = attributes_of(&key) else {
                panic!("{reason}");
            };
            assert_eq!(source.to_string(), reason);
        }
    }

    #[test]
    fn what_is_not_ours_is_corrupt_and_named() {
        let key = partition("p").key(&["k"]);
        let number = || AttributeValue::N("1".into());
        let body = || body_of(&json!({})).unwrap();
        for (attributes, reason) in [
            (vec![], "rev is not a number"),
            (
                vec![("rev", AttributeValue::S("1".into())), ("body", body())],
                "rev is not a number",
            ),
            (
                vec![("rev", AttributeValue::N("-1".into())), ("body", body())],
                "rev is not a number",
            ),
            (vec![("rev", number())], "body is missing"),
        ] {
            let item = attributes
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            match stored(key.clone(), item) {
                Err(StoreError::Corrupt { key: named, source }) => {
                    assert_eq!((named, source.to_string()), (key.to_string(), reason.to_owned()));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
