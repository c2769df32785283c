//! What is told of an image: another one under the same tag, or the same one by another database.

use std::collections::BTreeMap;

use jiff::Timestamp;
use portwarden_core::{
    id::{NotificationId, TenantId},
    image::{ChangeCounts, Location},
    inventory::{ImageState, TagPlace, Tagged},
    notification::{Notification, NotificationKind, TellError},
    scope::TenantScope,
    trace::TraceId,
};
use portwarden_oci::Digest;
use portwarden_report::{
    ChangeReason, ChangedPlace, Changes, FindingsChanged, ImageFindings, Report, Snapshot, compare,
};

use crate::{Loaded, MatchError, Matcher, matcher::ATTEMPTS};

/// What a tag named before, and the tags that named it.
type Moved = BTreeMap<Option<Digest>, (Option<Tagged>, Vec<TagPlace>)>;

impl Matcher {
    /// Compares an image with those that its tags named before, and tells what changed; tags without one before are noted.
    ///
    /// An image that waits for a database waits with this, too. Whatever was noted and not told before is told now.
    pub async fn compare_tags(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        trace: Option<TraceId>,
    ) -> Result<(), MatchError> {
        for _ in 1..ATTEMPTS {
            let state = self.inventory().image(scope, digest).await?;
            match self.compare_tags_of(scope, digest, &state, trace).await {
                Err(MatchError::Overtaken) => {}
                done => return done,
            }
        }
        let state = self.inventory().image(scope, digest).await?;
        self.compare_tags_of(scope, digest, &state, trace).await
    }

    /// Compares once, by what was known of the image a moment ago.
    pub(crate) async fn compare_tags_of(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        state: &ImageState,
        trace: Option<TraceId>,
    ) -> Result<(), MatchError> {
        let mut untold = state.untold.clone();
        let matched = state
            .matching
            .as_ref()
            .filter(|matching| matching.edition.is_some());
        if let Some(matching) = matched {
            let mut report = None;
            for location in state.live() {
                let to = Tagged {
                    digest: *digest,
                    catalog_version: matching.catalog_version,
                    observed_at: location.observed_at,
                };
                let moved = self.inventory().moved_tags(scope, digest, location).await?;
                let moved = by_image_before(moved);
                // Of several images before it, lists show the difference from the one that the console compares it with.
                let newest = moved.values().filter_map(|(before, _)| *before);
                let newest = newest.max_by_key(|before| before.observed_at);
                let newest = newest.filter(|_| state.is_shown_first(location));
                for (before, places) in moved.into_values() {
                    let places: Vec<&TagPlace> = places.iter().collect();
                    let (mut news, mut counts) = (None, None);
                    if let Some(before) = before {
                        if report.is_none() {
                            report = self.report(scope, digest, matching.catalog_version).await?;
                        }
                        let place = ChangedPlace::with_tags(location, places.iter().map(|place| &place.tag));
                        (news, counts) = self
                            .news_of_tags(scope, before, report.as_ref(), (location, place), trace)
                            .await?;
                    }
                    let shown = counts.filter(|_| before == newest).map(|counts| (state, counts));
                    let is_moved = self
                        .inventory()
                        .move_tags(scope, &places, &to, news.as_ref(), shown)
                        .await?;
                    if !is_moved {
                        return Err(MatchError::Overtaken);
                    }
                    untold.extend(news.map(|news| news.id));
                }
            }
        }
        self.tell(scope, digest, &untold).await
    }

    /// Compares an image with the one before, both by the database in use: what the advisories changed is told elsewhere.
    async fn news_of_tags(
        &self,
        scope: &TenantScope,
        before: Tagged,
        report: Option<&Report>,
        (location, place): (&Location, ChangedPlace),
        trace: Option<TraceId>,
    ) -> Result<(Option<Notification>, Option<ChangeCounts>), MatchError> {
        let old = self.report(scope, &before.digest, before.catalog_version).await?;
        let (Some(old), Some(report), Some(loaded)) = (old, report, self.database().await?) else {
            return Ok((None, None));
        };
        let (was, is) = (self.find(&old, &loaded)?, self.find(report, &loaded)?);
        let [one, other] = [Snapshot::of_report(&old, &was), Snapshot::of_report(report, &is)];
        let changes = changes(&one, &other, &loaded)?;
        let (place_name, digests) = (
            format!("{}/{}/{}", location.account, location.region, location.repository),
            [before.digest.to_string(), report.image.digest.to_string()],
        );
        // Tags that named different images before are different news.
        let id = NotificationId::of(
            location.observed_at,
            &["tag", &place_name, &digests[0], &digests[1]],
        );
        let event = Event {
            id,
            at: location.observed_at,
            tenant: scope.tenant(),
            reason: ChangeReason::TagMoved,
            places: vec![place],
            trace,
        };
        let counts = ChangeCounts {
            before: before.digest,
            new: changes.new.len(),
            fixed: changes.fixed.len(),
        };
        Ok((event.notification(&changes, &was, &is), Some(counts)))
    }

