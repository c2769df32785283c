//! Endpoints that were read, for a short time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{endpoint::Endpoint, id::IntegrationId, integration::Directory, store::StoreError};

/// Reads endpoints from the directory and remembers them, and which are missing.
pub(crate) struct EndpointCache {
    directory: Directory,
    remembered: Mutex<Remembered>,
}

/// What exists and what does not lie apart, so that invented ids displace only each other.
#[derive(Default)]
struct Remembered {
    found: HashMap<IntegrationId, (Timestamp, Arc<Endpoint>)>,
    missing: HashMap<IntegrationId, (Timestamp, ())>,
}

impl EndpointCache {
    /// How many of either kind are remembered: some megabytes of endpoints.
    pub(crate) const REMEMBERED: usize = 1024;

    pub(crate) fn new(directory: Directory) -> Self {
        Self {
            directory,
            remembered: Mutex::default(),
        }
    }

    /// Returns an endpoint as it was at most `age` ago.
    pub(crate) async fn find(
        &self,
        integration: &IntegrationId,
        age: SignedDuration,
        now: Timestamp,
    ) -> Result<Option<Arc<Endpoint>>, StoreError> {
        {
            let remembered = self.remembered();
            if let Some((read_at, endpoint)) = remembered.found.get(integration)
                && now.duration_since(*read_at) < age
            {
                return Ok(Some(endpoint.clone()));
            }
            if let Some((read_at, ())) = remembered.missing.get(integration)
                && now.duration_since(*read_at) < age
            {
                return Ok(None);
            }
        }
        let endpoint = self.directory.endpoint(integration).await?.map(Arc::new);
        let mut remembered = self.remembered();
        remembered.forget(integration);
        match &endpoint {
            Some(endpoint) => insert(&mut remembered.found, integration, now, endpoint.clone()),
            None => insert(&mut remembered.missing, integration, now, ()),
        }
        Ok(endpoint)
    }

    /// Forgets an endpoint that this process has changed.
    pub(crate) fn forget(&self, integration: &IntegrationId) {
        self.remembered().forget(integration);
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn forget(&mut self, integration: &IntegrationId) {
        self.found.remove(integration);
        self.missing.remove(integration);
    }
}

/// Remembers one more, in the place of the oldest if there are too many.
fn insert<T>(
    kind: &mut HashMap<IntegrationId, (Timestamp, T)>,
    integration: &IntegrationId,
    now: Timestamp,
    value: T,
) {
    if kind.len() >= EndpointCache::REMEMBERED {
        let oldest = kind.iter().min_by_key(|(_, (read_at, _))| *read_at);
        if let Some(oldest) = oldest.map(|(oldest, _)| oldest.clone()) {
            kind.remove(&oldest);
        }
    }
    kind.insert(integration.clone(), (now, value));
}
