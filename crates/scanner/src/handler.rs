//! From messages of the queue to scans, one message after the other.

use std::{collections::BTreeSet, sync::Arc};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use jiff::{SignedDuration, Timestamp};
use portwarden_aws::{Line, Metric, Service};
use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    announce::{Announcement, CoverageChanged, ImageScanned},
    ecr::RegistryId,
    image::{Claimed, Location, Presence, ScanLease, ScanResult, ScanSummary},
    object::{Document, ObjectKey},
    problem::chain,
    scope::TenantScope,
    work::{KnownBy, ScanRequest},
};
use portwarden_oci::{Digest, Tag};
use portwarden_report::Report;

use crate::{
    Context, Deadline, Failure, Outcome, Refusal, ScanError, Scanned, outcome,
    place::{Closed, Place},
};

/// Works on a batch of messages until `ends`, when the function is killed.
///
/// Every message that is not in the answer is done; those in the answer are delivered again.
pub async fn handle(context: &Context, batch: SqsEvent, ends: Timestamp) -> SqsBatchResponse {
    let started = context.outside.clock.now();
    // The rest of the time is for saving what is finished.
    let stop = started + ends.duration_since(started) * 4 / 5;
    let deadline = Deadline::at(Arc::clone(&context.outside.clock), stop);
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let body = message.body.unwrap_or_default();
        let is_done = match serde_json::from_str::<ScanRequest>(&body) {
            Ok(request) => look_and_tell(context, &request, &deadline, ends).await,
            Err(error) => {
                let failure = Failure::Message(error);
                Line {
                    message: message.message_id.as_deref(),
                    code: Some(failure.code()),
                    fault: Some(failure.fault()),
                    error: Some(chain(&failure)),
                    ..Line::of(Service::Scanner, "failed")
                }
                .error("message goes back to the queue");
                let metrics = &context.outside.metrics;
                metrics.count(Metric::ScansFailed {
                    fault: failure.fault(),
                });
                false
            }
        };
        if !is_done {
            // Without an id Lambda takes the whole batch for failed, which loses nothing either.
            response.add_failure(message.message_id.unwrap_or_default());
        }
    }
    response
}

async fn look_and_tell(
    context: &Context,
    request: &ScanRequest,
    deadline: &Deadline,
    ends: Timestamp,
) -> bool {
    let clock = &context.outside.clock;
    let started = clock.now();
    let outcome = look(context, request, deadline.clone(), ends).await;
    let told = outcome::Told {
        request,
        started,
        now: clock.now(),
    };
    told.log(&outcome);
    told.measure(&outcome, &context.outside.metrics);
    outcome.is_ok_and(|outcome| outcome.is_final())
}

/// Looks at an image in ECR, and scans it if that has not been done; then the event that led here is settled.
pub async fn look(
    context: &Context,
    request: &ScanRequest,
    deadline: Deadline,
    ends: Timestamp,
) -> Result<Outcome, Failure> {
    let work = Work {
        context,
        request,
        scope: request.scope(),
        deadline,
        ends,
    };
    let outcome = work.look().await?;
    if let Some(event) = request.event.as_ref().filter(|_| outcome.is_final()) {
        context
            .events
            .settle(&work.scope, &request.integration, event)
            .await?;
    }
    Ok(outcome)
}

/// The work on one request.
pub(crate) struct Work<'a> {
    pub(crate) context: &'a Context,
    pub(crate) request: &'a ScanRequest,
    pub(crate) scope: TenantScope,
    /// When to stop pulling layers.
    pub(crate) deadline: Deadline,
    /// When the function is killed.
    ends: Timestamp,
}

/// How much longer than the invocation a lease lasts, since clocks differ.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(60);

