use std::{io::Write as _, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use portwarden_core::clock::Clock;
use serde_json::{Value, json};

use super::{Fault, Service, line::milliseconds};

/// What is counted and measured; the template's alarms name these, and `docs/operations.md` says what each is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Events that were stored, by kind.
    EventsAccepted {
        /// The kind, one of a few words.
        kind: &'static str,
    },
    /// Events that were not taken, by code.
    EventsRefused {
        /// The code, one of a few words.
        code: &'static str,
    },
    /// Tests of a connection that found a role not to be trusted.
    ProbeRefused,
    /// Tests of a connection that came to no verdict.
    VerificationsFailed,
    /// Rounds that were begun and ended, of the verifier.
    RoundsMade,
    /// Scans that ended with a report.
    ScansReported,
    /// Scans whose report says that something is missing in it.
    ScansPartial,
    /// Scans that ended without a report: the image cannot be scanned.
    ScansRefused,
    /// Attempts at a scan that failed, and will be made again.
    ScansFailed {
        /// Whose fault it was.
        fault: Fault,
    },
    /// Requests to the console that failed through our own fault.
    RequestsFailed,
    /// The time from when an image was known to its report, in milliseconds.
    TimeToReport,
    /// Editions of the advisory database that came into use.
    AdvisoryEditions,
    /// The time since a folder of the feed was last compared with its source, in milliseconds.
    AdvisoryAge {
        /// The folder, one of OSV's.
        folder: &'static str,
    },
    /// Folders of the feed that could not be read, by code.
    AdvisoryFoldersBroken {
        /// The code, one of a few words.
        code: &'static str,
    },
    /// Images whose findings are others since a new edition.
    ImagesRematched,
    /// Messages for the rematcher that failed, and will be delivered again.
    RematchesFailed,
    /// Things that were told on the bus.
    NotificationsTold,
    /// Attempts to deliver to a webhook that were taken.
    WebhooksDelivered,
    /// Attempts that were not taken, by code.
    WebhooksFailed {
        /// The code, one of a few words.
        code: &'static str,
    },
    /// Deliveries that were given up.
    WebhooksGivenUp,
    /// Messages for the notifier that failed, and will be delivered again.
    NotifiesFailed,
    /// Images that a comparison with ECR found, and nobody knew.
    ImagesFound,
    /// Pushes that no event told of.
    PushesMissed,
    /// Attempts at a comparison that failed, and will be made again.
    InventoriesFailed {
        /// Whose fault it was.
        fault: Fault,
    },
}

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Portwarden";

impl Metric {
    /// One of each.
    pub const ALL: [Self; 24] = [
        Self::EventsAccepted { kind: "other" },
        Self::EventsRefused { code: "unavailable" },
        Self::ProbeRefused,
        Self::VerificationsFailed,
        Self::RoundsMade,
        Self::ScansReported,
        Self::ScansPartial,
        Self::ScansRefused,
        Self::ScansFailed { fault: Fault::Ours },
        Self::RequestsFailed,
        Self::TimeToReport,
        Self::AdvisoryEditions,
        Self::AdvisoryAge { folder: "Debian" },
        Self::AdvisoryFoldersBroken {
            code: "source_unreachable",
        },
        Self::ImagesRematched,
        Self::RematchesFailed,
        Self::NotificationsTold,
        Self::WebhooksDelivered,
        Self::WebhooksFailed { code: "timed_out" },
        Self::WebhooksGivenUp,
        Self::NotifiesFailed,
        Self::ImagesFound,
        Self::PushesMissed,
        Self::InventoriesFailed { fault: Fault::Ours },
    ];

