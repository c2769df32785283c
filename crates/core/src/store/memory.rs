use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    partitions: Mutex<Partitions>,
    queries: AtomicUsize,
}

/// Items by their partition and their sort key.
type Partitions = HashMap<Partition, BTreeMap<String, Item>>;

#[derive(Debug, Clone)]
struct Item {
    revision: u64,
    order: Option<i64>,
    body: Arc<serde_json::Value>,
}

impl MemoryStore {
    /// Returns every item, in the order of their keys, for checks that look at everything.
    pub fn dump(&self) -> Vec<Stored> {
        let partitions = self.partitions();
        let mut sorted: Vec<_> = partitions.iter().collect();
        sorted.sort_by_key(|(partition, _)| *partition);
        let items = sorted.into_iter().flat_map(|(partition, items)| {
            items
                .iter()
                .map(|(sort, item)| stored(partition.stored_key(sort.clone()), item))
        });
        items.collect()
    }

    /// Returns how many pages were asked for, for checks of what a reader costs.
    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stored(key: Key, item: &Item) -> Stored {
    Stored {
        key,
        revision: Revision(item.revision),
        body: Arc::clone(&item.body),
    }
}

fn item<'p>(partitions: &'p Partitions, key: &Key) -> Option<&'p Item> {
    partitions.get(key.partition())?.get(key.sort())
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        Ok(item(&self.partitions(), key).map(|item| stored(key.clone(), item)))
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let partitions = self.partitions();
        let start = match after.map(Key::sort) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = partitions
            .get(partition)
            .into_iter()
            .flat_map(|items| items.range::<str, _>((start, Bound::Unbounded)))
            .take_while(|(sort, _)| sort.starts_with(prefix));
        let page = found.by_ref().take(limit);
        let page = page.map(|(sort, item)| stored(partition.stored_key(sort.clone()), item));
        Ok(Page {
            items: page.collect(),
            more: found.next().is_some(),
        })
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let mut partitions = self.partitions();
        for (index, write) in writes.iter().enumerate() {
            let existing = item(&partitions, write.key());
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
                let existing = existing.map(|item| stored(write.key().clone(), item));
                return Err(WriteError::Conflict(Conflict {
                    index: Some(index),
                    existing,
                }));
            }
        }
        for write in writes {
            match write {
                Write::Put { key, body, order, .. } => {
                    let revision = item(&partitions, key).map_or(0, |item| item.revision) + 1;
                    let item = Item {
                        revision,
                        order: *order,
                        body: Arc::clone(body),
                    };
                    let items = partitions.entry(key.partition().clone()).or_default();
                    items.insert(key.sort().to_owned(), item);
                }
                Write::Delete { key, .. } => {
                    if let Some(items) = partitions.get_mut(key.partition()) {
                        items.remove(key.sort());
                    }
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