impl Work<'_> {
    async fn look(&self) -> Result<Outcome, Failure> {
        if self.deadline.is_over() {
            return Err(Failure::TimeOver);
        }
        let ScanRequest {
            integration,
            account,
            region,
            repository,
            digest,
            ..
        } = self.request;
        let registry = RegistryId {
            account: account.clone(),
            region: region.clone(),
        };
        let place = match self.open(integration, registry, repository).await? {
            Ok(place) => place,
            Err(Closed::Dropped(why)) => return Ok(Outcome::Dropped(why)),
            Err(Closed::Unproven) => return Err(Failure::Unproven),
        };
        if self.request.known_by == KnownBy::Event {
            // What came as an event came over the path that the tenant's stack made.
            self.context
                .integrations
                .record_heartbeat(&self.scope, integration, region, self.request.since, None)
                .await?;
            self.hear().await?;
        }
        let Some((tags, archived)) = self.observe(&place).await? else {
            self.leave().await?;
            return Ok(Outcome::Deleted);
        };
        if archived {
            self.leave().await?;
            return Ok(Outcome::Archived);
        }
        let now = self.context.outside.clock.now();
        let claimed = self
            .context
            .images
            .claim_scan(
                &self.scope,
                digest,
                CATALOG_VERSION,
                &self.request.request,
                now,
                self.ends + LEASE_MARGIN,
            )
            .await?;
        match claimed {
            Claimed::Ours(lease) => self.scan(lease, place, tags).await,
            Claimed::Held { until } => Ok(Outcome::Held { until }),
            Claimed::Done(summary) => {
                if !summary.announced {
                    self.announce(&summary, &place, &tags).await?;
                }
                self.match_known().await?;
                self.tell_changes().await?;
                if matches!(summary.result, ScanResult::Reported { .. }) {
                    self.merge_registry_scan(&place).await?;
                }
                Ok(Outcome::Known)
            }
        }
    }

    /// Takes back that no event tells of pushes, now that one does; told first, so that a crash tells it twice and not never.
    async fn hear(&self) -> Result<(), Failure> {
        let ScanRequest {
            integration,
            region,
            since,
            ..
        } = self.request;
        let inventories = &self.context.inventories;
        if !inventories
            .is_heard(&self.scope, integration, region, *since)
            .await?
        {
            return Ok(());
        }
        let changed = CoverageChanged {
            tenant: self.request.tenant.clone(),
            integration: integration.clone(),
            region: region.clone(),
            missed: None,
            at: self.context.outside.clock.now(),
            trace_id: self.request.trace,
        };
        let changed = Announcement::CoverageChanged(changed);
        self.context.outside.bus.announce(&changed).await?;
        inventories
            .forget_missed(&self.scope, integration, region)
            .await?;
        Ok(())
    }

    /// Asks ECR about the image and notes the answer; returns its tags and whether it is archived, if it is there.
    async fn observe(&self, place: &Place) -> Result<Option<(BTreeSet<Tag>, bool)>, Failure> {
        // The answer is at least as new as this, so an older one never wins over a newer one.
        let observed_at = self.context.outside.clock.now();
        let image = self.describe(place).await?;
        let presence = match &image {
            Some(image) => Presence::Present {
                tags: image.tags.clone(),
                pushed_at: image.pushed_at,
                archived: image.archived,
            },
            None => Presence::Deleted,
        };
        let location = Location {
            integration: place.integration.clone(),
            account: place.registry.account.clone(),
            region: place.registry.region.clone(),
            repository: place.repository.clone(),
            presence,
            observed_at,
            known_by: self.request.known_by,
            known_at: self.request.since,
        };
        let images = &self.context.images;
        images
            .observe(&self.scope, &self.request.digest, &location)
            .await?;
        Ok(image.map(|image| (image.tags, image.archived)))
    }

    /// Scans the image here, or else in any other place where it lies.
    async fn scan(&self, lease: ScanLease, here: Place, tags: BTreeSet<Tag>) -> Result<Outcome, Failure> {
        let mut waiting = vec![(here, tags)];
        let mut tried = Vec::new();
        let mut corrupt = None;
        let mut failed = None;
        loop {
            for (place, tags) in std::mem::take(&mut waiting) {
                if self.deadline.is_over() {
                    return Err(failed.unwrap_or(Failure::TimeOver));
                }
                match self.scan_at(&place, &tags).await {
                    Ok(Scanned::Finished(report)) => {
                        let report = Report {
                            trace_id: Some(self.request.trace),
                            ..report
                        };
                        return self.report(&lease, &place, &report).await;
                    }
                    Ok(Scanned::Unfinished { pulled_layers }) => {
                        return self.go_on_later(pulled_layers).await;
                    }
                    Err(Failure::Scan(ScanError::Refused(refusal))) => {
                        return self.refuse(&lease, &place, &tags, &refusal).await;
                    }
                    Err(Failure::Scan(ScanError::Corrupt(source))) => corrupt = Some((tags, source)),
                    Err(failure) if failure.is_of_place() => {
                        Line {
                            integration: Some(&place.integration),
                            account: Some(&place.registry.account),
                            region: Some(&place.registry.region),
                            repository: Some(&place.repository),
                            code: Some(failure.code()),
                            fault: Some(failure.fault()),
                            error: Some(chain(&failure)),
                            ..Line::of_scan("place_failed", self.request)
                        }
                        .warn("image not read in one place");
                        failed = Some(failure);
                    }
                    Err(failure) => return Err(failure),
                }
                tried.push(place);
            }
            waiting = self.other_places(&tried).await?;
            if !waiting.is_empty() {
                continue;
            }
            // The content is as bad wherever we could read it.
            if let (None, Some((tags, source)), Some(place)) = (&failed, corrupt.take(), tried.last()) {
                return self.refuse(&lease, place, &tags, &Refusal::Corrupt(source)).await;
            }
            self.context.images.release_scan(&self.scope, &lease).await?;
            return Err(failed.unwrap_or(Failure::LeaseLost));
        }
    }

    async fn go_on_later(&self, pulled_layers: usize) -> Result<Outcome, Failure> {
        let rest = ScanRequest {
            continuation: self.request.continuation.saturating_add(1),
            ..self.request.clone()
        };
        self.context.outside.scans.queue_scan(&rest).await?;
        Ok(Outcome::Continued { pulled_layers })
    }

    /// Writes the documents first, so that whoever reads that the scan is done finds them.
    async fn report(&self, lease: &ScanLease, place: &Place, report: &Report) -> Result<Outcome, Failure> {
        let documents = &self.context.outside.documents;
        let digest = &self.request.digest;
        for platform in &report.platforms {
            let key = self.object(&platform.digest, Document::CycloneDx);
            let sbom = report.cyclonedx(platform);
            documents.write_object(&key, CYCLONEDX, sbom).await?;
        }
        // An index has its main platform's SBOM, which says whose it is.
        if let Some(main) = report
            .main_platform()
            .filter(|platform| platform.digest != *digest)
        {
            let key = self.object(digest, Document::CycloneDx);
            let sbom = report.cyclonedx(main);
            documents.write_object(&key, CYCLONEDX, sbom).await?;
        }
        let key = self.object(digest, Document::Report);
        documents
            .write_object(&key, "application/json", report.to_json())
            .await?;
        self.match_image(report).await?;
        let result = ScanResult::Reported {
            packages: report.package_count,
            partial: report.partial,
            pulled_bytes: report.pulled_bytes,
            spared_bytes: report.spared_bytes,
        };
        let outcome = self.finish(lease, place, &report.image.tags, result).await?;
        // Whoever crashes before this finds the scan done, and comes here, too.
        self.tell_changes().await?;
        self.merge_registry_scan(place).await?;
        Ok(outcome)
    }

    async fn refuse(
        &self,
        lease: &ScanLease,
        place: &Place,
        tags: &BTreeSet<Tag>,
        refusal: &Refusal,
    ) -> Result<Outcome, Failure> {
        let problem = refusal.problem();
        self.finish(lease, place, tags, ScanResult::Refused { problem })
            .await
    }

    async fn finish(
        &self,
        lease: &ScanLease,
        place: &Place,
        tags: &BTreeSet<Tag>,
        result: ScanResult,
    ) -> Result<Outcome, Failure> {
        let now = self.context.outside.clock.now();
        let images = &self.context.images;
        let summary = images
            .finish_scan(&self.scope, lease, self.request.trace, now, result)
            .await?;
        self.announce(&summary, place, tags).await?;
        Ok(Outcome::Scanned(summary.result))
    }

    /// Tells everyone who listens; a crash before the mark leads to a second announcement and never to none.
    async fn announce(
        &self,
        summary: &ScanSummary,
        place: &Place,
        tags: &BTreeSet<Tag>,
    ) -> Result<(), Failure> {
        let digest = self.request.digest;
        let is_reported = matches!(summary.result, ScanResult::Reported { .. });
        let name = |document| is_reported.then(|| self.object(&digest, document).to_string());
        let scanned = ImageScanned {
            tenant: self.request.tenant.clone(),
            integration: place.integration.clone(),
            account: place.registry.account.clone(),
            region: place.registry.region.clone(),
            repository: place.repository.clone(),
            digest,
            tags: tags.iter().cloned().collect(),
            catalog_version: CATALOG_VERSION,
            outcome: summary.result.clone(),
            report: name(Document::Report),
            sbom: name(Document::CycloneDx),
            findings: self.finding_counts().await?,
            at: summary.at,
            trace_id: summary.trace,
        };
        self.context
            .outside
            .bus
            .announce(&Announcement::ImageScanned(Box::new(scanned)))
            .await?;
        let images = &self.context.images;
        images
            .mark_announced(&self.scope, &digest, CATALOG_VERSION)
            .await?;
        Ok(())
    }

    fn object(&self, digest: &Digest, document: Document) -> ObjectKey {
        self.scope.image_object(digest, CATALOG_VERSION, document)
    }
}

/// Source: the CycloneDX specification overview, "Recognized file patterns and media types".
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
