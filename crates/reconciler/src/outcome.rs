//! What became of a request, and how it is told.

use jiff::Timestamp;
use portwarden_aws::{Fault, InventoryFigures, Line, Metric, Metrics};
use portwarden_core::{
    problem::chain,
    reconcile::{Findings, MissedPushes},
    work::InventoryRequest,
};

use crate::Failure;

/// What became of a request that is done, or whose rest is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All repositories were compared.
    Compared(Findings),
    /// The one repository was compared.
    Looked(Findings),
    /// The rest is queued.
    Continued(Findings),
    /// The role does not open, or may not list; the connection is tested.
    Refused {
        /// The code of why.
        code: &'static str,
    },
    /// There is nothing to do.
    Dropped(Dropped),
}

/// Why there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// There is no such integration.
    NoIntegration,
    /// The integration was removed.
    Removed,
    /// The role is not proven, or not any more; when it is, there is another request.
    Unproven,
    /// Somebody else is at it.
    Held,
    /// It was done before.
    Done,
}

impl Dropped {
    fn name(self) -> &'static str {
        match self {
            Self::NoIntegration => "dropped_no_integration",
            Self::Removed => "dropped_removed",
            Self::Unproven => "dropped_unproven",
            Self::Held => "dropped_held",
            Self::Done => "dropped_done",
        }
    }
}

/// A request that was worked on.
pub(crate) struct Told<'a> {
    pub(crate) request: &'a InventoryRequest,
    pub(crate) started: Timestamp,
    pub(crate) now: Timestamp,
}

impl Told<'_> {
    /// Writes the line of the log.
    pub(crate) fn log(&self, result: &Result<Outcome, Failure>) {
        let line = |outcome| Line {
            duration: Some(self.now.duration_since(self.started)),
            ..Line::of_inventory(outcome, self.request)
        };
        let found = |outcome, findings| Line {
            inventory: Some(figures(findings)),
            ..line(outcome)
        };
        match result {
            Ok(Outcome::Compared(findings)) => found("compared", findings).info("registry compared"),
            Ok(Outcome::Looked(findings)) => found("looked", findings).info("repository compared"),
            Ok(Outcome::Continued(findings)) => found("continued", findings).info("the rest is queued"),
            Ok(Outcome::Refused { code }) => Line {
                code: Some(code),
                fault: Some(Fault::Theirs),
                ..line("refused")
            }
            .warn("registry not compared"),
            Ok(Outcome::Dropped(why)) => line(why.name()).info("request dropped"),
            Err(failure) => {
                let line = Line {
                    code: Some(failure.code()),
                    fault: Some(failure.fault()),
                    error: Some(chain(failure)),
                    ..line("failed")
                };
                line.error("message goes back to the queue");
            }
        }
    }
}

/// Counts what the alarms and graphs look at.
pub(crate) fn measure(result: &Result<Outcome, Failure>, metrics: &Metrics) {
    match result {
        Ok(Outcome::Compared(findings) | Outcome::Looked(findings)) => {
            metrics.add(Metric::ImagesFound, findings.new);
            metrics.add(Metric::PushesMissed, missed(findings));
        }
        Ok(Outcome::Continued(_) | Outcome::Refused { .. } | Outcome::Dropped(_)) => {}
        Err(failure) => metrics.count(Metric::InventoriesFailed {
            fault: failure.fault(),
        }),
    }
}

fn missed(findings: &Findings) -> u64 {
    findings
        .missed
        .as_ref()
        .map_or(0, |missed: &MissedPushes| missed.count)
}

fn figures(findings: &Findings) -> InventoryFigures {
    InventoryFigures {
        repositories: findings.repositories,
        unread: findings.unread,
        images: findings.images,
        new: findings.new,
        changed: findings.changed,
        gone: findings.gone,
        missed: missed(findings),
        waited: findings.waited,
    }
}
