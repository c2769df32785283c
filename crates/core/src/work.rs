//! What is queued: small messages that say where to look.
//!
//! Our queues take messages from our own functions only (their policies say so), so a message's tenant is trusted; it
//! still opens nothing but that tenant's scope.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName};
use serde::{Deserialize, Serialize};

use crate::{
    arn::RoleArn,
    event::Claim,
    id::{AccountId, EventId, IntegrationId, Region, RequestId, TenantId},
    scope::TenantScope,
    trace::TraceId,
};

/// Asks the scanner to look at an image in ECR, and to scan it if that has not been done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRequest {
    /// Whose image.
    pub tenant: TenantId,
    /// The integration whose role opens the registry.
    pub integration: IntegrationId,
    /// The account whose registry it is.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The image.
    pub digest: Digest,
    /// How we know of it.
    pub known_by: KnownBy,
    /// The event that led here, to be marked when its work is taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The one id of this work in logs and session names.
    pub request: RequestId,
    /// What this work belongs to.
    pub trace: TraceId,
    /// When we first knew.
    pub since: Timestamp,
    /// How many invocations have worked on this before without finishing.
    #[serde(default)]
    pub continuation: u32,
}

/// How an image became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// By an event.
    Event,
    /// By the inventory on connecting.
    Backfill,
    /// By a comparison with ECR that found what no event had told.
    Reconcile,
}

/// Asks the verifier to test one region's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyRequest {
    /// Whose connection.
    pub tenant: TenantId,
    /// The integration.
    pub integration: IntegrationId,
    /// The region.
    pub region: Region,
    /// A role that the tenant names, to be tested in the place of the one that is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleArn>,
    /// What a message of a stack claims, whose role is tested if the tenant names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// When the stack said so, or the tenant named the role: what was said last counts, whichever message comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_at: Option<Timestamp>,
    /// Why.
    pub reason: VerifyReason,
    /// The one id of this work in logs and session names.
    pub request: RequestId,
    /// What this work belongs to.
    pub trace: TraceId,
    /// How often the same was tried before without finding everything out.
    #[serde(default)]
    pub attempt: u32,
}

/// Asks the reconciler to compare what is known of a region's registry with what ECR lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRequest {
    /// Whose registry.
    pub tenant: TenantId,
    /// The integration whose role opens it.
    pub integration: IntegrationId,
    /// The region.
    pub region: Region,
    /// Why.
    pub reason: InventoryReason,
    /// The one repository to look at; all of them where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// The event that led here, to be marked when its work is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The one id of this work in logs and session names.
    pub request: RequestId,
    /// What this work belongs to.
    pub trace: TraceId,
    /// How many invocations have worked on this before without finishing.
    #[serde(default)]
    pub continuation: u32,
}

/// Why a registry is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InventoryReason {
    /// The region's role became proven.
    Connected,
    /// It is time.
    Schedule,
    /// A person asked.
    Asked,
    /// A repository was deleted, of which ECR itself sends no event.
    RepositoryDeleted,
}

/// Why a connection is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyReason {
    /// A person saved it, or asked.
    Asked,
    /// The tenant's stack said something, with credentials that are right.
    Stack,
    /// A message without proof claims a role with the integration's `ExternalId`.
    Claim,
    /// It is time.
    Schedule,
    /// A call was refused that should not have been.
    AccessDenied,
}

impl KnownBy {
    /// Returns a short name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Backfill => "backfill",
            Self::Reconcile => "reconcile",
        }
    }
}

impl InventoryReason {
    /// Returns a short name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Schedule => "schedule",
            Self::Asked => "asked",
            Self::RepositoryDeleted => "repository_deleted",
        }
    }
}

impl VerifyReason {
    /// Returns a short name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Stack => "stack",
            Self::Claim => "claim",
            Self::Schedule => "schedule",
            Self::AccessDenied => "access_denied",
        }
    }
}

impl ScanRequest {
    /// Returns the scope of the tenant whose image it is.
    pub fn scope(&self) -> TenantScope {
        TenantScope::of(self.tenant.clone())
    }
}

impl InventoryRequest {
    /// Returns the scope of the tenant whose registry it is.
    pub fn scope(&self) -> TenantScope {
        TenantScope::of(self.tenant.clone())
    }
}

