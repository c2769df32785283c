use async_trait::async_trait;
use portwarden_core::{
    ecr::{
        DescribeImage, EcrError, EcrImage, ListRegistry, Listing, PageToken, ProbeEcr, RegistryId,
        RegistryLogin,
    },
    registry_scan::{ReadRegistryScan, RegistryFinding, RegistryScan, RegistryScanner},
    session::Session,
};
use portwarden_oci::{Digest, RepositoryName};

use crate::world::{Process, State};

impl Process {
    /// Calls the ECR of a registry with a session, as IAM lets it.
    async fn ecr<T: Send>(
        &self,
        action: &'static str,
        session: &Session,
        registry: &RegistryId,
        effect: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T, EcrError> {
        self.call(action, registry, |state| {
            self.use_session(state, action, &session.access_key_id, registry)?;
            Ok(effect(state))
        })
        .await
    }

    /// Lets a session be used if it lasts and is for this registry.
    pub(super) fn use_session(
        &self,
        state: &mut State,
        action: &'static str,
        key: &str,
        registry: &RegistryId,
    ) -> Result<(), EcrError> {
        let Some(session) = state.cloud.session(key).cloned() else {
            return Err(EcrError::Expired);
        };
        let checked = state.check_session(self.id, &session, registry);
        state.judge(checked);
        let now = state.now();
        if state.chance.per_mille(state.faults.expired) {
            state.figures.expired += 1;
            state.cloud.revoke(key, now);
            return Err(EcrError::Expired);
        }
        if session.ends <= now {
            return Err(EcrError::Expired);
        }
        let is_for_it = session.account == registry.account && session.region == registry.region;
        let source = "AccessDenied".into();
        if is_for_it {
            Ok(())
        } else {
            Err(EcrError::Denied { action, source })
        }
    }
}

#[async_trait]
impl DescribeImage for Process {
    async fn describe_image(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<EcrImage>, EcrError> {
        let spot = (registry.clone(), repository.clone());
        self.ecr("ecr:DescribeImages", session, registry, |state| {
            state.ecr.image(&spot, digest).cloned()
        })
        .await
    }

    async fn login(&self, session: &Session, registry: &RegistryId) -> Result<RegistryLogin, EcrError> {
        let password = session.access_key_id.clone().into();
        self.ecr("ecr:GetAuthorizationToken", session, registry, |_| {
            RegistryLogin {
                username: "AWS".to_owned(),
                password,
            }
        })
        .await
    }
}

/// Half of the images have been scanned by ECR itself.
#[async_trait]
impl ReadRegistryScan for Process {
    async fn registry_scan(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<RegistryScan>, EcrError> {
        let spot = (registry.clone(), repository.clone());
        self.ecr("ecr:DescribeImageScanFindings", session, registry, |state| {
            let is_scanned = digest.hex().as_str() < "8" && state.ecr.image(&spot, digest).is_some();
            is_scanned.then(|| RegistryScan {
                scanner: RegistryScanner::Basic,
                completed_at: None,
                truncated: false,
                findings: vec![RegistryFinding {
                    ids: vec!["CVE-2026-1".to_owned()],
                    package: "a".to_owned(),
                    severity: "LOW".to_owned(),
                    ..RegistryFinding::default()
                }],
            })
        })
        .await
    }
}

/// How many things a page of a listing has: so few that most repositories have several.
const PAGE: usize = 3;

/// Cuts a page out of a list; a token is the number of the next thing, whatever has come or gone in between.
fn page<T>(all: impl ExactSizeIterator<Item = T>, next: Option<&PageToken>) -> Listing<T> {
    let start: usize = next.and_then(|token| token.0.parse().ok()).unwrap_or_default();
    let (count, end) = (all.len(), start + PAGE);
    Listing {
        items: all.skip(start).take(PAGE).collect(),
        next: (end < count).then(|| PageToken(end.to_string())),
    }
}

#[async_trait]
impl ListRegistry for Process {
    async fn list_repositories(
        &self,
        session: &Session,
        registry: &RegistryId,
        next: Option<&PageToken>,
    ) -> Result<Listing<RepositoryName>, EcrError> {
        self.ecr("ecr:DescribeRepositories", session, registry, |state| {
            page(state.ecr.repositories(registry).into_iter(), next)
        })
        .await
    }

    async fn list_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        next: Option<&PageToken>,
    ) -> Result<Option<Listing<(Digest, EcrImage)>>, EcrError> {
        let spot = (registry.clone(), repository.clone());
        self.ecr("ecr:DescribeImages", session, registry, |state| {
            let images = state.ecr.images(&spot);
            let images = images.map(|(digest, image)| (digest, image.clone()));
            (images.len() > 0).then(|| page(images, next))
        })
        .await
    }
}

#[async_trait]
impl ProbeEcr for Process {
    async fn describe_repositories(
        &self,
        session: &Session,
        registry: &RegistryId,
    ) -> Result<Vec<RepositoryName>, EcrError> {
        self.ecr("ecr:DescribeRepositories", session, registry, |state| {
            state.ecr.repositories(registry)
        })
        .await
    }

    async fn describe_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        self.list("ecr:DescribeImages", session, registry, repository)
            .await
    }

    async fn list_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        self.list("ecr:ListImages", session, registry, repository).await
    }

    async fn batch_get_image(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, EcrError> {
        let spot = (registry.clone(), repository.clone());
        self.ecr("ecr:BatchGetImage", session, registry, |state| {
            state.ecr.image(&spot, digest)?;
            Some(state.warehouse.manifest(digest)?.bytes.to_vec())
        })
        .await
    }

    async fn get_download_url_for_layer(
        &self,
        session: &Session,
        registry: &RegistryId,
        _: &RepositoryName,
        _: &Digest,
    ) -> Result<(), EcrError> {
        self.ecr("ecr:GetDownloadUrlForLayer", session, registry, |_| ())
            .await
    }

    async fn batch_check_layer_availability(
        &self,
        session: &Session,
        registry: &RegistryId,
        _: &RepositoryName,
        _: &Digest,
    ) -> Result<(), EcrError> {
        self.ecr("ecr:BatchCheckLayerAvailability", session, registry, |_| ())
            .await
    }

    async fn get_authorization_token(
        &self,
        session: &Session,
        registry: &RegistryId,
    ) -> Result<(), EcrError> {
        self.ecr("ecr:GetAuthorizationToken", session, registry, |_| ())
            .await
    }
}

impl Process {
    async fn list(
        &self,
        action: &'static str,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        let spot = (registry.clone(), repository.clone());
        self.ecr(action, session, registry, |state| {
            let images = state.ecr.images(&spot);
            images.take(3).map(|(digest, _)| digest).collect()
        })
        .await
    }
}
