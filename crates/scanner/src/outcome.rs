use jiff::{SignedDuration, Timestamp};
use portwarden_aws::{Fault, Line, Metric, Metrics, ScanFigures};
use portwarden_core::{image::ScanResult, problem::chain, work::ScanRequest};

use crate::Failure;

/// What became of a request that met no failure.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// There is nobody to work for any more; the request opens nothing.
    Dropped(Dropped),
    /// ECR does not have the image.
    Deleted,
    /// The image is archived: its layers cannot be read until it is restored, which is an event of its own.
    Archived,
    /// Another request is at it: this one comes again, for the other one may die, or lose the only place that it knows.
    Held {
        /// When the other's lease ends.
        until: Timestamp,
    },
    /// The image was scanned before.
    Known,
    /// The scan ended now.
    Scanned(ScanResult),
    /// The time was over after some layers; the rest is queued.
    Continued {
        /// How many layers were catalogued this time.
        pulled_layers: usize,
    },
}

/// Why a request opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The integration is not there, or not the tenant's.
    NoIntegration,
    /// The integration was removed while the request waited.
    Removed,
    /// The integration is another account's.
    OtherAccount,
    /// The integration has not this region.
    OtherRegion,
}

impl Outcome {
    /// Tells whether the request needs no further delivery.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Held { .. })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Dropped(Dropped::NoIntegration) => "dropped_no_integration",
            Self::Dropped(Dropped::Removed) => "dropped_removed",
            Self::Dropped(Dropped::OtherAccount) => "dropped_other_account",
            Self::Dropped(Dropped::OtherRegion) => "dropped_other_region",
            Self::Deleted => "deleted",
            Self::Archived => "archived",
            Self::Held { .. } => "held",
            Self::Known => "known",
            Self::Scanned(ScanResult::Reported { partial: false, .. }) => "reported",
            Self::Scanned(ScanResult::Reported { partial: true, .. }) => "reported_partial",
            Self::Scanned(ScanResult::Refused { .. }) => "refused",
            Self::Continued { .. } => "continued",
        }
    }
}

/// A request that was worked on, for the log and the metrics.
pub(crate) struct Told<'a> {
    pub(crate) request: &'a ScanRequest,
    pub(crate) started: Timestamp,
    pub(crate) now: Timestamp,
}

impl Told<'_> {
    /// Leaves the one line in the log that each request has.
    pub(crate) fn log(&self, outcome: &Result<Outcome, Failure>) {
        let line = |outcome| Line {
            duration: Some(self.now.duration_since(self.started)),
            ..Line::of_scan(outcome, self.request)
        };
        match outcome {
            Ok(done) => {
                let line = line(done.name());
                match done {
                    Outcome::Scanned(ScanResult::Reported {
                        packages,
                        pulled_bytes,
                        spared_bytes,
                        ..
                    }) => Line {
                        scan: Some(ScanFigures {
                            packages: *packages,
                            pulled_bytes: *pulled_bytes,
                            spared_bytes: *spared_bytes,
                            time_to_report: self.time_to_report(),
                        }),
                        ..line
                    }
                    .info("image reported"),
                    Outcome::Scanned(ScanResult::Refused { problem }) => Line {
                        code: Some(&problem.code),
                        fault: Some(Fault::Theirs),
                        error: Some(problem.message.clone()),
                        ..line
                    }
                    .warn("image refused"),
                    Outcome::Dropped(_) => line.warn("request dropped"),
                    _ => line.info("request done"),
                }
            }
            Err(failure) => Line {
                code: Some(failure.code()),
                fault: Some(failure.fault()),
                error: Some(chain(failure)),
                ..line("failed")
            }
            .error("request goes back to the queue"),
        }
    }

    /// Counts what ended.
    pub(crate) fn measure(&self, outcome: &Result<Outcome, Failure>, metrics: &Metrics) {
        match outcome {
            Ok(Outcome::Scanned(ScanResult::Reported { partial, .. })) => {
                metrics.count(Metric::ScansReported);
                if *partial {
                    metrics.count(Metric::ScansPartial);
                }
                metrics.time(Metric::TimeToReport, self.time_to_report());
            }
            Ok(Outcome::Scanned(ScanResult::Refused { .. })) => metrics.count(Metric::ScansRefused),
            Ok(_) => {}
            Err(failure) => metrics.count(Metric::ScansFailed {
                fault: failure.fault(),
            }),
        }
    }

    fn time_to_report(&self) -> SignedDuration {
        self.now.duration_since(self.request.since)
    }
}
