//! What is too large for the table: layer catalogs, reports and SBOMs, in the bucket.

use std::fmt;

use async_trait::async_trait;
use portwarden_oci::Digest;

use crate::scope::TenantScope;

/// The name of an object; only a [`TenantScope`] makes a tenant's, and only [`crate::advisory`] one that is nobody's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// What is kept of an image for people and other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Document {
    /// The report, as JSON.
    Report,
    /// The SBOM, as `CycloneDX` JSON.
    CycloneDx,
    /// What is wrong with the packages of the report, by one advisory database, as JSON.
    Findings,
    /// What ECR's own scanning found in the image, as JSON.
    RegistryScan,
}

impl TenantScope {
    /// Names what a layer holds, as one version of the catalog read it.
    pub fn layer_object(&self, layer: &Digest, catalog_version: u32) -> ObjectKey {
        ObjectKey(format!(
            "tenants/{}/layers/{catalog_version}/{}.json",
            self.tenant(),
            layer.hex()
        ))
    }

    /// Names a document about an image, as one version of the catalog made it.
    pub fn image_object(&self, image: &Digest, catalog_version: u32, document: Document) -> ObjectKey {
        let name = match document {
            Document::Report => "report.json",
            Document::CycloneDx => "sbom.cdx.json",
            Document::Findings => "findings.json",
            Document::RegistryScan => "registry_scan.json",
        };
        ObjectKey(format!(
            "tenants/{}/images/{}/{catalog_version}/{name}",
            self.tenant(),
            image.hex()
        ))
    }
}

impl ObjectKey {
    /// Names an object that belongs to no tenant.
    pub(crate) fn public(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads objects.
#[async_trait]
pub trait ReadObject: Send + Sync {
    /// Returns an object's content, if it is there.
    async fn read_object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, ObjectError>;
}

/// Writes objects.
#[async_trait]
pub trait WriteObject: Send + Sync {
    /// Writes an object in the place of the one that is there.
    async fn write_object(
        &self,
        key: &ObjectKey,
        content_type: &'static str,
        content: Vec<u8>,
    ) -> Result<(), ObjectError>;
}

/// Removes objects.
#[async_trait]
pub trait RemoveObject: Send + Sync {
    /// Removes an object, if it is there.
    async fn remove_object(&self, key: &ObjectKey) -> Result<(), ObjectError>;
}

/// The bucket did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the bucket is unavailable")]
pub struct ObjectError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Objects in memory, for tests and the simulation.
#[derive(Debug, Default)]
pub struct MemoryObjects(std::sync::Mutex<std::collections::BTreeMap<ObjectKey, Vec<u8>>>);

impl MemoryObjects {
    /// Returns the names of all objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.objects().keys().cloned().collect()
    }

    fn objects(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<ObjectKey, Vec<u8>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl ReadObject for MemoryObjects {
    async fn read_object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, ObjectError> {
        Ok(self.objects().get(key).cloned())
    }
}

#[async_trait]
impl WriteObject for MemoryObjects {
    async fn write_object(
        &self,
        key: &ObjectKey,
        _: &'static str,
        content: Vec<u8>,
    ) -> Result<(), ObjectError> {
        self.objects().insert(key.clone(), content);
        Ok(())
    }
}

#[async_trait]
impl RemoveObject for MemoryObjects {
    async fn remove_object(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        self.objects().remove(key);
        Ok(())
    }
}
