//! What is known of a removed integration is deleted, in small steps that can be made again from anywhere.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_oci::Digest;
use serde::Deserialize;

use crate::{
    ecr::RegistryId,
    id::IntegrationId,
    image::{Images, KnownPlace},
    integration::Integrations,
    inventory::Inventory,
    object::{Document, ObjectError, ObjectKey, ReadObject, RemoveObject},
    reconcile::Inventories,
    scope::TenantScope,
    store::{Store, StoreError},
};

/// Deletes what is known of removed integrations.
#[derive(Clone)]
pub struct Purge {
    images: Images,
    inventory: Inventory,
    integrations: Integrations,
    inventories: Inventories,
    objects: Arc<dyn PurgeObjects>,
    index: Arc<dyn LeaveIndex>,
}

/// Reads and deletes objects.
pub trait PurgeObjects: ReadObject + RemoveObject {}

impl<T: ReadObject + RemoveObject> PurgeObjects for T {}

/// Takes images out of what is kept of their packages and findings.
#[async_trait]
pub trait LeaveIndex: Send + Sync {
    /// Takes an image out that its tenant has nowhere any more; its documents say what there is of it.
    async fn leave_index(&self, scope: &TenantScope, digest: &Digest) -> Result<(), PurgeError>;
}

/// Whether something is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// There is more.
    Some,
    /// All is deleted, and the receipt says so; or there is nothing to delete yet.
    All,
}

/// Why a purge did not go on.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket did not answer.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// How many places of images one step deletes.
const STEP: usize = 25;

/// How many tags one step forgets.
const TAGS: usize = 500;

/// What of a report says which objects belong to it.
#[derive(Deserialize)]
struct ReportParts {
    platforms: Vec<PlatformParts>,
}

#[derive(Deserialize)]
struct PlatformParts {
    digest: Digest,
    #[serde(default)]
    layers: Vec<LayerParts>,
}

#[derive(Deserialize)]
struct LayerParts {
    digest: Digest,
}

impl Purge {
    /// Works on a store, a bucket, and the index of packages and findings in both.
    pub fn new(store: Arc<dyn Store>, objects: Arc<dyn PurgeObjects>, index: Arc<dyn LeaveIndex>) -> Self {
        Self {
            images: Images::new(store.clone()),
            inventory: Inventory::new(store.clone()),
            integrations: Integrations::new(store.clone()),
            inventories: Inventories::new(store),
            objects,
            index,
        }
    }

    /// Deletes the next part of an integration whose time has come.
    ///
    /// Objects go first and the items that lead to them last, together with what the receipt counts, so that a step that was
    /// cut off is made again and counted once.
    pub async fn step(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        now: Timestamp,
    ) -> Result<Purged, PurgeError> {
        let removal = self.integrations.removal(scope, id).await?;
        let Some(removal) = removal.filter(|removal| removal.is_due(now)) else {
            return Ok(Purged::All);
        };
        let places = self.images.places(scope, id, STEP).await?;
        for place in &places {
            self.forget(scope, id, place).await?;
        }
        if !places.is_empty() || self.inventory.forget_tags(scope, id, TAGS).await? {
            return Ok(Purged::Some);
        }
        for region in &removal.regions {
            if self.inventories.forget(scope, id, region).await? {
                return Ok(Purged::Some);
            }
        }
        if let Some(account) = &removal.account {
            for region in &removal.regions {
                let registry = RegistryId {
                    account: account.clone(),
                    region: region.clone(),
                };
                self.images.forget_repositories(scope, &registry).await?;
            }
        }
        self.integrations.forget_regions(scope, id, now).await?;
        Ok(Purged::All)
    }

    /// Forgets an image in a place, and all of it if the tenant has it nowhere else.
    async fn forget(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        place: &KnownPlace,
    ) -> Result<(), PurgeError> {
        let forgetting = self.images.forget(scope, id, place).await?;
        if forgetting.last_of.is_some() {
            // Before its documents, which say what there is of it.
            self.index.leave_index(scope, &place.digest).await?;
        }
        let mut objects = 0;
        for version in forgetting.last_of.iter().flatten() {
            objects += self.delete_documents(scope, &place.digest, *version).await?;
        }
        let is_last = forgetting.last_of.is_some();
        // If somebody wrote in between, the next step reads it again.
        self.integrations
            .count_deleted(scope, id, forgetting.writes, |deleted| {
                deleted.locations += u64::from(forgetting.was_there);
                deleted.images += u64::from(is_last);
                deleted.objects += objects;
            })
            .await?;
        Ok(())
    }

    /// Deletes what one version of the catalog left of an image; the report, which leads to the rest, goes last.
    async fn delete_documents(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        version: u32,
    ) -> Result<u64, PurgeError> {
        let report = scope.image_object(digest, version, Document::Report);
        let parts = self.objects.read_object(&report).await?;
        let parts: Option<ReportParts> = parts.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut keys: BTreeSet<ObjectKey> = BTreeSet::new();
        for platform in parts.iter().flat_map(|parts| &parts.platforms) {
            // A platform's image that was scanned by itself is another image of the tenant's; to what was written of one that only
            // lies somewhere, nothing else leads.
            let has_own = self.images.has_scan(scope, &platform.digest, version);
            if platform.digest == *digest || !has_own.await? {
                keys.insert(scope.image_object(&platform.digest, version, Document::CycloneDx));
            }
            let layers = platform.layers.iter();
            keys.extend(layers.map(|layer| scope.layer_object(&layer.digest, version)));
        }
        keys.insert(scope.image_object(digest, version, Document::CycloneDx));
        keys.insert(scope.image_object(digest, version, Document::Findings));
        keys.insert(scope.image_object(digest, version, Document::RegistryScan));
        let mut deleted = 0;
        for key in keys.iter().chain([&report]) {
            self.objects.remove_object(key).await?;
            deleted += 1;
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests;
