use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use portwarden_core::ecr::{EcrError, RegistryId};
use portwarden_oci::{Descriptor, RepositoryName, Version};
use portwarden_registry::{Blob, Credentials, FetchedManifest, ImageSource, OpenRegistry, RegistryError};
use secrecy::ExposeSecret as _;

use crate::{
    agenda::Pause,
    breach::{Invariant, hold},
    ecr::Spot,
    world::{Process, State},
};

/// A repository, opened with the password that a session was given.
struct Source {
    process: Process,
    spot: Spot,
    key: String,
}

impl OpenRegistry for Process {
    fn open(
        &self,
        host: &str,
        repository: &RepositoryName,
        credentials: Credentials,
    ) -> Result<Arc<dyn ImageSource>, RegistryError> {
        let parts: Vec<&str> = host.split('.').collect();
        let registry = match (parts[..].first_chunk(), &credentials) {
            (Some([account, "dkr", "ecr", region]), Credentials::Basic { .. }) => {
                let account = account.parse().ok();
                let region = region.parse().ok();
                account
                    .zip(region)
                    .map(|(account, region)| RegistryId { account, region })
            }
            _ => None,
        };
        let state = &mut *self.world.state();
        let checked = hold(registry.is_some(), Invariant::NoCrossTenantByte, || {
            format!("{host} is opened, which is nobody's registry")
        });
        state.judge(checked);
        let registry = registry.ok_or_else(|| RegistryError::Host(host.to_owned()))?;
        let key = match credentials {
            Credentials::Basic { password, .. } => password.expose_secret().to_owned(),
            Credentials::Anonymous => String::new(),
        };
        Ok(Arc::new(Source {
            process: self.clone(),
            spot: (registry, repository.clone()),
            key,
        }))
    }
}

impl Source {
    fn enter(&self, state: &mut State, action: &'static str) -> Result<(), RegistryError> {
        let host = self.spot.0.host();
        let used = self.process.use_session(state, action, &self.key, &self.spot.0);
        used.map_err(|error| match error {
            EcrError::Denied { .. } => RegistryError::Denied {
                host,
                subject: self.spot.1.to_string(),
                code: None,
            },
            _ => RegistryError::Unauthorized { host, code: None },
        })
    }
}

#[async_trait]
impl ImageSource for Source {
    async fn manifest(&self, version: &Version) -> Result<FetchedManifest, RegistryError> {
        let missing = || RegistryError::NotFound {
            subject: version.to_string(),
        };
        let Version::Digest(digest) = version else {
            return Err(missing());
        };
        self.process
            .call("registry manifest", digest, |state| {
                self.enter(state, "registry manifest")?;
                let here = state.ecr.image(&self.spot, digest);
                let manifest = here
                    .and_then(|_| state.warehouse.manifest(digest))
                    .ok_or_else(missing)?;
                let media_type = manifest.media_type.as_str();
                FetchedManifest::verify(manifest.bytes.clone(), Some(*digest), Some(media_type))
            })
            .await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<Blob, RegistryError> {
        let digest = descriptor.digest;
        let (content, ready_at) = self
            .process
            .call("registry blob", digest, |state| {
                self.enter(state, "registry blob")?;
                let content = state.warehouse.blob(&digest).cloned();
                let content = content.ok_or_else(|| RegistryError::NotFound {
                    subject: digest.to_string(),
                })?;
                // Now and then a layer takes most of an invocation's time, or more.
                let slow = state.chance.per_mille(state.faults.slow);
                let wait = Duration::from_secs(if slow { state.chance.between(200, 900) } else { 0 });
                Ok::<_, RegistryError>((content, state.now() + wait))
            })
            .await?;
        let world = Arc::clone(&self.process.world);
        let pieces = stream::once(async move {
            Pause::until(&world, ready_at).await;
            Ok::<Bytes, _>(content)
        });
        Ok(Blob::new(descriptor, pieces))
    }
}
