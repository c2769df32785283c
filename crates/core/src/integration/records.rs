//! The items of an integration in its tenant's partition: itself, its regions, its heartbeats, what was told of them,
//! and its removal.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Connection, Integration, RegionConnection};
use crate::{
    event::Claim,
    id::{IntegrationId, Region},
    scope::TenantScope,
    store::{Key, Partition, Store, StoreError, Stored, prefix},
};

/// An integration with as much of its regions as `R` reads of their items.
pub(super) struct Read<R> {
    pub(super) integration: Integration,
    pub(super) regions: BTreeMap<Region, R>,
    pub(super) heartbeats: BTreeMap<Region, Timestamp>,
}

impl From<Read<RegionConnection>> for Connection {
    fn from(read: Read<RegionConnection>) -> Self {
        Self {
            integration: read.integration,
            regions: read.regions,
            heartbeats: read.heartbeats,
        }
    }
}

/// Reads an integration with its regions and heartbeats.
pub(super) async fn read_connection(
    store: &dyn Store,
    scope: &TenantScope,
    id: &IntegrationId,
) -> Result<Option<Connection>, StoreError> {
    Ok(read_with(store, scope, id).await?.map(Connection::from))
}

/// Reads an integration, and of its regions what whoever asks needs: most of a region is what the last test of it found.
pub(super) async fn read_with<R: DeserializeOwned>(
    store: &dyn Store,
    scope: &TenantScope,
    id: &IntegrationId,
) -> Result<Option<Read<R>>, StoreError> {
    let items = read_all(store, &partition(scope), &prefix(&[id.as_str()])).await?;
    Ok(together(&items)?.pop())
}

/// Reads all integrations of a tenant.
pub(super) async fn read_connections(
    store: &dyn Store,
    scope: &TenantScope,
) -> Result<Vec<Connection>, StoreError> {
    let found = together(&read_all(store, &partition(scope), "").await?)?;
    Ok(found.into_iter().map(Connection::from).collect())
}

async fn read_all(store: &dyn Store, partition: &Partition, prefix: &str) -> Result<Vec<Stored>, StoreError> {
    let mut items: Vec<Stored> = Vec::new();
    loop {
        let page = store
            .query(partition, prefix, items.last().map(|item| &item.key), 100)
            .await?;
        items.extend(page.items);
        if !page.more {
            return Ok(items);
        }
    }
}

/// Puts items of one partition, in their order, together again.
fn together<R: DeserializeOwned>(items: &[Stored]) -> Result<Vec<Read<R>>, StoreError> {
    let mut found: Vec<Read<R>> = Vec::new();
    let mut heartbeats: BTreeMap<Region, Timestamp> = BTreeMap::new();
    for item in items {
        let mut words = item.key.sort().split('#').skip(1);
        let (kind, region) = (words.next(), words.next());
        let region: Option<Region> = region.and_then(|name| name.parse().ok());
        // Sorted: an integration's heartbeats, then itself, then its regions.
        match kind {
            Some(HEARTBEAT) => {
                if let Some(region) = region {
                    heartbeats.insert(region, item.parse::<Beat>()?.at);
                }
            }
            Some(INTEGRATION) => found.push(Read {
                integration: item.parse()?,
                regions: BTreeMap::new(),
                heartbeats: std::mem::take(&mut heartbeats),
            }),
            Some(REGION) => {
                if let (Some(region), Some(connection)) = (region, found.last_mut()) {
                    connection.regions.insert(region, item.parse()?);
                }
            }
            // What was told of the regions, and what became of an integration that was removed.
            _ => {}
        }
    }
    Ok(found)
}

/// The latest heartbeat of a region, and what it claimed.
#[derive(Serialize, Deserialize)]
pub(super) struct HeartbeatRecord {
    pub(super) at: Timestamp,
    pub(super) claim: Option<Claim>,
}

/// A heartbeat without its claim.
#[derive(Deserialize)]
struct Beat {
    at: Timestamp,
}

const INTEGRATION: &str = "integration";
const REGION: &str = "region";
const HEARTBEAT: &str = "heartbeat";
const TOLD: &str = "told";
const REMOVAL: &str = "removal";

fn partition(scope: &TenantScope) -> Partition {
    scope.partition(&["integrations"])
}

pub(super) fn integration_item(scope: &TenantScope, id: &IntegrationId) -> Key {
    partition(scope).key(&[id.as_str(), INTEGRATION])
}

pub(super) fn region_item(scope: &TenantScope, id: &IntegrationId, region: &Region) -> Key {
    partition(scope).key(&[id.as_str(), REGION, region.as_str()])
}

pub(super) fn heartbeat_item(scope: &TenantScope, id: &IntegrationId, region: &Region) -> Key {
    partition(scope).key(&[id.as_str(), HEARTBEAT, region.as_str()])
}

pub(super) fn told_item(scope: &TenantScope, id: &IntegrationId, region: &Region) -> Key {
    partition(scope).key(&[id.as_str(), TOLD, region.as_str()])
}

pub(super) fn removal_item(scope: &TenantScope, id: &IntegrationId) -> Key {
    partition(scope).key(&[id.as_str(), REMOVAL])
}
