//! Inventory: what ECR lists in a region's registry, compared with what is known of it.
//!
//! The first inventory of a region, and the first one after its role is proven again, is its **backfill**; each later one is
//! a **sweep**. Either is a run over all repositories in the order of their names, which goes on where it stopped: what is
//! stored after each repository says how far it came.

mod compare;
mod coverage;
mod elsewhere;
mod runs;

use jiff::{SignedDuration, Timestamp};
use portwarden_oci::{Digest, RepositoryName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{id::RequestId, work::KnownBy};

pub use compare::{Changed, Comparing, Comparison, Look};
pub use coverage::{Coverage, RegionCoverage, Watch};
pub use elsewhere::{Elsewhere, Unwatched};
pub use runs::{Begun, Inventories, SaveError};

/// How old a push must be for its event to be missing: younger ones may still be told.
///
/// EventBridge delivers within seconds; a quarter of an hour forgives an endpoint that was away for some minutes.
pub const TELLING: SignedDuration = SignedDuration::from_mins(15);

/// A comparison of a region's registry that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// How the images that it finds become known.
    pub kind: KnownBy,
    /// When it began.
    pub started_at: Timestamp,
    /// The work that it belongs to.
    pub request: RequestId,
    /// Until when somebody works on it.
    pub held_until: Timestamp,
    /// The last repository that was done; none at the beginning.
    pub done: Option<RepositoryName>,
    /// What was found so far.
    pub found: Findings,
}

/// What a run found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// How many repositories were compared.
    pub repositories: u64,
    /// How many repositories could not be read.
    pub unread: u64,
    /// How many images ECR lists.
    pub images: u64,
    /// How many of them were not known.
    pub new: u64,
    /// How many had other tags, or were archived or restored.
    pub changed: u64,
    /// How many known ones ECR lists no more; the scanner asks for each of them.
    pub gone: u64,
    /// What was pushed while events should have told of it.
    pub missed: Option<MissedPushes>,
    /// When the newest image that an event told of became known.
    pub told_at: Option<Timestamp>,
    /// How many images had waited for their scan for too long, and were queued again.
    #[serde(default)]
    pub waited: u64,
}

/// Pushes that no event told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissedPushes {
    /// How many.
    pub count: u64,
    /// When the first of them was pushed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub first_at: Timestamp,
    /// When the last of them was pushed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_at: Timestamp,
    /// The repository of the last one.
    pub repository: RepositoryName,
    /// The last one.
    pub digest: Digest,
    /// Whether no event has told of any push since: the rule is silent, and not a single event lost.
    pub rule_is_silent: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// How the images that it found became known.
    pub kind: KnownBy,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// The work that did it.
    pub request: RequestId,
    /// What it found.
    pub found: Findings,
}

/// What is known of a repository since it was compared last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryCoverage {
    /// The repository.
    pub repository: RepositoryName,
    /// When it was compared.
    pub at: Timestamp,
    /// How many images lie in it, by how they became known.
    pub images: HowKnown,
    /// The code of why it could not be read, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// How many images became known in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HowKnown {
    /// By an event.
    pub event: u64,
    /// By the inventory on connecting.
    pub backfill: u64,
    /// By a later comparison with ECR.
    pub reconcile: u64,
}

impl HowKnown {
    /// Counts one more.
    pub fn count(&mut self, known_by: KnownBy) {
        match known_by {
            KnownBy::Event => self.event += 1,
            KnownBy::Backfill => self.backfill += 1,
            KnownBy::Reconcile => self.reconcile += 1,
        }
    }

    /// Returns how many there are.
    pub fn total(&self) -> u64 {
        self.event + self.backfill + self.reconcile
    }
}

impl MissedPushes {
    fn one(repository: &RepositoryName, digest: Digest, at: Timestamp) -> Self {
        Self {
            count: 1,
            first_at: at,
            last_at: at,
            repository: repository.clone(),
            digest,
            rule_is_silent: false,
        }
    }

    /// Adds pushes up.
    fn sum(before: Option<Self>, more: Option<Self>) -> Option<Self> {
        let (before, more) = match (before, more) {
            (Some(before), Some(more)) => (before, more),
            (before, more) => return before.or(more),
        };
        let (count, first_at) = (before.count + more.count, before.first_at.min(more.first_at));
        let last = if more.last_at > before.last_at {
            more
        } else {
            before
        };
        Some(Self {
            count,
            first_at,
            ..last
        })
    }
}

impl Findings {
    /// Adds what was found in a repository.
    pub fn add(&mut self, comparison: &Comparison) {
        self.repositories += 1;
        self.images += comparison.listed;
        self.new += comparison.found;
        self.changed += comparison.changed.len() as u64;
        self.gone += comparison.gone.len() as u64;
        self.told_at = self.told_at.max(comparison.told_at);
        self.missed = MissedPushes::sum(self.missed.take(), comparison.missed.clone());
    }

    /// Returns which pushes are to be told of as missed now, when `before` were so far.
    pub fn missed_after(&self, before: Option<&MissedPushes>, kind: KnownBy) -> Option<MissedPushes> {
        let is_silent_since = |last_at: Timestamp| self.told_at.is_none_or(|told_at| told_at < last_at);
        match &self.missed {
            Some(missed) => Some(MissedPushes {
                rule_is_silent: is_silent_since(missed.last_at),
                ..missed.clone()
            }),
            // Nothing was pushed that could tell whether events come again.
            None if kind == KnownBy::Reconcile => before
                .filter(|before| before.rule_is_silent && is_silent_since(before.last_at))
                .cloned(),
            None => None,
        }
    }
}
