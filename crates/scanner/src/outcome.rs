use jiff::Timestamp;
use portwarden_aws::{Metric, Metrics};
use portwarden_core::{image::ScanResult, problem::chain, work::ScanRequest};

use crate::Failure;

/// What became of a request that needs no further delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// There is nobody to work for any more; the request opens nothing.
    Dropped(Dropped),
    /// ECR does not have the image.
    Deleted,
    /// The image is archived: its layers cannot be read until it is restored, which is an event of its own.
    Archived,
    /// Another request is at it, and looks at every place of the image before it gives up.
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
        let request = self.request;
        let duration_ms = self.milliseconds_since(self.started);
        macro_rules! line {
            ($level:ident, $message:literal, $outcome:expr, $($field:tt)*) => {
                tracing::$level!(
                    tenant.id = %request.tenant, integration.id = %request.integration,
                    image.digest = %request.digest, image.repository = %request.repository,
                    image.account = %request.account, image.region = %request.region,
                    request.id = %request.request, request.continuation = request.continuation,
                    outcome = $outcome, duration_ms, $($field)* $message
                )
            };
        }
        match outcome {
            Ok(
                done @ Outcome::Scanned(ScanResult::Reported {
                    packages,
                    pulled_bytes,
                    spared_bytes,
                    ..
                }),
            ) => line!(
                info,
                "image reported",
                done.name(),
                scan.packages = packages,
                scan.pulled_bytes = pulled_bytes,
                scan.spared_bytes = spared_bytes,
                time_to_report_ms = self.milliseconds_since(request.since),
            ),
            Ok(done @ Outcome::Scanned(ScanResult::Refused { problem })) => {
                let (code, error) = (&*problem.code, &*problem.message);
                line!(warn, "image refused", done.name(), code, error,);
            }
            Ok(dropped @ Outcome::Dropped(_)) => line!(warn, "request dropped", dropped.name(),),
            Ok(done) => line!(info, "request done", done.name(),),
            Err(failure) => {
                let (code, error) = (failure.code(), chain(failure));
                line!(error, "request goes back to the queue", "failed", code, error,);
            }
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
                metrics.record(Metric::TimeToReport, self.milliseconds_since(self.request.since));
            }
            Ok(Outcome::Scanned(ScanResult::Refused { .. })) => metrics.count(Metric::ScansFailed),
            _ => {}
        }
    }

    fn milliseconds_since(&self, time: Timestamp) -> u64 {
        // Clocks differ: what lies in the future counts as now.
        u64::try_from(self.now.duration_since(time).as_millis()).unwrap_or(0)
    }
}
