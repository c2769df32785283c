//! Where an image lies, and what opens that place.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    ecr::{EcrImage, RegistryId},
    id::IntegrationId,
    image::{Location, Presence},
    object::ObjectError,
    session::{AssumeRole as _, Purpose, Session, SessionName, TrustedRole},
    work::{VerifyReason, VerifyRequest},
};
use portwarden_oci::{Digest, RepositoryName, Tag, Version};
use portwarden_registry::Credentials;

use crate::{Failure, LayerCache, Quiet, Scan, ScanError, Scanned, handler::Work, outcome::Dropped};

/// A repository of a registry, with the role that opens it.
pub(crate) struct Place {
    pub(crate) role: TrustedRole,
    pub(crate) integration: IntegrationId,
    pub(crate) registry: RegistryId,
    pub(crate) repository: RepositoryName,
}

/// Why a place cannot be opened.
pub(crate) enum Closed {
    /// Nobody may work for it.
    Dropped(Dropped),
    /// Its role is not proven.
    Unproven,
}

impl Place {
    /// Names the repository with its registry.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.registry.host(), self.repository)
    }

    fn is_at(&self, location: &Location) -> bool {
        (&self.registry.account, &self.registry.region, &self.repository)
            == (&location.account, &location.region, &location.repository)
    }
}

impl Work<'_> {
    /// Finds what opens a place, as things stand now.
    pub(crate) async fn open(
        &self,
        integration: &IntegrationId,
        registry: RegistryId,
        repository: &RepositoryName,
    ) -> Result<Result<Place, Closed>, Failure> {
        let roles = self.context.integrations.roles(&self.scope, integration).await?;
        let Some(roles) = roles else {
            return Ok(Err(Closed::Dropped(Dropped::NoIntegration)));
        };
        let dropped = if roles.integration.removed_at.is_some() {
            Some(Dropped::Removed)
        } else if !roles.has(&registry.region) {
            Some(Dropped::OtherRegion)
        } else {
            let account = roles.integration.account.as_ref();
            account
                .is_some_and(|account| *account != registry.account)
                .then_some(Dropped::OtherAccount)
        };
        if let Some(dropped) = dropped {
            return Ok(Err(Closed::Dropped(dropped)));
        }
        // A proven role lies in the integration's account, which is known by then.
        let role = roles
            .trusted_role(&registry.region)
            .filter(|role| *role.role().account() == registry.account);
        Ok(role.ok_or(Closed::Unproven).map(|role| Place {
            role,
            integration: integration.clone(),
            registry,
            repository: repository.clone(),
        }))
    }

    /// Finds the places where the image lies that were not tried before, with its tags there.
    pub(crate) async fn other_places(&self, tried: &[Place]) -> Result<Vec<(Place, BTreeSet<Tag>)>, Failure> {
        let images = &self.context.images;
        let mut places = Vec::new();
        for location in images.locations(&self.scope, &self.request.digest).await? {
            if tried.iter().any(|place| place.is_at(&location)) {
                continue;
            }
            let Presence::Present {
                tags,
                archived: false,
                ..
            } = location.presence
            else {
                continue;
            };
            let registry = RegistryId {
                account: location.account,
                region: location.region,
            };
            if let Ok(place) = self
                .open(&location.integration, registry, &location.repository)
                .await?
            {
                places.push((place, tags));
            }
        }
        Ok(places)
    }

    /// Asks ECR about the image.
    pub(crate) async fn describe(&self, place: &Place) -> Result<Option<EcrImage>, Failure> {
        let described = self
            .in_session(place, |session| {
                Box::pin(async move {
                    let ecr = &self.context.outside.ecr;
                    let image = ecr
                        .describe_image(&session, &place.registry, &place.repository, &self.request.digest)
                        .await?;
                    Ok(image)
                })
            })
            .await;
        self.report_denial(place, described).await
    }

    /// Scans the image in one place.
    pub(crate) async fn scan_at(&self, place: &Place, tags: &BTreeSet<Tag>) -> Result<Scanned, Failure> {
        let scanned = self
            .in_session(place, |session| {
                Box::pin(async move { self.scan_in_session(place, tags, &session).await })
            })
            .await;
        self.report_denial(place, scanned).await
    }

    async fn scan_in_session(
        &self,
        place: &Place,
        tags: &BTreeSet<Tag>,
        session: &Session,
    ) -> Result<Scanned, Failure> {
        let outside = &self.context.outside;
        let login = outside.ecr.login(session, &place.registry).await?;
        let credentials = Credentials::Basic {
            user: login.username,
            password: login.password,
        };
        let source = outside
            .registries
            .open(&place.registry.host(), &place.repository, credentials)
            .map_err(ScanError::from)?;
        let scan = Scan {
            source: &*source,
            cache: self,
            cataloguing: &*outside.cataloguing,
            progress: Arc::new(Quiet),
            clock: &*outside.clock,
            deadline: self.deadline.clone(),
            limits: outside.limits.clone(),
            parallel: outside.parallel,
            is_continued: self.request.continuation > 0,
        };
        let version = Version::Digest(self.request.digest);
        Ok(scan.run(&place.name(), tags.clone(), &version).await?)
    }

    /// Works in a session of the place's role, and once again in a new one if the first has expired meanwhile.
    pub(crate) async fn in_session<'w, T>(
        &'w self,
        place: &'w Place,
        work: impl Fn(Session) -> BoxFuture<'w, Result<T, Failure>> + Send + Sync,
    ) -> Result<T, Failure> {
        let sessions = &self.context.sessions;
        let name = SessionName::scan(&self.request.request);
        let session = sessions
            .assume_role(&place.role, Purpose::Registry, &name)
            .await?;
        match self.settled(session, &work).await {
            Err(failure) if failure.is_expired() => {
                sessions.forget(&place.role);
                let session = sessions
                    .assume_role(&place.role, Purpose::Registry, &name)
                    .await?;
                self.settled(session, &work).await
            }
            done => done,
        }
    }

    /// Works in a session, and adds the calls to its receipt whatever came of them.
    async fn settled<'w, T>(
        &self,
        session: Session,
        work: &(impl Fn(Session) -> BoxFuture<'w, Result<T, Failure>> + Send + Sync),
    ) -> Result<T, Failure> {
        let done = work(session.clone()).await;
        // What cannot be written now is added with the next work's.
        let _ = self.context.receipts.settle(&session).await;
        done
    }

    /// Has the connection tested if the tenant's side said no.
    async fn report_denial<T>(&self, place: &Place, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.as_ref().is_err_and(Failure::is_denied) {
            let request = VerifyRequest {
                tenant: self.request.tenant.clone(),
                integration: place.integration.clone(),
                region: place.registry.region.clone(),
                role: None,
                claim: None,
                said_at: None,
                reason: VerifyReason::AccessDenied,
                request: self.request.request.clone(),
                trace: self.request.trace,
                attempt: 0,
            };
            self.context.outside.verifications.queue_verify(&request).await?;
        }
        result
    }
}

/// Layers are known within one tenant only: a shared cache would tell one tenant what another one has.
#[async_trait]
impl LayerCache for Work<'_> {
    async fn get(&self, layer: &Digest) -> Result<Option<Vec<u8>>, ObjectError> {
        let key = self.scope.layer_object(layer, CATALOG_VERSION);
        self.context.outside.objects.read_object(&key).await
    }

    async fn put(&self, layer: &Digest, catalog: Vec<u8>) -> Result<(), ObjectError> {
        let key = self.scope.layer_object(layer, CATALOG_VERSION);
        let documents = &self.context.outside.documents;
        documents.write_object(&key, "application/json", catalog).await
    }
}
