//! The items of an integration in its tenant's partition: itself, its regions, its heartbeats, what was told of them,
//! and its removal.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Connection, RegionConnection};
use crate::{
    event::Claim,
    id::{IntegrationId, Region},
    scope::TenantScope,
    store::{Key, Partition, Store, StoreError, Stored, prefix},
};

/// Reads an integration with its regions and heartbeats.
pub(super) async fn read_connection(
    store: &dyn Store,
    scope: &TenantScope,
    id: &IntegrationId,
) -> Result<Option<Connection>, StoreError> {
    let items = read_all(store, &partition(scope), &prefix(&[id.as_str()])).await?;
    Ok(connections(items)?.pop())
}

/// Reads all integrations of a tenant.
pub(super) async fn read_connections(
    store: &dyn Store,
    scope: &TenantScope,
) -> Result<Vec<Connection>, StoreError> {
    connections(read_all(store, &partition(scope), "").await?)
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
fn connections(items: Vec<Stored>) -> Result<Vec<Connection>, StoreError> {
    let mut found: Vec<Connection> = Vec::new();
    let mut heartbeats: BTreeMap<Region, Timestamp> = BTreeMap::new();
    for item in items {
        // Sorted: an integration's heartbeats, then itself, then its regions.
        match item.key.sort().split('#').nth(1) {
            Some(HEARTBEAT) => {
                let region = item.key.sort().rsplit('#').next().unwrap_or_default().parse();
                if let Ok(region) = region {
                    heartbeats.insert(region, item.parse::<HeartbeatRecord>()?.at);
                }
            }
            Some(INTEGRATION) => found.push(Connection {
                integration: item.parse()?,
                regions: BTreeMap::new(),
                heartbeats: std::mem::take(&mut heartbeats),
            }),
            Some(REGION) => {
                let region: RegionConnection = item.parse()?;
                if let Some(connection) = found.last_mut() {
                    connection.regions.insert(region.region.clone(), region);
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
