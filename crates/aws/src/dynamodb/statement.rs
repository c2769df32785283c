use aws_sdk_dynamodb::{
    error::BuildError,
    operation::query::builders::QueryFluentBuilder,
    types::{
        AttributeValue, ConditionCheck, Delete, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
        Update,
    },
};
use portwarden_core::store::{Condition, Partition, StoreError, Write};

use super::item::{Item, attributes_of, body_of};

/// A write in `DynamoDB`'s words, the same alone and in a transaction.
pub(super) struct Statement {
    pub(super) key: Item,
    /// What to set, for a put.
    pub(super) update: Option<String>,
    pub(super) condition: Option<String>,
    /// What the expressions name; `DynamoDB` refuses an empty list and values that no expression names.
    pub(super) values: Option<Item>,
}

impl Statement {
    /// Words a write.
    pub(super) fn of(write: &Write) -> Result<Self, StoreError> {
        let mut values = Item::new();
        let mut update = None;
        let mut order = None;
        if let Write::Put {
            body,
            order: own_order,
            expires_at,
            ..
        } = write
        {
            order = *own_order;
            values.insert(":body".into(), body_of(body)?);
            values.insert(":none".into(), number(0));
            values.insert(":one".into(), number(1));
            // An update, since only it can count; it sets or removes every attribute, so that nothing old is left.
            let mut set = vec!["body = :body", "rev = if_not_exists(rev, :none) + :one"];
            let mut remove = Vec::new();
            match order {
                Some(order) => {
                    set.push("ord = :ord");
                    values.insert(":ord".into(), number(order));
                }
                None => remove.push("ord"),
            }
            match expires_at {
                Some(time) => {
                    set.push("expires_at = :expires_at");
                    values.insert(":expires_at".into(), number(time.as_second()));
                }
                None => remove.push("expires_at"),
            }
            let mut expression = format!("SET {}", set.join(", "));
            if !remove.is_empty() {
                expression = format!("{expression} REMOVE {}", remove.join(", "));
            }
            update = Some(expression);
        }
        let condition = match (write.condition(), order) {
            (Condition::None, _) => None,
            (Condition::Newer, Some(_)) => Some("attribute_not_exists(ord) OR ord < :ord"),
            // What has no order is older than everything.
            (Condition::Absent, _) | (Condition::Newer, None) => Some("attribute_not_exists(pk)"),
            (Condition::Present, _) => Some("attribute_exists(pk)"),
            (Condition::Unchanged(revision), _) => {
                values.insert(":seen".into(), number(revision.0));
                Some("rev = :seen")
            }
        };
        Ok(Self {
            key: attributes_of(write.key())?,
            update,
            condition: condition.map(str::to_owned),
            values: Some(values).filter(|values| !values.is_empty()),
        })
    }

    /// Words the same write as a part of a transaction.
    pub(super) fn in_transaction(self, write: &Write, table: &str) -> Result<TransactWriteItem, StoreError> {
        let existing = ReturnValuesOnConditionCheckFailure::AllOld;
        let item = TransactWriteItem::builder();
        let item = match write {
            Write::Put { .. } => Update::builder()
                .table_name(table)
                .set_key(Some(self.key))
                .set_update_expression(self.update)
                .set_condition_expression(self.condition)
                .set_expression_attribute_values(self.values)
                .return_values_on_condition_check_failure(existing)
                .build()
                .map(|update| item.update(update)),
            Write::Delete { .. } => Delete::builder()
                .table_name(table)
                .set_key(Some(self.key))
                .set_condition_expression(self.condition)
                .set_expression_attribute_values(self.values)
                .return_values_on_condition_check_failure(existing)
                .build()
                .map(|delete| item.delete(delete)),
            Write::Check { .. } => ConditionCheck::builder()
                .table_name(table)
                .set_key(Some(self.key))
                // A check must have a condition, so one that demands nothing has one that always holds.
                .condition_expression(
                    self.condition
                        .unwrap_or_else(|| "attribute_exists(pk) OR attribute_not_exists(pk)".to_owned()),
                )
                .set_expression_attribute_values(self.values)
                .return_values_on_condition_check_failure(existing)
                .build()
                .map(|check| item.condition_check(check)),
        };
        let item = item.map_err(|error: BuildError| StoreError::Refused(error.into()))?;
        Ok(item.build())
    }
}

/// Narrows a query to the items of a partition whose sort keys start with `prefix`.
pub(super) fn within(query: QueryFluentBuilder, partition: &Partition, prefix: &str) -> QueryFluentBuilder {
    let query = query.expression_attribute_values(":pk", AttributeValue::S(partition.as_str().to_owned()));
    // DynamoDB compares no key with an empty text.
    if prefix.is_empty() {
        query.key_condition_expression("pk = :pk")
    } else {
        query
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
    }
}

fn number(value: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

#[cfg(test)]
mod tests {
    use portwarden_core::{
        id::TenantId,
        scope::OperatorScope,
        store::{Key, Revision},
    };
    use serde_json::json;

    use super::*;

    fn key() -> Key {
        OperatorScope::of_this_process()
            .tenant(TenantId::operator())
            .partition(&["p"])
            .key(&["k"])
    }

    /// `DynamoDB` refuses a value that no expression names, and a name without a value.
    #[test]
    fn expressions_name_exactly_their_values() {
        let conditions = [
            Condition::None,
            Condition::Absent,
            Condition::Present,
            Condition::Unchanged(Revision(7)),
            Condition::Newer,
        ];
        for condition in conditions {
            let put = Write::put(key(), &json!({}), condition);
            let writes = [
                put.clone(),
                put.clone().ordered(-1),
                put.expiring("2100-01-01T00:00:00Z".parse().unwrap()).ordered(1),
                Write::Delete {
                    key: key(),
                    condition,
                },
                Write::Check {
                    key: key(),
                    condition,
                },
            ];
            for write in writes {
                let statement = Statement::of(&write).unwrap();
                let text = format!(
                    "{} {}",
                    statement.update.unwrap_or_default(),
                    statement.condition.unwrap_or_default()
                );
                let mut named: Vec<&str> = text
                    .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
                    .filter(|word| word.starts_with(':'))
                    .collect();
                named.sort_unstable();
                named.dedup();
                let values = statement.values.unwrap_or_default();
                let mut given: Vec<&str> = values.keys().map(String::as_str).collect();
                given.sort_unstable();
                assert_eq!(named, given, "{write:?}");
            }
        }
    }

    #[test]
    fn a_put_leaves_nothing_old_behind() {
        let put = Write::put(key(), &json!({}), Condition::None);
        let update = |write| Statement::of(&write).unwrap().update.unwrap();
        let start = "SET body = :body, rev = if_not_exists(rev, :none) + :one";
        assert_eq!(update(put.clone()), format!("{start} REMOVE ord, expires_at"));
        assert_eq!(
            update(put.clone().ordered(1)),
            format!("{start}, ord = :ord REMOVE expires_at")
        );
        let expiring = put.ordered(1).expiring("1970-01-01T00:01:00.9Z".parse().unwrap());
        let statement = Statement::of(&expiring).unwrap();
        assert_eq!(
            statement.values.unwrap()[":expires_at"],
            AttributeValue::N("60".into())
        );
        assert_eq!(
            statement.update,
            Some(format!("{start}, ord = :ord, expires_at = :expires_at"))
        );
    }
}
