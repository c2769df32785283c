use std::{io::Write as _, sync::Arc};

use jiff::Timestamp;
use portwarden_core::clock::Clock;
use serde_json::{Value, json};

/// What is counted and measured; the template's alarms name these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Events that were stored, by kind.
    EventsAccepted {
        /// The kind, one of a few words.
        kind: &'static str,
    },
    /// Events that were not taken, by reason.
    EventsRefused {
        /// The reason, one of a few words.
        reason: &'static str,
    },
    /// Tests of a connection that found a role not to be trusted.
    ProbeRefused,
    /// Scans that ended with a report.
    ScansReported,
    /// Scans whose report says that something is missing in it.
    ScansPartial,
    /// Scans that ended without a report.
    ScansFailed,
    /// The time from when an image was known to its report, in milliseconds.
    TimeToReport,
}

impl Metric {
    /// Returns the metric's name in the namespace `Portwarden`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EventsAccepted { .. } => "EventsAccepted",
            Self::EventsRefused { .. } => "EventsRefused",
            Self::ProbeRefused => "ProbeRefused",
            Self::ScansReported => "ScansReported",
            Self::ScansPartial => "ScansPartial",
            Self::ScansFailed => "ScansFailed",
            Self::TimeToReport => "TimeToReport",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::TimeToReport => "Milliseconds",
            _ => "Count",
        }
    }

    /// Returns what the metric is told apart by, besides the service.
    fn dimension(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::EventsAccepted { kind } => Some(("kind", kind)),
            Self::EventsRefused { reason } => Some(("reason", reason)),
            _ => None,
        }
    }
}

/// Writes metrics to standard output, from where `CloudWatch` takes them.
#[derive(Clone)]
pub struct Metrics {
    service: &'static str,
    clock: Arc<dyn Clock>,
}

impl Metrics {
    /// Measures for one service: the value of every metric's dimension `service`.
    pub fn new(service: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self { service, clock }
    }

    /// Counts one.
    pub fn count(&self, metric: Metric) {
        self.record(metric, 1);
    }

    /// Records a value in the metric's unit.
    pub fn record(&self, metric: Metric, value: u64) {
        let line = embedded(self.service, metric, value, self.clock.now());
        // Nobody can be told when standard output is closed.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// Writes a metric as a line of a log.
///
/// Source: `CloudWatch` user guide, "Specification: embedded metric format". A metric with a dimension of its own is
/// also kept as the service's sum, which is what an alarm looks at.
fn embedded(service: &str, metric: Metric, value: u64, now: Timestamp) -> Value {
    let mut dimensions = vec![vec!["service"]];
    dimensions.extend(metric.dimension().map(|(name, _)| vec!["service", name]));
    let mut line = json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": "Portwarden",
                "Dimensions": dimensions,
                "Metrics": [{"Name": metric.name(), "Unit": metric.unit()}],
            }],
        },
        "service": service,
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
            embedded("receiver", Metric::EventsAccepted { kind: "push" }, 2, now),
            json!({
                "_aws": {
                    "Timestamp": 1_767_323_045_678_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Portwarden",
                        "Dimensions": [["service"], ["service", "kind"]],
                        "Metrics": [{"Name": "EventsAccepted", "Unit": "Count"}],
                    }],
                },
                "service": "receiver",
                "kind": "push",
                "EventsAccepted": 2,
            })
        );
        assert_eq!(
            embedded("scanner", Metric::TimeToReport, 4711, now),
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
}
