use async_trait::async_trait;

use super::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError};

/// A table whose callers take turns before each call.
#[derive(Default)]
pub(crate) struct Interleaved(MemoryStore);

#[async_trait]
impl Store for Interleaved {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        tokio::task::yield_now().await;
        self.0.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        tokio::task::yield_now().await;
        self.0.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        tokio::task::yield_now().await;
        self.0.write(writes).await
    }
}