impl VerifyRequest {
    /// Returns the scope of the tenant whose connection it is.
    pub fn scope(&self) -> TenantScope {
        TenantScope::of(self.tenant.clone())
    }
}

/// Queues work for the scanner.
#[async_trait]
pub trait QueueScan: Send + Sync {
    /// Queues one request; when this returns, the queue has it.
    async fn queue_scan(&self, request: &ScanRequest) -> Result<(), QueueError>;
}

/// Queues work for the verifier.
#[async_trait]
pub trait QueueVerify: Send + Sync {
    /// Queues one request; when this returns, the queue has it.
    async fn queue_verify(&self, request: &VerifyRequest) -> Result<(), QueueError>;
}

/// Queues work for the verifier that is to be done later.
#[async_trait]
pub trait QueueVerifyLater: Send + Sync {
    /// Queues one request that is delivered after `delay`, of at most [`LONGEST_DELAY`].
    async fn queue_verify_later(&self, request: &VerifyRequest, delay: Duration) -> Result<(), QueueError>;
}

/// Queues work for the reconciler.
#[async_trait]
pub trait QueueInventory: Send + Sync {
    /// Queues one request that is delivered after `delay`, of at most [`LONGEST_DELAY`].
    async fn queue_inventory(&self, request: &InventoryRequest, delay: Duration) -> Result<(), QueueError>;
}

/// How long a queue keeps a message back at most.
///
/// Source: SQS developer guide, "Amazon SQS message timers".
pub const LONGEST_DELAY: Duration = Duration::from_mins(15);

/// Why a message is not in the queue, as far as we know.
#[derive(Debug, thiserror::Error)]
#[error("the queue is unavailable")]
pub struct QueueError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Queues in memory, for tests and the simulation.
#[derive(Debug, Default)]
pub struct MemoryQueues {
    scans: std::sync::Mutex<Vec<ScanRequest>>,
    verifications: std::sync::Mutex<Vec<VerifyRequest>>,
    later: std::sync::Mutex<Vec<(VerifyRequest, Duration)>>,
    dead: std::sync::atomic::AtomicU64,
    inventories: std::sync::Mutex<Vec<(InventoryRequest, Duration)>>,
}

impl MemoryQueues {
    /// Lets some messages have been given up.
    pub fn bury(&self, messages: u64) {
        self.dead.fetch_add(messages, std::sync::atomic::Ordering::SeqCst);
    }

    pub(crate) fn dead(&self) -> u64 {
        self.dead.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Takes some of those that were given up.
    pub(crate) fn revive(&self, most: u64) -> u64 {
        let taken = self.dead().min(most);
        self.dead.fetch_sub(taken, std::sync::atomic::Ordering::SeqCst);
        taken
    }

    /// Takes all requests for the scanner, first come first.
    pub fn take_scans(&self) -> Vec<ScanRequest> {
        std::mem::take(
            &mut self
                .scans
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// Takes all requests for the verifier, first come first.
    pub fn take_verifications(&self) -> Vec<VerifyRequest> {
        std::mem::take(
            &mut self
                .verifications
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// Takes all requests for the reconciler with their delays, first come first.
    pub fn take_inventories(&self) -> Vec<(InventoryRequest, Duration)> {
        std::mem::take(
            &mut self
                .inventories
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// Takes all requests that are to be delivered later, with their delays.
    pub fn take_later(&self) -> Vec<(VerifyRequest, Duration)> {
        std::mem::take(
            &mut self
                .later
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

#[async_trait]
impl QueueVerifyLater for MemoryQueues {
    async fn queue_verify_later(&self, request: &VerifyRequest, delay: Duration) -> Result<(), QueueError> {
        self.later
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push((request.clone(), delay));
        Ok(())
    }
}

#[async_trait]
impl QueueScan for MemoryQueues {
    async fn queue_scan(&self, request: &ScanRequest) -> Result<(), QueueError> {
        self.scans
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(request.clone());
        Ok(())
    }
}

#[async_trait]
impl QueueVerify for MemoryQueues {
    async fn queue_verify(&self, request: &VerifyRequest) -> Result<(), QueueError> {
        self.verifications
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(request.clone());
        Ok(())
    }
}

#[async_trait]
impl QueueInventory for MemoryQueues {
    async fn queue_inventory(&self, request: &InventoryRequest, delay: Duration) -> Result<(), QueueError> {
        self.inventories
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push((request.clone(), delay));
        Ok(())
    }
}
