//! Images whose scan was never finished: their messages may lie among the dead letters, or be lost.

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use portwarden_core::{image::WaitingImage, reconcile::Run};

use crate::{Failure, repository::at_once, run::Work};

/// How long a scan may wait by itself: less than a day, so that the next sweep finds what this one has not.
const PATIENCE: SignedDuration = SignedDuration::from_hours(20);

/// How many images a run queues again at most.
const MOST: usize = 10_000;

/// How many are read at once.
const PAGE: usize = 500;

impl Work<'_> {
    /// Queues the images of the region that have waited for their scan for too long, those that have waited longest first.
    ///
    /// One that is still in the queue is scanned once, whoever takes it up first.
    pub(crate) async fn queue_waiting(&self, run: &mut Run) -> Result<(), Failure> {
        let outside = &self.registry.context.outside;
        let before = outside.clock.now() - PATIENCE;
        let kind = run.kind;
        let of_region = (&self.request.integration, &self.request.region);
        let has_waited = |image: &&WaitingImage| image.known_at < before;
        let mut after = None;
        let mut count = 0;
        while count < MOST && !self.registry.is_over() {
            let images = &self.registry.context.images;
            let page = images
                .waiting(&self.scope, of_region, after.as_ref(), PAGE)
                .await?;
            let old = page.items.iter().take_while(has_waited);
            let old: Vec<&WaitingImage> = old.take(MOST - count).collect();
            let is_last = old.len() < page.items.len();
            count += old.len();
            let readable = old.into_iter().filter(|image| self.includes(&image.repository));
            let queue = |image: &WaitingImage| {
                let (repository, digest) = (image.repository.clone(), image.digest);
                async move { self.queue(&repository, &digest, kind).await }.boxed()
            };
            let queued: Vec<_> = readable.map(queue).collect();
            run.found.waited += u64::try_from(queued.len()).unwrap_or(u64::MAX);
            at_once(queued).await?;
            after = page.next;
            if is_last || after.is_none() {
                break;
            }
        }
        Ok(())
    }
}
