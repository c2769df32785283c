//! What is told to everyone who listens on the event bus.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName, Tag};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    id::{AccountId, IntegrationId, Region, TenantId},
    image::ScanResult,
    integration::Light,
    reconcile::MissedPushes,
    trace::TraceId,
};

/// The `source` of every event that Portwarden sends.
pub const SOURCE: &str = "portwarden";

/// Something that others may want to act on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Announcement {
    /// An image's scan ended.
    ImageScanned(Box<ImageScanned>),
    /// The status of a connection changed.
    ConnectionChanged(ConnectionChanged),
    /// A region's events were found missing, or come again.
    CoverageChanged(CoverageChanged),
    /// What is wrong with an image is not the same as before: the data of a [notification](crate::notification).
    FindingsChanged(serde_json::Value),
}

impl Announcement {
    /// Returns the event's `detail-type`.
    pub fn detail_type(&self) -> &'static str {
        match self {
            Self::ImageScanned(_) => "Image Scanned",
            Self::ConnectionChanged(_) => "Connection Changed",
            Self::CoverageChanged(_) => "Coverage Changed",
            Self::FindingsChanged(_) => "Findings Changed",
        }
    }
}

/// An image's scan ended.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageScanned {
    /// Whose image.
    pub tenant: TenantId,
    /// The integration.
    pub integration: IntegrationId,
    /// The registry's account.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The image.
    pub digest: Digest,
    /// The tags that pointed to it.
    pub tags: Vec<Tag>,
    /// The version of the catalog.
    pub catalog_version: u32,
    /// How it ended.
    pub outcome: ScanResult,
    /// The name of the report in the bucket, where there is one.
    pub report: Option<String>,
    /// The name of the SBOM in the bucket, where there is one.
    pub sbom: Option<String>,
    /// How many findings of each severity count; none if the image is not matched yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<BTreeMap<String, usize>>,
    /// When it ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What led to the scan.
    pub trace_id: TraceId,
}

/// The status of a connection changed.
///
/// It may come more than once, under the same number and with the same content.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionChanged {
    /// Whose connection.
    pub tenant: TenantId,
    /// The integration.
    pub integration: IntegrationId,
    /// The region.
    pub region: Region,
    /// Counts the changes of this region, from 1.
    pub number: u64,
    /// What the status became.
    pub status: Light,
    /// The code of what is to be mended first, if there is something.
    pub code: Option<String>,
    /// The status in a sentence.
    pub sentence: String,
    /// When it was found.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What led to it.
    pub trace_id: TraceId,
}

/// A region's events were found missing, or come again.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoverageChanged {
    /// Whose region.
    pub tenant: TenantId,
    /// The integration.
    pub integration: IntegrationId,
    /// The region.
    pub region: Region,
    /// What no event had told; none if events come again.
    pub missed: Option<MissedPushes>,
    /// When it was found.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What led to the comparison.
    pub trace_id: TraceId,
}

/// Tells everyone who listens.
#[async_trait]
pub trait Announce: Send + Sync {
    /// Sends one event; when this returns, the bus has it.
    async fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError>;
}

/// The bus did not take the event.
#[derive(Debug, thiserror::Error)]
#[error("the event bus is unavailable")]
pub struct AnnounceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A bus in memory, for tests and the simulation.
#[derive(Debug, Default)]
pub struct MemoryBus(std::sync::Mutex<Vec<Announcement>>);

impl MemoryBus {
    /// Takes everything that was announced, in order.
    pub fn take(&self) -> Vec<Announcement> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[async_trait]
impl Announce for MemoryBus {
    async fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(announcement.clone());
        Ok(())
    }
}
