//! A tenant's registry through its role: patient, and in a new session when the old one has ended.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use portwarden_core::{
    ecr::{EcrError, EcrImage, Listing, RegistryId},
    id::RequestId,
    session::{AssumeRole as _, Purpose, Session, SessionName, TrustedRole},
    work::{InventoryRequest, KnownBy, ScanRequest},
};
use portwarden_oci::{Digest, RepositoryName};

use crate::{Context, Failure};

/// How long to wait before a call that was throttled is made again.
const BACK_OFF: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// A registry, and what opens it.
pub(crate) struct Registry<'a> {
    pub(crate) context: &'a Context,
    pub(crate) role: TrustedRole,
    pub(crate) id: RegistryId,
    pub(crate) session: SessionName,
    /// When to stop waiting.
    pub(crate) stop: Timestamp,
    /// The session that was used last, whose calls are not in its receipt yet.
    pub(crate) used: Mutex<Option<Session>>,
}

/// A listing that came to its end, or not in time.
pub(crate) enum Listed<T> {
    Whole(T),
    TimeOver,
}

impl Registry<'_> {
    /// Lists the names of all repositories.
    pub(crate) async fn repositories(&self) -> Result<Listed<Vec<RepositoryName>>, Failure> {
        let mut names = Vec::new();
        let mut next = None;
        loop {
            if self.is_over() {
                return Ok(Listed::TimeOver);
            }
            let page: Listing<RepositoryName> = self
                .ask(|session| {
                    let (ecr, next) = (&self.context.outside.ecr, next.as_ref());
                    Box::pin(async move { ecr.list_repositories(&session, &self.id, next).await })
                })
                .await?;
            names.extend(page.items);
            next = page.next;
            if next.is_none() {
                return Ok(Listed::Whole(names));
            }
        }
    }

    /// Lists a repository's images; none if it is not there.
    pub(crate) async fn images(
        &self,
        repository: &RepositoryName,
    ) -> Result<Listed<Option<Vec<(Digest, EcrImage)>>>, Failure> {
        let mut images = Vec::new();
        let mut next = None;
        loop {
            if self.is_over() {
                return Ok(Listed::TimeOver);
            }
            let page = self
                .ask(|session| {
                    let (ecr, next) = (&self.context.outside.ecr, next.as_ref());
                    Box::pin(async move { ecr.list_images(&session, &self.id, repository, next).await })
                })
                .await?;
            let Some(Listing { items, next: more }) = page else {
                return Ok(Listed::Whole(None));
            };
            images.extend(items);
            next = more;
            if next.is_none() {
                return Ok(Listed::Whole(Some(images)));
            }
        }
    }

    /// Has the scanner ask ECR about an image, and scan it if that has not been done.
    pub(crate) async fn queue(
        &self,
        inventory: &InventoryRequest,
        repository: &RepositoryName,
        digest: &Digest,
        known_by: KnownBy,
    ) -> Result<(), Failure> {
        let outside = &self.context.outside;
        let request = ScanRequest {
            tenant: inventory.tenant.clone(),
            integration: inventory.integration.clone(),
            account: self.id.account.clone(),
            region: self.id.region.clone(),
            repository: repository.clone(),
            digest: *digest,
            known_by,
            event: None,
            request: RequestId::generate(&*outside.randomness),
            trace: inventory.trace,
            since: outside.clock.now(),
            continuation: 0,
        };
        Ok(outside.scans.queue_scan(&request).await?)
    }

    /// Adds the calls that were made to the receipt of their session.
    pub(crate) async fn settle(&self) {
        let used = self.used().take();
        if let Some(session) = used {
            self.add_calls(&session).await;
        }
    }

    async fn use_session(&self, session: &Session) {
        let before = self.used().replace(session.clone());
        if let Some(before) = before.filter(|before| before.access_key_id != session.access_key_id) {
            self.add_calls(&before).await;
        }
    }

    async fn add_calls(&self, session: &Session) {
        // What cannot be written now is added with the next work's.
        let _ = self.context.receipts.settle(session).await;
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.context.outside.clock.now() >= self.stop
    }

    /// Makes a call, again after a while if ECR is asked too much, and in a new session if the old one has ended.
    async fn ask<'w, T>(
        &'w self,
        call: impl Fn(Session) -> BoxFuture<'w, Result<T, EcrError>> + Send + Sync,
    ) -> Result<T, Failure> {
        let sessions = &self.context.sessions;
        let mut waits = BACK_OFF.iter();
        let mut is_renewed = false;
        loop {
            let session = sessions
                .assume_role(&self.role, Purpose::Registry, &self.session)
                .await?;
            self.use_session(&session).await;
            match call(session).await {
                Err(EcrError::Expired) if !is_renewed => {
                    sessions.forget(&self.role);
                    is_renewed = true;
                }
                Err(error @ (EcrError::Throttled | EcrError::Unreachable(_))) => match waits.next() {
                    Some(wait) if !self.is_over() => self.context.outside.clock.sleep(*wait).await,
                    _ => return Err(error.into()),
                },
                answer => return Ok(answer?),
            }
        }
    }
}
