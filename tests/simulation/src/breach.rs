//! What must always be true, and how a run says that it was not.

use std::fmt;

use crate::trace::Step;

/// What must always be true; the numbers are those of the table in the README, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No byte crosses tenants.
    NoCrossTenantByte,
    /// The ExternalId is always sent, and is the served tenant's own.
    ExternalIdAlwaysSent,
    /// A role is trusted only when it refuses others, and what could not be found out is never a pass.
    TrustedOnlyIfItRefuses,
    /// Sessions are scoped down and never mixed up.
    SessionsScopedDown,
    /// A 2xx is sent only after the event is stored and its work is queued; nothing that was accepted is lost.
    AcceptedMeansKept,
    /// Order and repetition do not matter, only ECR makes an image deleted, and each image is reported once.
    OneEffect,
    /// The endpoint answers as its table says, and never with 401 or 407.
    AnswersOfTheTable,
    /// What changed is told, on the bus and once to each webhook.
    ToldOnce,
    /// What a message without proof claims is nothing but a place to look at, and seldom.
    ClaimsProveNothing,
    /// New credentials take the place of old ones with both good for a day, and no longer.
    NothingLostInRotation,
    /// Only a wish or a week of refusals removes an integration; it is used no more, and deleted when its time has come.
    GoneForGood,
}

/// Something that must be true was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What was broken.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
    /// What happened just before, oldest first.
    pub steps: Vec<Step>,
}

/// What a check returns that fails.
pub(crate) type Breach = (Invariant, String);

/// Fails with a breach if something does not hold.
pub(crate) fn hold(holds: bool, invariant: Invariant, what: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err((invariant, what())) }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCrossTenantByte => "no byte crosses tenants",
            Self::ExternalIdAlwaysSent => "the ExternalId is always sent, and is ours",
            Self::TrustedOnlyIfItRefuses => "a role is trusted only when it refuses others",
            Self::SessionsScopedDown => "sessions are scoped down and never mixed up",
            Self::AcceptedMeansKept => "accepted means kept",
            Self::OneEffect => "order and repetition do not matter",
            Self::AnswersOfTheTable => "the endpoint answers as its table says",
            Self::ToldOnce => "a change is told once",
            Self::ClaimsProveNothing => "a claim proves nothing",
            Self::NothingLostInRotation => "rotating credentials loses nothing",
            Self::GoneForGood => "what is removed is gone for good",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        write!(f, "broken: {}\n{}", self.invariant, self.what)
    }
}
