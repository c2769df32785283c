//! The one table: items under keys, written under conditions.
//!
//! Every rule about what is stored lives once, in the modules that own the nouns ([`crate::integration`],
//! [`crate::event`], [`crate::image`]), on top of the three operations of [`Store`]. An implementation knows nothing of
//! them, so that [`MemoryStore`] and the one over `DynamoDB` are held to the same small contract
//! ([`contract::check`]), and faults can be put between a rule and its storage anywhere.

pub mod contract;
#[cfg(test)]
mod interleaved;
mod key;
mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(test)]
pub(crate) use interleaved::Interleaved;
pub(crate) use key::prefix;
pub use key::{Key, Partition};
pub use memory::MemoryStore;

/// Stores items; every read is strongly consistent.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads one item.
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError>;

    /// Reads the items of a partition whose sort key starts with `prefix`, in the order of their sort keys.
    ///
    /// A page has at most `limit` items; `after` continues behind the last key of the page before.
    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Makes all writes, or none if a condition does not hold.
    ///
    /// At most [`MAX_WRITES`], and no key twice.
    async fn write(&self, writes: &[Write]) -> Result<(), WriteError>;
}

/// How many writes one transaction takes: `DynamoDB`'s limit for `TransactWriteItems`.
pub const MAX_WRITES: usize = 100;

/// Items in the order of their sort keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The items.
    pub items: Vec<Stored>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// An item as it lies in the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Where it lies.
    pub key: Key,
    /// Changes with every write of the item.
    pub revision: Revision,
    /// The item's content, shared with a store that has it in memory.
    pub body: Arc<serde_json::Value>,
}

/// Counts the writes of an item, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub struct Revision(pub u64);

impl Stored {
    /// Reads the content as the type that its key stands for.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        T::deserialize(&*self.body).map_err(|source| StoreError::Corrupt {
            key: self.key.to_string(),
            source,
        })
    }
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Puts an item in the place of the one that lies there, if the condition holds.
    Put {
        /// Where to.
        key: Key,
        /// The whole content.
        body: Arc<serde_json::Value>,
        /// What must hold before.
        condition: Condition,
        /// What [`Condition::Newer`] compares, in an order that the caller chooses (milliseconds, say).
        order: Option<i64>,
        /// When the item may vanish.
        expires_at: Option<Timestamp>,
    },
    /// Deletes an item, if the condition holds.
    Delete {
        /// Which.
        key: Key,
        /// What must hold before.
        condition: Condition,
    },
    /// Writes nothing, and lets the transaction fail if the condition does not hold.
    Check {
        /// Which item.
        key: Key,
        /// What must hold.
        condition: Condition,
    },
}

/// What must hold of an item for it to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// There is no such item.
    Absent,
    /// There is such an item.
    Present,
    /// The item has not been written since it was read.
    Unchanged(Revision),
    /// There is no such item, or its order is smaller than that of this write.
    Newer,
}

impl Write {
    /// Puts `value` at `key`, if `condition` holds.
    ///
    /// # Panics
    ///
    /// When `value` cannot be written as JSON, which the types of this crate always can.
    pub fn put(key: Key, value: &impl Serialize, condition: Condition) -> Self {
        let body = serde_json::to_value(value).expect("records can be written as JSON");
        Self::Put {
            key,
            body: Arc::new(body),
            condition,
            order: None,
            expires_at: None,
        }
    }

    /// Lets a put item vanish at `time`.
    #[must_use]
    pub fn expiring(mut self, time: Timestamp) -> Self {
        if let Self::Put { expires_at, .. } = &mut self {
            *expires_at = Some(time);
        }
        self
    }

    /// Gives a put item its order.
    #[must_use]
    pub fn ordered(mut self, value: i64) -> Self {
        if let Self::Put { order, .. } = &mut self {
            *order = Some(value);
        }
        self
    }

    /// Returns the key that is written or checked.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// Returns what must hold before.
    pub fn condition(&self) -> Condition {
        match self {
            Self::Put { condition, .. } | Self::Delete { condition, .. } | Self::Check { condition, .. } => {
                *condition
            }
        }
    }
}

/// What [`update`] is to do with an item, and what its caller is told then.
pub(crate) enum Change<T, R> {
    /// Leave it as it is.
    Keep(R),
    /// Put this in its place.
    Put(T, R),
}

/// How often a rule reads again when somebody else wrote in between.
pub(crate) const ATTEMPTS: usize = 16;

/// Reads an item, lets `change` decide, and writes what it says; again from the start if somebody wrote in between.
pub(crate) async fn update<T: Serialize + DeserializeOwned, R>(
    store: &dyn Store,
    key: &Key,
    mut change: impl FnMut(Option<T>) -> Change<T, R> + Send,
) -> Result<R, StoreError> {
    for _ in 0..ATTEMPTS {
        let stored = store.get(key).await?;
        let condition = stored
            .as_ref()
            .map_or(Condition::Absent, |stored| Condition::Unchanged(stored.revision));
        let item = stored.map(|stored| stored.parse()).transpose()?;
        let (write, result) = match change(item) {
            Change::Keep(result) => return Ok(result),
            Change::Put(item, result) => (Write::put(key.clone(), &item, condition), result),
        };
        if try_write(store, &[write]).await? {
            return Ok(result);
        }
    }
    Err(contended())
}

/// Makes all writes, or none; tells whether the conditions held.
pub(crate) async fn try_write(store: &dyn Store, writes: &[Write]) -> Result<bool, StoreError> {
    match store.write(writes).await {
        Ok(()) => Ok(true),
        Err(WriteError::Conflict(_)) => Ok(false),
        Err(WriteError::Store(error)) => Err(error),
    }
}

/// Others write the item all the time.
pub(crate) fn contended() -> StoreError {
    StoreError::Unavailable("the item is written by others all the time".into())
}

/// Why the table did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The table is asked too much; the same call may pass later.
    #[error("the table is throttled")]
    Throttled,
    /// The table cannot be reached, or it failed; a write may or may not have happened.
    #[error("the table is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request breaks a limit of the table, such as the size of an item or a key; it never passes.
    #[error("the table refuses the request")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// We may not do this: the function's policy lacks an action.
    #[error("access to the table is denied")]
    Denied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An item is not what its key says.
    #[error("the item {key} cannot be read")]
    Corrupt {
        /// Where it lies.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A condition did not hold.
    #[error("a condition of the write does not hold")]
    Conflict(Conflict),
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The first condition that did not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Its place in the list of writes; `None` where another transaction was under way on the same items.
    pub index: Option<usize>,
    /// The item that lies there, if there is one.
    pub existing: Option<Stored>,
}
