mod item;
mod statement;

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{
        delete_item::DeleteItemError, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{CancellationReason, ReturnValuesOnConditionCheckFailure},
};
use portwarden_core::{
    id::RequestId,
    random::OsRandomness,
    store::{Conflict, Key, Page, Partition, Store, StoreError, Stored, Write, WriteError},
};

use self::{
    item::{Item, attributes_of, sort_of, stored},
    statement::Statement,
};
use crate::{
    Aws,
    failure::{Failure, Kind},
};

/// The table in `DynamoDB`.
///
/// `DynamoDB` deletes an expired item some days late. Until then it is read like any other, so a rule that depends on
/// time compares times itself.
///
/// The SDK repeats a call whose answer is lost. A transaction has a token and happens once; a single write that
/// happened unheard is refused the second time, as a conflict with itself that shows the item as it was just written.
/// The token is the kernel's randomness: the SDK's own would come from the clock, and processes that start in the same
/// moment would share theirs, so that `DynamoDB` refuses the one's transaction for the other's.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
}

impl DynamoStore {
    /// Names the table.
    pub fn new(aws: &Aws, table: String) -> Self {
        Self {
            client: Client::new(&aws.sdk),
            table,
        }
    }
}

#[async_trait]
impl Store for DynamoStore {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(attributes_of(key)?))
            .consistent_read(true)
            .send()
            .await;
        let answer = answer.map_err(|error| store_error(Failure::of("dynamodb:GetItem", &error)))?;
        answer.item.map(|item| stored(key.clone(), item)).transpose()
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut start = after.map(attributes_of).transpose()?;
        let mut items = Vec::new();
        // One more than the page holds tells whether there is more; an answer ends at 1 MB, wherever the page does.
        while items.len() <= limit {
            let missing = limit.saturating_add(1) - items.len();
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .limit(i32::try_from(missing).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let answer = statement::within(request, partition, prefix).send().await;
            let answer = answer.map_err(|error| store_error(Failure::of("dynamodb:Query", &error)))?;
            for item in answer.items.unwrap_or_default() {
                let key = partition.stored_key(sort_of(&item)?);
                items.push(stored(key, item)?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, more })
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        match writes {
            [] => Ok(()),
            [write @ Write::Put { .. }] => self.put(write).await,
            [write @ Write::Delete { .. }] => self.delete(write).await,
            writes => self.transact(writes).await,
        }
    }
}

impl DynamoStore {
    async fn put(&self, write: &Write) -> Result<(), WriteError> {
        let Statement {
            key,
            update,
            condition,
            values,
        } = Statement::of(write)?;
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .set_update_expression(update)
            .set_condition_expression(condition)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = answer else { return Ok(()) };
        let failure = Failure::of("dynamodb:UpdateItem", &error);
        Err(match error.into_service_error() {
            UpdateItemError::ConditionalCheckFailedException(refused) => conflict(write, 0, refused.item),
            _ => single_write_error(failure),
        })
    }

    async fn delete(&self, write: &Write) -> Result<(), WriteError> {
        let statement = Statement::of(write)?;
        let answer = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(statement.key))
            .set_condition_expression(statement.condition)
            .set_expression_attribute_values(statement.values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = answer else { return Ok(()) };
        let failure = Failure::of("dynamodb:DeleteItem", &error);
        Err(match error.into_service_error() {
            DeleteItemError::ConditionalCheckFailedException(refused) => conflict(write, 0, refused.item),
            _ => single_write_error(failure),
        })
    }

    async fn transact(&self, writes: &[Write]) -> Result<(), WriteError> {
        let items = writes
            .iter()
            .map(|write| Statement::of(write)?.in_transaction(write, &self.table))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let answer = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(RequestId::generate(&OsRandomness).as_str())
            .send()
            .await;
        let Err(error) = answer else { return Ok(()) };
        let failure = Failure::of("dynamodb:TransactWriteItems", &error);
        Err(match error {
            SdkError::ServiceError(answer) => match answer.into_err() {
                TransactWriteItemsError::TransactionCanceledException(canceled) => {
                    cancellation(writes, canceled.cancellation_reasons.unwrap_or_default(), failure)
                }
                _ => store_error(failure).into(),
            },
            _ => store_error(failure).into(),
        })
    }
}

/// Finds out why a transaction was not made; there is one reason for each write, and `None` for those that could be.
fn cancellation(writes: &[Write], reasons: Vec<CancellationReason>, failure: Failure) -> WriteError {
    let has = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
    if has("ThrottlingError") || has("ProvisionedThroughputExceeded") {
        return StoreError::Throttled.into();
    }
    let under_way = has("TransactionConflict");
    let refused = reasons
        .into_iter()
        .enumerate()
        .find(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"));
    match refused {
        Some((index, reason)) if index < writes.len() => conflict(&writes[index], index, reason.item),
        _ if under_way => WriteError::Conflict(Conflict {
            index: None,
            existing: None,
        }),
        _ => store_error(failure).into(),
    }
}

fn conflict(write: &Write, index: usize, existing: Option<Item>) -> WriteError {
    // A missing item comes back as none from one operation and as an empty one from another.
    let existing = existing
        .filter(|item| !item.is_empty())
        .map(|item| stored(write.key().clone(), item))
        .transpose();
    match existing {
        Ok(existing) => WriteError::Conflict(Conflict {
            index: Some(index),
            existing,
        }),
        Err(error) => error.into(),
    }
}

fn single_write_error(failure: Failure) -> WriteError {
    if failure.has_code("TransactionConflictException") {
        return WriteError::Conflict(Conflict {
            index: None,
            existing: None,
        });
    }
    store_error(failure).into()
}

fn store_error(failure: Failure) -> StoreError {
    match failure.kind() {
        Kind::Throttled => StoreError::Throttled,
        Kind::Denied => StoreError::Denied(failure.into()),
        Kind::Refused => StoreError::Refused(failure.into()),
        Kind::Expired | Kind::Unreachable => StoreError::Unavailable(failure.into()),
    }
}
