//! What is wrong with an image, by the advisory database in use. It never stops a report.

use std::collections::BTreeMap;

use portwarden_aws::{Fault, Line};
use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{ecr::EcrError, problem::chain};
use portwarden_matching::MatchError;
use portwarden_report::Report;

use crate::{Failure, handler::Work, place::Place};

impl Work<'_> {
    /// Matches an image whose report was just written; without a usable database it waits for the next edition.
    pub(crate) async fn match_image(&self, report: &Report) -> Result<(), Failure> {
        let (_, failure) = self.context.matcher.match_first(&self.scope, report).await?;
        if let Some(failure) = failure {
            Line {
                code: Some(failure.code()),
                fault: Some(Fault::Ours),
                error: Some(chain(&failure)),
                ..Line::of_scan("not_matched", self.request)
            }
            .error("image not matched yet");
        }
        Ok(())
    }

    /// Matches an image that was scanned before, if it is in no index: it was archived, or was not matched in time.
    pub(crate) async fn match_known(&self) -> Result<(), Failure> {
        let digest = &self.request.digest;
        let matcher = &self.context.matcher;
        Ok(matcher.match_known(&self.scope, digest, CATALOG_VERSION).await?)
    }

    /// Tells what is wrong with it that was not wrong with the images that its tags named before, and the other way round.
    pub(crate) async fn tell_changes(&self) -> Result<(), Failure> {
        let (matcher, digest) = (&self.context.matcher, &self.request.digest);
        Ok(matcher
            .compare_tags(&self.scope, digest, Some(self.request.trace))
            .await?)
    }

    /// Merges what ECR's own scanning found, where its tenant lets us read it and a scan has ended.
    ///
    /// It comes last, since it may be refused: then there is nothing to merge, and nothing is wrong with the connection.
    pub(crate) async fn merge_registry_scan(&self, place: &Place) -> Result<(), Failure> {
        let read = self
            .in_session(place, |session| {
                Box::pin(async move {
                    let scans = &self.context.outside.registry_scans;
                    let scan = scans.registry_scan(
                        &session,
                        &place.registry,
                        &place.repository,
                        &self.request.digest,
                    );
                    Ok(scan.await?)
                })
            })
            .await;
        let scan = match read {
            Ok(Some(scan)) => scan,
            Ok(None) | Err(Failure::Ecr(EcrError::Denied { .. } | EcrError::KeyClosed(_))) => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let (matcher, digest) = (&self.context.matcher, &self.request.digest);
        match matcher.merge_registry_scan(&self.scope, digest, &scan).await {
            // A database that cannot be used stops nothing: the scan is merged when the image is looked at again.
            Ok(_) | Err(MatchError::Database { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes an image out of the index, if it is nowhere any more, or archived everywhere; and tells what was noted of it
    /// while it was there, which whoever died before telling it left.
    pub(crate) async fn leave(&self) -> Result<(), Failure> {
        let matcher = &self.context.matcher;
        let digest = &self.request.digest;
        let state = matcher
            .inventory()
            .image(&self.scope, digest)
            .await
            .map_err(Failure::Store)?;
        if !state.is_live() {
            matcher.leave(&self.scope, digest, &state).await?;
        }
        Ok(matcher.tell(&self.scope, digest, &state.untold).await?)
    }

    /// Returns how many findings of each severity count; nothing if the image is not matched yet.
    pub(crate) async fn finding_counts(&self) -> Result<Option<BTreeMap<String, usize>>, Failure> {
        let inventory = self.context.matcher.inventory();
        let state = inventory.image(&self.scope, &self.request.digest).await?;
        let matching = state.matching.filter(|matching| matching.edition.is_some());
        Ok(matching.map(|matching| matching.counts))
    }
}
