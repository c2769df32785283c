use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use portwarden_core::{
    inventory::{ImageState, Inventory, PackageKey},
    object::{Document, ReadObject},
    purge::{LeaveIndex, PurgeError},
    registry_scan::RegistryScan,
    scope::TenantScope,
    store::Store,
};
use portwarden_oci::Digest;
use portwarden_report::{ImageFindings, Report};
use serde::de::DeserializeOwned;

use crate::{MatchError, entry};

/// The index of packages and findings, with the documents that say what of an image is in it.
#[derive(Clone)]
pub struct Index {
    inventory: Inventory,
    objects: Arc<dyn ReadObject>,
}

impl Index {
    /// Opens the index in a store, and the documents in a bucket.
    pub fn new(store: Arc<dyn Store>, objects: Arc<dyn ReadObject>) -> Self {
        Self {
            inventory: Inventory::new(store),
            objects,
        }
    }

    /// Takes an image that is nowhere any more out of the index; it comes back when it is scanned or matched again.
    pub(crate) async fn leave(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        state: &ImageState,
    ) -> Result<(), MatchError> {
        let Some(matching) = &state.matching else {
            return Ok(());
        };
        let report = self.report(scope, digest, matching.catalog_version).await?;
        let entries = report
            .map(|report| entry::entries(&report, None))
            .unwrap_or_default();
        let findings = self.findings(scope, digest, matching.catalog_version).await?;
        let names = findings.as_ref().map(names).unwrap_or_default();
        let keys: Vec<&PackageKey> = entries.iter().map(|entry| &entry.key).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.inventory.leave(scope, digest, &keys, &names).await?;
        Ok(())
    }

    pub(crate) async fn report(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<Option<Report>, MatchError> {
        self.document(scope, digest, catalog_version, Document::Report)
            .await
    }

    pub(crate) async fn findings(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<Option<ImageFindings>, MatchError> {
        self.document(scope, digest, catalog_version, Document::Findings)
            .await
    }

    pub(crate) async fn registry_scan(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<Option<RegistryScan>, MatchError> {
        self.document(scope, digest, catalog_version, Document::RegistryScan)
            .await
    }

    async fn document<T: DeserializeOwned>(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
        document: Document,
    ) -> Result<Option<T>, MatchError> {
        let key = scope.image_object(digest, catalog_version, document);
        let content = self.objects.read_object(&key).await?;
        let parse = |content: Vec<u8>| {
            serde_json::from_slice(&content).map_err(|source| MatchError::Document {
                key: key.to_string(),
                source,
            })
        };
        content.map(parse).transpose()
    }
}

#[async_trait]
impl LeaveIndex for Index {
    async fn leave_index(&self, scope: &TenantScope, digest: &Digest) -> Result<(), PurgeError> {
        let state = self.inventory.image(scope, digest).await?;
        match self.leave(scope, digest, &state).await {
            Ok(()) => Ok(()),
            Err(MatchError::Store(error)) => Err(error.into()),
            Err(MatchError::Objects(error)) => Err(error.into()),
            // A document that cannot be read will never be: that must not keep the rest from being deleted.
            Err(
                MatchError::Document { .. }
                | MatchError::Database { .. }
                | MatchError::Queue(_)
                | MatchError::Overtaken,
            ) => Ok(self.inventory.leave(scope, digest, &[], &[]).await?),
        }
    }
}

/// Returns every name of every finding.
pub(crate) fn names(findings: &ImageFindings) -> BTreeSet<String> {
    let found = findings.platforms.iter().flat_map(|platform| &platform.findings);
    found
        .flat_map(|found| found.finding.ids.iter().cloned())
        .collect()
}
