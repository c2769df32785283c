use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Elsewhere, Finished, HowKnown, Inventories, MissedPushes, RepositoryCoverage, Run};
use crate::{id::Region, integration::Connection, scope::TenantScope, store::StoreError};

/// What of an integration is watched, and how each image became known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The regions that the integration knows of.
    pub regions: BTreeMap<Region, RegionCoverage>,
    /// What lies in the others, as far as it can be told.
    pub elsewhere: Option<Elsewhere>,
}

/// What of a region is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegionCoverage {
    /// Whether events tell of what happens.
    pub watch: Watch,
    /// The last comparison that came to its end.
    pub last: Option<Finished>,
    /// The comparison that is under way.
    pub run: Option<Run>,
    /// What was pushed and no event told of.
    pub missed: Option<MissedPushes>,
    /// How the images became known.
    pub images: HowKnown,
    /// The repositories, as they were compared last.
    pub repositories: Vec<RepositoryCoverage>,
}

/// Whether events tell of what happens in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// They do.
    Watched,
    /// No event has ever come.
    NoEvents,
    /// Two heartbeats of its stack are missing.
    Silent,
    /// The stack's heartbeats come, but no event told of images that were pushed.
    RuleSilent,
    /// Its role is not proven, so nothing is known.
    Unproven,
}

impl Watch {
    fn of(connection: &Connection, region: &Region, missed: Option<&MissedPushes>, now: Timestamp) -> Self {
        let is_proven = connection.trusted_role(region).is_some();
        let is_silent = connection.silent_from(region).is_some_and(|from| from <= now);
        match connection.heartbeats.get(region) {
            _ if !is_proven => Self::Unproven,
            None => Self::NoEvents,
            Some(_) if is_silent => Self::Silent,
            Some(_) if missed.is_some_and(|missed| missed.rule_is_silent) => Self::RuleSilent,
            Some(_) => Self::Watched,
        }
    }

    /// Returns a short sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Watched => "watched",
            Self::NoEvents => "no event has ever come; only a comparison with ECR finds images",
            Self::Silent => "silent: heartbeats are missing; only a comparison with ECR finds images",
            Self::RuleSilent => {
                "the rule for image events is silent; only a comparison with ECR finds images"
            }
            Self::Unproven => "not proven: nothing is read",
        }
    }
}

impl Inventories {
    /// Tells what of an integration is watched.
    pub async fn coverage(
        &self,
        scope: &TenantScope,
        connection: &Connection,
        now: Timestamp,
    ) -> Result<Coverage, StoreError> {
        let id = &connection.integration.id;
        let mut regions = BTreeMap::new();
        for region in connection.regions.keys() {
            let record = self.record(scope, id, region).await?;
            let missed = self.missed(scope, id, region).await?;
            let repositories = self.repositories(scope, id, region).await?;
            let images = repositories
                .iter()
                .fold(HowKnown::default(), |sum, repository| HowKnown {
                    event: sum.event + repository.images.event,
                    backfill: sum.backfill + repository.images.backfill,
                    reconcile: sum.reconcile + repository.images.reconcile,
                });
            let coverage = RegionCoverage {
                watch: Watch::of(connection, region, missed.as_ref(), now),
                last: record.last,
                run: record.run,
                missed,
                images,
                repositories,
            };
            regions.insert(region.clone(), coverage);
        }
        let mut elsewhere = self.elsewhere(scope, id).await?;
        if let Some(elsewhere) = &mut elsewhere {
            // A region may have been connected since.
            elsewhere
                .regions
                .retain(|region, _| connection.trusted_role(region).is_none());
        }
        Ok(Coverage { regions, elsewhere })
    }
}
