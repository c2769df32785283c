use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;

use super::{
    Condition, Conflict, Key, Page, Partition, Revision, Store, StoreError, Stored, Write, WriteError,
};

/// The table in memory, for tests and the simulation.
#[derive(Debug, Default)]
pub struct MemoryStore {
    items: Mutex<BTreeMap<Key, Item>>,
    queries: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Item {
    revision: u64,
    order: Option<i64>,
    body: serde_json::Value,
}

impl MemoryStore {
    /// Returns every item, for checks that look at everything.
    pub fn dump(&self) -> Vec<Stored> {
        self.items().iter().map(|(key, item)| stored(key, item)).collect()
    }

    /// Returns how many pages were asked for, for checks of what a reader costs.
    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<Key, Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stored(key: &Key, item: &Item) -> Stored {
    Stored {
        key: key.clone(),
        revision: Revision(item.revision),
        body: item.body.clone(),
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        Ok(self.items().get(key).map(|item| stored(key, item)))
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let items = self.items();
        let start = partition.stored_key(prefix.to_owned());
        let mut found = items
            .range(start..)
            .take_while(|(key, _)| key.partition() == partition && key.sort().starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.sort() > after.sort()))
            .map(|(key, item)| stored(key, item));
        let page = found.by_ref().take(limit).collect();
        Ok(Page {
            items: page,
            more: found.next().is_some(),
        })
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let mut items = self.items();
        for (index, write) in writes.iter().enumerate() {
            let existing = items.get(write.key());
            let order = match write {
                Write::Put { order, .. } => *order,
                Write::Delete { .. } | Write::Check { .. } => None,
            };
            let holds = match write.condition() {
                Condition::None => true,
                Condition::Absent => existing.is_none(),
                Condition::Present => existing.is_some(),
                Condition::Unchanged(revision) => existing.is_some_and(|item| item.revision == revision.0),
                Condition::Newer => existing.is_none_or(|item| item.order < order),
            };
            if !holds {
                let existing = existing.map(|item| stored(write.key(), item));
                return Err(WriteError::Conflict(Conflict {
                    index: Some(index),
                    existing,
                }));
            }
        }
        for write in writes {
            match write {
                Write::Put { key, body, order, .. } => {
                    let revision = items.get(key).map_or(0, |item| item.revision) + 1;
                    items.insert(
                        key.clone(),
                        Item {
                            revision,
                            order: *order,
                            body: body.clone(),
                        },
                    );
                }
                Write::Delete { key, .. } => {
                    items.remove(key);
                }
                Write::Check { .. } => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        super::super::contract::check(&MemoryStore::default()).await;
    }
}