    /// Returns the metric's name in the namespace [`NAMESPACE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::EventsAccepted { .. } => "EventsAccepted",
            Self::EventsRefused { .. } => "EventsRefused",
            Self::ProbeRefused => "ProbeRefused",
            Self::VerificationsFailed => "VerificationsFailed",
            Self::RoundsMade => "RoundsMade",
            Self::ScansReported => "ScansReported",
            Self::ScansPartial => "ScansPartial",
            Self::ScansRefused => "ScansRefused",
            Self::ScansFailed { .. } => "ScansFailed",
            Self::RequestsFailed => "RequestsFailed",
            Self::TimeToReport => "TimeToReport",
            Self::AdvisoryEditions => "AdvisoryEditions",
            Self::AdvisoryAge { .. } => "AdvisoryAge",
            Self::AdvisoryFoldersBroken { .. } => "AdvisoryFoldersBroken",
            Self::ImagesRematched => "ImagesRematched",
            Self::RematchesFailed => "RematchesFailed",
            Self::NotificationsTold => "NotificationsTold",
            Self::WebhooksDelivered => "WebhooksDelivered",
            Self::WebhooksFailed { .. } => "WebhooksFailed",
            Self::WebhooksGivenUp => "WebhooksGivenUp",
            Self::NotifiesFailed => "NotifiesFailed",
            Self::ImagesFound => "ImagesFound",
            Self::PushesMissed => "PushesMissed",
            Self::InventoriesFailed { .. } => "InventoriesFailed",
        }
    }

    /// Returns who measures it: the value of its dimension `service`.
    pub fn service(self) -> Service {
        match self {
            Self::EventsAccepted { .. } | Self::EventsRefused { .. } => Service::Receiver,
            Self::ProbeRefused | Self::VerificationsFailed | Self::RoundsMade => Service::Verifier,
            Self::RequestsFailed => Service::Console,
            Self::ScansReported
            | Self::ScansPartial
            | Self::ScansRefused
            | Self::ScansFailed { .. }
            | Self::TimeToReport => Service::Scanner,
            Self::AdvisoryEditions | Self::AdvisoryAge { .. } | Self::AdvisoryFoldersBroken { .. } => {
                Service::Advisor
            }
            Self::ImagesRematched | Self::RematchesFailed => Service::Rematcher,
            Self::NotificationsTold
            | Self::WebhooksDelivered
            | Self::WebhooksFailed { .. }
            | Self::WebhooksGivenUp
            | Self::NotifiesFailed => Service::Notifier,
            Self::ImagesFound | Self::PushesMissed | Self::InventoriesFailed { .. } => Service::Reconciler,
        }
    }

    /// Returns what the metric is told apart by, besides the service: a field of the log, and its value.
    pub fn dimension(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::EventsAccepted { kind } => Some(("event.kind", kind)),
            Self::EventsRefused { code }
            | Self::AdvisoryFoldersBroken { code }
            | Self::WebhooksFailed { code } => Some(("outcome.code", code)),
            Self::AdvisoryAge { folder } => Some(("advisory.folder", folder)),
            Self::ScansFailed { fault } | Self::InventoriesFailed { fault } => {
                Some(("outcome.fault", fault.name()))
            }
            _ => None,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::TimeToReport | Self::AdvisoryAge { .. } => "Milliseconds",
            _ => "Count",
        }
    }
}

/// Writes metrics as lines of the log, from where `CloudWatch` takes them.
#[derive(Clone)]
pub struct Metrics {
    clock: Arc<dyn Clock>,
    write: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Metrics {
    /// Measures by a clock, on standard output.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::written_by(clock, |line| {
            // Nobody can be told when standard output is closed.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        })
    }

    /// Measures by a clock, and hands each line to `write`.
    pub fn written_by(clock: Arc<dyn Clock>, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            clock,
            write: Arc::new(write),
        }
    }

    /// Counts one.
    pub fn count(&self, metric: Metric) {
        self.record(metric, 1);
    }

    /// Counts some; none leaves no trace.
    pub fn add(&self, metric: Metric, count: u64) {
        if count > 0 {
            self.record(metric, count);
        }
    }

    /// Records a time.
    pub fn time(&self, metric: Metric, time: SignedDuration) {
        self.record(metric, milliseconds(time));
    }

    fn record(&self, metric: Metric, value: u64) {
        let line = embedded(metric, value, self.clock.now());
        (self.write)(&line.to_string());
    }
}

/// Writes a metric as a line of a log.
///
/// Source: `CloudWatch` user guide, "Specification: embedded metric format". A metric with a dimension of its own is
/// also kept as the service's sum.
fn embedded(metric: Metric, value: u64, now: Timestamp) -> Value {
    let mut dimensions = vec![vec!["service"]];
    dimensions.extend(metric.dimension().map(|(name, _)| vec!["service", name]));
    let mut line = json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": dimensions,
                "Metrics": [{"Name": metric.name(), "Unit": metric.unit()}],
            }],
        },
        "service": metric.service().name(),
    });
    line[metric.name()] = value.into();
    if let Some((name, value)) = metric.dimension() {
        line[name] = value.into();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_follows_the_embedded_metric_format() {
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(
            embedded(Metric::EventsAccepted { kind: "image_pushed" }, 2, now),
            json!({
                "_aws": {
                    "Timestamp": 1_767_323_045_678_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Portwarden",
                        "Dimensions": [["service"], ["service", "event.kind"]],
                        "Metrics": [{"Name": "EventsAccepted", "Unit": "Count"}],
                    }],
                },
                "service": "receiver",
                "event.kind": "image_pushed",
                "EventsAccepted": 2,
            })
        );
        assert_eq!(
            embedded(Metric::TimeToReport, 4711, now),
            json!({
                "_aws": {
                    "Timestamp": 1_767_323_045_678_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Portwarden",
                        "Dimensions": [["service"]],
                        "Metrics": [{"Name": "TimeToReport", "Unit": "Milliseconds"}],
                    }],
                },
                "service": "scanner",
                "TimeToReport": 4711,
            })
        );
    }

    #[test]
    fn every_metric_is_listed_and_described_for_the_operator() {
        let names = Metric::ALL.map(Metric::name);
        let source = include_str!("metrics.rs");
        let (_, arms) = source.split_once("pub fn name(self)").unwrap();
        let (arms, _) = arms.split_once("///").unwrap();
        assert_eq!(arms.matches(" => ").count(), names.len());
        let document = include_str!("../../../../docs/operations.md");
        let described: Vec<_> = crate::telemetry::tests::first_column(document, "## Metrics").collect();
        assert_eq!(described, names);
    }
}
