//! One repository: ECR's whole listing, what is known of it, and what follows from the difference.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use portwarden_core::{
    ecr::EcrImage,
    image::{Location, Presence, RepositoryId},
    reconcile::{Changed, Comparing, Comparison, Look},
    scope::TenantScope,
    work::{InventoryRequest, KnownBy},
};
use portwarden_oci::{Digest, RepositoryName};

use crate::{
    Failure,
    registry::{Listed, Registry},
};

/// How many images are noted at the same time.
const PARALLEL: usize = 16;

/// After how many images the time is looked at.
const CHUNK: usize = 64;

/// How many known images are read at once.
const PAGE: usize = 1000;

/// The work on one repository.
pub(crate) struct Repository<'a> {
    pub(crate) registry: &'a Registry<'a>,
    pub(crate) request: &'a InventoryRequest,
    pub(crate) scope: &'a TenantScope,
    pub(crate) name: &'a RepositoryName,
    pub(crate) kind: KnownBy,
    pub(crate) started_at: Timestamp,
}

/// How far the work came.
pub(crate) enum Progress {
    /// All is done.
    Whole(Box<Comparison>),
    /// The time is over; tells whether something was done at all.
    TimeOver {
        /// How many images were queued or noted.
        done: usize,
    },
}

impl Repository<'_> {
    /// Compares the repository and acts on what is found; `is_listed` tells whether ECR listed it.
    pub(crate) async fn compare(&self, is_listed: bool) -> Result<Progress, Failure> {
        let listed_at = self.now();
        let listed = if is_listed {
            match self.registry.images(self.name).await? {
                Listed::Whole(listed) => listed.unwrap_or_default(),
                Listed::TimeOver => return Ok(Progress::TimeOver { done: 0 }),
            }
        } else {
            Vec::new()
        };
        let look = Look {
            kind: self.kind,
            started_at: self.started_at,
            listed_at,
        };
        let mut comparing = Comparing::new(look, listed);
        let repository = RepositoryId::in_registry(&self.registry.id, self.name.clone());
        let images = &self.registry.context.images;
        let mut after = None;
        loop {
            let known = images
                .in_repository(self.scope, &repository, after.as_ref(), PAGE)
                .await?;
            for located in &known.items {
                comparing.meet(located, self.name);
            }
            after = known.next;
            if after.is_none() {
                break;
            }
        }
        let comparison = comparing.end(self.name);
        self.act(comparison, listed_at).await
    }

    async fn act(&self, comparison: Comparison, listed_at: Timestamp) -> Result<Progress, Failure> {
        let mut done = 0;
        for chunk in comparison.new.chunks(CHUNK) {
            if self.registry.is_over() {
                return Ok(Progress::TimeOver { done });
            }
            // Begun in their order, so that the newest are queued first.
            let additions = chunk
                .iter()
                .map(|(digest, image)| self.add(digest, image, listed_at).boxed());
            at_once(additions.collect()).await?;
            done += chunk.len();
        }
        for chunk in comparison.changed.chunks(CHUNK) {
            if self.registry.is_over() {
                return Ok(Progress::TimeOver { done });
            }
            let changes = chunk
                .iter()
                .map(|changed| self.change(changed, listed_at).boxed());
            at_once(changes.collect()).await?;
            done += chunk.len();
        }
        // Last, since a look that was queued leaves no trace here: an invocation that comes again queues it again.
        for chunk in comparison.gone.chunks(CHUNK) {
            at_once(chunk.iter().map(|digest| self.queue(digest).boxed()).collect()).await?;
        }
        Ok(Progress::Whole(Box::new(comparison)))
    }

    /// Queues an image that was not known, and then notes it.
    async fn add(&self, digest: &Digest, image: &EcrImage, listed_at: Timestamp) -> Result<(), Failure> {
        if !image.archived {
            self.queue(digest).await?;
        }
        self.note(digest, image.presence(), listed_at).await
    }

    async fn change(&self, changed: &Changed, listed_at: Timestamp) -> Result<(), Failure> {
        if changed.is_restored {
            self.queue(&changed.digest).await?;
        }
        self.note(&changed.digest, changed.image.presence(), listed_at)
            .await
    }

    async fn note(&self, digest: &Digest, presence: Presence, listed_at: Timestamp) -> Result<(), Failure> {
        let location = Location {
            integration: self.request.integration.clone(),
            account: self.registry.id.account.clone(),
            region: self.registry.id.region.clone(),
            repository: self.name.clone(),
            presence,
            // The answer is at least as new as this, so an older one never wins over a newer one.
            observed_at: listed_at,
            known_by: self.kind,
            known_at: self.now(),
        };
        let images = &self.registry.context.images;
        Ok(images.observe(self.scope, digest, &location).await?)
    }

    async fn queue(&self, digest: &Digest) -> Result<(), Failure> {
        self.registry
            .queue(self.request, self.name, digest, self.kind)
            .await
    }

    fn now(&self) -> Timestamp {
        self.registry.context.outside.clock.now()
    }
}

/// Does some of the work at the same time, each piece begun in its order.
pub(crate) async fn at_once(work: Vec<BoxFuture<'_, Result<(), Failure>>>) -> Result<(), Failure> {
    stream::iter(work).buffered(PARALLEL).try_collect().await
}
