//! A run over all repositories of a region, which goes on where it stopped.

use std::collections::BTreeMap;

use portwarden_core::{
    announce::{Announcement, CoverageChanged},
    integration::Connection,
    reconcile::{Begun, Findings, RepositoryCoverage, Run},
    scope::TenantScope,
    work::{InventoryRequest, KnownBy},
};
use portwarden_oci::{Digest, RepositoryName};

use crate::{
    Failure,
    outcome::{Dropped, Outcome},
    registry::{Listed, Registry},
    repository::{Progress, Repository},
};

/// The work on one request.
pub(crate) struct Work<'a> {
    pub(crate) registry: Registry<'a>,
    pub(crate) request: &'a InventoryRequest,
    pub(crate) scope: TenantScope,
    /// The repositories that the stack of the region says its role may read; all where there are none.
    pub(crate) included: &'a [RepositoryName],
    /// Until when a run is held: longer than the invocation and the wait for the next one take.
    pub(crate) held_until: jiff::Timestamp,
}

/// What is to be done with the rest of a run.
pub(crate) enum Ended {
    Whole(Findings),
    /// The time is over.
    Unfinished(Findings),
    Dropped(Dropped),
}

/// How many known repositories are read at once.
const PAGE: usize = 1000;

impl Work<'_> {
    /// Compares all repositories, as far as there is time.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<Ended, Failure> {
        let context = self.registry.context;
        let now = context.outside.clock.now();
        let begun = context
            .inventories
            .begin(self.request, now, self.held_until)
            .await?;
        let mut run = match begun {
            Begun::Ours(run) => *run,
            Begun::Held { .. } => return Ok(Ended::Dropped(Dropped::Held)),
            Begun::Done => return Ok(Ended::Dropped(Dropped::Done)),
        };
        let Some(names) = self.names().await? else {
            return Ok(Ended::Unfinished(run.found));
        };
        if run.done.is_none() {
            self.queue_waiting(&mut run).await?;
        }
        let mut is_first = true;
        for (name, is_listed) in &names {
            if run.done.as_ref().is_some_and(|done| name <= done) {
                continue;
            }
            match self.repository(&run, name, *is_listed).await? {
                Compared::Done(found, coverage) => {
                    run.found = *found;
                    run.done = Some(name.clone());
                    context
                        .inventories
                        .save(self.request, &run, name, coverage.as_ref())
                        .await?;
                }
                Compared::TimeOver { done } => {
                    // A whole invocation was not enough to list it once: the next sweep tries again.
                    if is_first && done == 0 && self.request.continuation > 0 {
                        run.found.unread += 1;
                        run.done = Some(name.clone());
                        let coverage = self.unread(name, "time_over");
                        context
                            .inventories
                            .save(self.request, &run, name, Some(&coverage))
                            .await?;
                    }
                    return Ok(Ended::Unfinished(run.found));
                }
            }
            is_first = false;
        }
        self.look_elsewhere(connection).await?;
        self.tell(&run).await?;
        context
            .inventories
            .finish(self.request, &run, context.outside.clock.now())
            .await?;
        Ok(Ended::Whole(run.found))
    }

    /// Compares one repository outside of a run.
    pub(crate) async fn look(&self, name: &RepositoryName) -> Result<Outcome, Failure> {
        let context = self.registry.context;
        let now = context.outside.clock.now();
        let run = Run {
            kind: KnownBy::Reconcile,
            started_at: now,
            request: self.request.request.clone(),
            held_until: now,
            done: None,
            found: Findings::default(),
        };
        match self.repository(&run, name, true).await? {
            Compared::Done(found, coverage) => {
                let inventories = &context.inventories;
                inventories
                    .save_repository(self.request, name, coverage.as_ref())
                    .await?;
                Ok(Outcome::Looked(*found))
            }
            Compared::TimeOver { .. } => Ok(Outcome::Continued(run.found)),
        }
    }

    /// Returns the repositories that ECR lists, and those that it did once, each with whether it does now.
    async fn names(&self) -> Result<Option<BTreeMap<RepositoryName, bool>>, Failure> {
        let Listed::Whole(listed) = self.registry.repositories().await? else {
            return Ok(None);
        };
        let mut names: BTreeMap<RepositoryName, bool> = BTreeMap::new();
        let images = &self.registry.context.images;
        let mut after = None;
        loop {
            let known = images
                .repositories(&self.scope, Some(&self.registry.id), after.as_ref(), PAGE)
                .await?;
            names.extend(known.items.into_iter().map(|known| (known.repository, false)));
            after = known.next;
            if after.is_none() {
                break;
            }
        }
        names.extend(listed.into_iter().map(|name| (name, true)));
        Ok(Some(names))
    }

    async fn repository(
        &self,
        run: &Run,
        name: &RepositoryName,
        is_listed: bool,
    ) -> Result<Compared, Failure> {
        let mut found = run.found.clone();
        if !self.includes(name) {
            found.unread += 1;
            let coverage = self.unread(name, NOT_INCLUDED);
            return Ok(Compared::Done(Box::new(found), Some(coverage)));
        }
        let repository = Repository {
            registry: &self.registry,
            request: self.request,
            scope: &self.scope,
            name,
            kind: run.kind,
            started_at: run.started_at,
        };
        let comparison = match repository.compare(is_listed).await {
            Ok(Progress::Whole(comparison)) => comparison,
            Ok(Progress::TimeOver { done }) => return Ok(Compared::TimeOver { done }),
            Err(Failure::Ecr(error)) if is_of_repository(&error) => {
                found.unread += 1;
                let coverage = self.unread(name, Failure::Ecr(error).code());
                return Ok(Compared::Done(Box::new(found), Some(coverage)));
            }
            Err(failure) => return Err(failure),
        };
        found.add(&comparison);
        let coverage = RepositoryCoverage {
            repository: name.clone(),
            at: self.registry.context.outside.clock.now(),
            images: comparison.known,
            unread: None,
        };
        let is_there = is_listed || comparison.known.total() > 0;
        Ok(Compared::Done(Box::new(found), is_there.then_some(coverage)))
    }

    /// Tells whether the stack of the region lets the repository be read.
    pub(crate) fn includes(&self, name: &RepositoryName) -> bool {
        self.included.is_empty() || self.included.contains(name)
    }

    /// Has the scanner ask ECR about an image, and scan it if that has not been done.
    pub(crate) async fn queue(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        kind: KnownBy,
    ) -> Result<(), Failure> {
        self.registry.queue(self.request, repository, digest, kind).await
    }

    fn unread(&self, name: &RepositoryName, code: &str) -> RepositoryCoverage {
        RepositoryCoverage {
            repository: name.clone(),
            at: self.registry.context.outside.clock.now(),
            images: portwarden_core::reconcile::HowKnown::default(),
            unread: Some(code.to_owned()),
        }
    }

    /// Tells when pushes were missed, or are no more; before it is stored, so that a crash tells it twice and not never.
    async fn tell(&self, run: &Run) -> Result<(), Failure> {
        let context = self.registry.context;
        let (inventories, now) = (&context.inventories, context.outside.clock.now());
        let (integration, region) = (&self.request.integration, &self.request.region);
        let before = inventories.missed(&self.scope, integration, region).await?;
        let missed = run.found.missed_after(before.as_ref(), run.kind);
        if before == missed {
            return Ok(());
        }
        let changed = CoverageChanged {
            tenant: self.request.tenant.clone(),
            integration: integration.clone(),
            region: region.clone(),
            missed: missed.clone(),
            at: now,
            trace_id: self.request.trace,
        };
        context
            .outside
            .bus
            .announce(&Announcement::CoverageChanged(changed))
            .await?;
        match &missed {
            Some(missed) => inventories.note_missed(self.request, missed, now).await?,
            None => {
                inventories
                    .forget_missed(&self.scope, integration, region)
                    .await?;
            }
        }
        Ok(())
    }
}

/// The stack of the region leaves the repository out, at the tenant's wish.
const NOT_INCLUDED: &str = "not_included";

enum Compared {
    Done(Box<Findings>, Option<RepositoryCoverage>),
    TimeOver { done: usize },
}

/// A repository may have a policy of its own that says no; the others can still be read.
fn is_of_repository(error: &portwarden_core::ecr::EcrError) -> bool {
    use portwarden_core::ecr::EcrError;
    matches!(error, EcrError::Denied { .. } | EcrError::KeyClosed(_))
}
