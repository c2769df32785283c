//! Work for the rematcher: a new edition of the advisory database, carried to every image that it concerns.
//!
//! One message becomes one for each tenant, and each of those one for every hundred images. Whatever is delivered twice has
//! its effect once, since an image knows the edition that it was matched with.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{advisory::Edition, id::TenantId, scope::TenantScope, work::QueueError};

/// A message of the rematch queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum RematchRequest {
    /// Asks for every tenant's images.
    Everyone {
        /// The edition that came into use.
        edition: Edition,
        /// The tenant that the list goes on behind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<TenantId>,
    },
    /// Asks for one tenant's images.
    Tenant {
        /// Whose.
        tenant: TenantId,
        /// The edition that came into use.
        edition: Edition,
        /// How many of its changes were looked at before.
        #[serde(default)]
        done: usize,
    },
    /// Asks for some images.
    Images {
        /// Whose.
        tenant: TenantId,
        /// The images.
        images: Vec<Digest>,
    },
}

impl RematchRequest {
    /// How many images one message names at most: about a minute's work.
    pub const MAX_IMAGES: usize = 100;

    /// Returns the number of the edition that came into use; images are matched with the newest one whatever led to it.
    pub fn edition(&self) -> Option<u64> {
        match self {
            Self::Everyone { edition, .. } | Self::Tenant { edition, .. } => Some(edition.number),
            Self::Images { .. } => None,
        }
    }

    /// Returns the scope of the tenant whose images are meant; none if every tenant's are.
    pub fn scope(&self) -> Option<TenantScope> {
        match self {
            Self::Everyone { .. } => None,
            Self::Tenant { tenant, .. } | Self::Images { tenant, .. } => {
                Some(TenantScope::of(tenant.clone()))
            }
        }
    }
}

/// Queues work for the rematcher.
#[async_trait]
pub trait QueueRematch: Send + Sync {
    /// Queues one request; when this returns, the queue has it.
    async fn queue_rematch(&self, request: &RematchRequest) -> Result<(), QueueError>;
}

/// A queue in memory, for tests and the simulation.
#[derive(Debug, Default)]
pub struct MemoryRematches(Mutex<Vec<RematchRequest>>);

impl MemoryRematches {
    /// Takes all requests, first come first.
    pub fn take(&self) -> Vec<RematchRequest> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl QueueRematch for MemoryRematches {
    async fn queue_rematch(&self, request: &RematchRequest) -> Result<(), QueueError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        Ok(())
    }
}