    /// Queues what is noted; whoever crashes before it is found by whoever comes again.
    pub async fn tell(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        untold: &[NotificationId],
    ) -> Result<(), MatchError> {
        let queued = self
            .notifications
            .queue_untold(scope, digest, untold, &*self.notifies)
            .await;
        queued.map_err(|error| match error {
            TellError::Store(error) => MatchError::Store(error),
            TellError::Queue(error) => MatchError::Queue(error),
        })
    }
}

/// Compares what was found in an image before with what is found now, by another database or by ECR's own scanning.
///
/// The first scan of ECR's own is no news: it tells who else has found something, and comes long after the image. What it
/// finds differently later is.
pub(crate) fn of_image(
    scope: &TenantScope,
    state: &ImageState,
    report: &Report,
    (before, after): (&ImageFindings, &ImageFindings),
    loaded: &Loaded,
) -> Result<Option<Notification>, MatchError> {
    let is_of_registry = before.database == after.database;
    if is_of_registry && before.registry_scan.is_none() {
        return Ok(None);
    }
    let [one, other] = [before, after].map(|findings| Snapshot::of_report(report, findings));
    let changes = changes(&one, &other, loaded)?;
    let (digest, edition) = (report.image.digest.to_string(), loaded.edition.number.to_string());
    // The same each time that the same edition is carried to the image, or the same scan, so that a repetition is none.
    let at = loaded.edition.built_at;
    let (id, reason) = match &after.registry_scan {
        Some(scan) if is_of_registry => (
            NotificationId::of(at, &["registry-scan", &scan.stamp, &edition, &digest]),
            ChangeReason::RegistryScanned,
        ),
        _ => (
            NotificationId::of(at, &["edition", &edition, &digest]),
            ChangeReason::AdvisoriesChanged,
        ),
    };
    let event = Event {
        id,
        at,
        tenant: scope.tenant(),
        reason,
        places: state
            .live()
            .take(FindingsChanged::MAX_PLACES)
            .map(ChangedPlace::of)
            .collect(),
        trace: None,
    };
    Ok(event.notification(&changes, before, after))
}

fn by_image_before(moved: Vec<(TagPlace, Option<Tagged>)>) -> Moved {
    let mut groups = Moved::new();
    for (place, before) in moved {
        let group = groups.entry(before.map(|before| before.digest)).or_default();
        group.0 = before;
        group.1.push(place);
    }
    groups
}

fn changes(before: &Snapshot<'_>, after: &Snapshot<'_>, loaded: &Loaded) -> Result<Changes, MatchError> {
    compare(before, after, Some(&loaded.database)).map_err(|source| MatchError::Database {
        edition: loaded.edition.number,
        source: Some(source),
    })
}

/// All of an event but what changed.
struct Event<'a> {
    id: NotificationId,
    at: Timestamp,
    tenant: &'a TenantId,
    reason: ChangeReason,
    places: Vec<ChangedPlace>,
    trace: Option<TraceId>,
}

impl Event<'_> {
    /// Makes a notification, if there is something to tell.
    fn notification(
        self,
        changes: &Changes,
        before: &ImageFindings,
        after: &ImageFindings,
    ) -> Option<Notification> {
        if changes.is_empty() {
            return None;
        }
        let event = FindingsChanged {
            id: self.id.clone(),
            at: self.at,
            tenant: self.tenant.clone(),
            reason: self.reason,
            places: self.places,
            trace_id: self.trace,
            changes: changes.event(before, after),
        };
        Some(Notification {
            id: self.id,
            kind: NotificationKind::FindingsChanged,
            at: self.at,
            data: serde_json::to_value(event).unwrap_or_default(),
            announced: false,
        })
    }
}
