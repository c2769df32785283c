//! The places of an integration's images, kept so that a purge finds every one, deleted images included.

use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

use super::{Images, Location, RepositoryId, record::ImageRecord};
use crate::{
    ecr::RegistryId,
    id::IntegrationId,
    scope::TenantScope,
    store::{Condition, Key, Partition, StoreError, Stored, Write},
};

/// An image in a place, by which it can be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownPlace {
    /// The image.
    pub(crate) digest: Digest,
    /// Where.
    pub(crate) place: RepositoryId,
}

/// What is to be written to forget an image in a place.
pub(crate) struct Forgetting {
    /// The writes, all or none.
    pub(crate) writes: Vec<Write>,
    /// The catalog versions of the image's scans, if the tenant has it nowhere else: then all of it is forgotten.
    pub(crate) last_of: Option<Vec<u32>>,
    /// Whether the place was the integration's, and not another one's by now.
    pub(crate) was_there: bool,
}

impl KnownPlace {
    pub(super) fn of(digest: Digest, location: &Location) -> Self {
        Self {
            digest,
            place: RepositoryId::of(location),
        }
    }

    pub(super) fn key(&self, scope: &TenantScope, integration: &IntegrationId) -> Key {
        let RepositoryId {
            account,
            region,
            repository,
        } = &self.place;
        let digest = self.digest.to_string();
        places(scope, integration).key(&[&digest, account.as_str(), region.as_str(), repository.as_str()])
    }
}

fn places(scope: &TenantScope, integration: &IntegrationId) -> Partition {
    scope.partition(&["places", integration.as_str()])
}

impl Images {
    /// Returns some places of an integration's images, at most `limit`.
    pub(crate) async fn places(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        limit: usize,
    ) -> Result<Vec<KnownPlace>, StoreError> {
        let page = self
            .store
            .query(&places(scope, integration), "", None, limit)
            .await?;
        page.items.iter().map(Stored::parse).collect()
    }

    /// Says what is to be written to forget an image in a place of an integration.
    pub(crate) async fn forget(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        place: &KnownPlace,
    ) -> Result<Forgetting, StoreError> {
        let image = ImageRecord::read(&*self.store, scope, &place.digest).await?;
        let mut forgetting = image.forget(scope, integration, &place.place);
        let (key, condition) = (place.key(scope, integration), Condition::None);
        forgetting.writes.push(Write::Delete { key, condition });
        Ok(forgetting)
    }

    /// Forgets the names of a registry's repositories in which nothing lies any more.
    pub(crate) async fn forget_repositories(
        &self,
        scope: &TenantScope,
        registry: &RegistryId,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self
                .repositories(scope, Some(registry), after.as_ref(), 100)
                .await?;
            for repository in &page.items {
                let images = self.in_repository(scope, repository, None, 1).await?;
                if images.items.is_empty() {
                    let (key, condition) = (repository.key(scope), Condition::None);
                    crate::store::try_write(&*self.store, &[Write::Delete { key, condition }]).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
