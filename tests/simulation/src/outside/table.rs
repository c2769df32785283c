use async_trait::async_trait;
use portwarden_core::store::{Key, Page, Partition, Store, StoreError, Stored, Write, WriteError};

use super::at_once;
use crate::world::Process;

#[async_trait]
impl Store for Process {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.call("table get", key, |state| {
            let checked = state.check_partition(self.id, key.partition());
            state.judge(checked);
            at_once(state.store.get(key))
        })
        .await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.call("table query", partition.as_str(), |state| {
            let checked = state.check_partition(self.id, partition);
            state.judge(checked);
            at_once(state.store.query(partition, prefix, after, limit))
        })
        .await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        let first = writes
            .first()
            .map_or_else(String::new, |write| write.key().to_string());
        self.call("table write", first, |state| {
            for write in writes {
                let checked = state.check_partition(self.id, write.key().partition());
                state.judge(checked);
            }
            at_once(state.store.write(writes))?;
            for write in writes {
                let checked = state.check_write(self.id, write);
                state.judge(checked);
            }
            let checked = state.check_told(writes);
            state.judge(checked);
            Ok(())
        })
        .await
    }
}
