//! Logs, one JSON object a line as Lambda reads them, and metrics: the words of both are in [`Line`] and [`Metric`].

mod line;
mod metrics;

use std::str::FromStr;

use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub use self::{
    line::{Fault, FolderFigures, InventoryFigures, Line, RematchFigures, ScanFigures, Service},
    metrics::{Metric, Metrics, NAMESPACE},
};
use crate::Settings;

/// Starts logging to standard output, once in a process.
///
/// Our own code logs at the level of `AWS_LAMBDA_LOG_LEVEL`, which Lambda sets, or else of `RUST_LOG`, or else INFO.
/// Everybody else's code logs warnings only, whatever the level is: below that, HTTP and AWS crates write headers and
/// bodies, and these hold passwords and session tokens.
pub fn start(settings: &mut Settings) {
    let level = settings
        .optional::<LogLevel>("AWS_LAMBDA_LOG_LEVEL")
        .or_else(|| settings.optional("RUST_LOG"))
        .unwrap_or(LogLevel(LevelFilter::INFO));
    // A second start keeps the first, so that tests of functions may call it more than once.
    let _ = subscriber(level, std::io::stdout).try_init();
}

/// A level as Lambda or a person writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

/// A text is not a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a level is one of TRACE, DEBUG, INFO, WARN, ERROR and FATAL")]
pub struct LogLevelError;

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        let level = match text.to_ascii_uppercase().as_str() {
            "TRACE" => LevelFilter::TRACE,
            "DEBUG" => LevelFilter::DEBUG,
            "INFO" => LevelFilter::INFO,
            "WARN" => LevelFilter::WARN,
            "ERROR" | "FATAL" => LevelFilter::ERROR,
            _ => return Err(LogLevelError),
        };
        Ok(Self(level))
    }
}

/// Writes what [`start`] writes, to `writer`.
///
/// Lambda takes `level` and `timestamp` from the top of the object.
///
/// Source: Lambda developer guide, "Log-level filtering", for runtimes without a logging method of their own.
pub fn subscriber<W>(LogLevel(level): LogLevel, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // The runtime's span holds Lambda's request id and nothing of the event.
    let targets = Targets::new()
        .with_default(Level::WARN)
        .with_target("lambda_runtime::layers::trace", Level::INFO)
        .with_target("portwarden", level);
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(true)
        .with_writer(writer);
    tracing_subscriber::registry().with(lines.with_filter(targets))
}

#[cfg(test)]
pub(crate) mod tests {
    use portwarden_testkit::log::{Log, listen};

    use super::*;

    /// Returns the lines that are logged meanwhile.
    pub(crate) fn log(level: &str, work: impl FnOnce()) -> Vec<serde_json::Value> {
        let log = Log::default();
        let guard = listen(subscriber(level.parse().unwrap(), log.clone()));
        work();
        drop(guard);
        log.take_lines()
    }

    /// Returns the first column of the first table below a heading of a document.
    pub(crate) fn first_column<'a>(document: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
        let (_, section) = document.split_once(&format!("{heading}\n")).unwrap();
        let rows = section.lines().skip_while(|line| !line.starts_with("| `"));
        let rows = rows.take_while(|line| line.starts_with('|'));
        rows.map(|row| row.split('`').nth(1).unwrap())
    }

    #[test]
    fn a_line_is_what_lambda_reads() {
        let lines = log("info", || {
            let span = tracing::info_span!("scan", tenant.id = "t-1");
            span.in_scope(|| tracing::warn!(image.digest = "sha256:00", "layer is truncated"));
            tracing::debug!("not shown");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["message"], "layer is truncated");
        assert_eq!(lines[0]["image.digest"], "sha256:00");
        assert_eq!(lines[0]["spans"][0]["tenant.id"], "t-1");
        let timestamp = lines[0]["timestamp"].as_str().unwrap();
        timestamp.parse::<jiff::Timestamp>().unwrap();
    }

    #[test]
    fn others_never_log_below_a_warning() {
        let lines = log("TRACE", || {
            tracing::trace!("ours");
            tracing::info!(target: "aws_smithy_runtime::client", "theirs");
            tracing::debug!(target: "lambda_runtime::layers::trace", "theirs");
            tracing::info!(target: "hyper", "theirs");
            tracing::warn!(target: "aws_config", "their warning");
        });
        let messages: Vec<_> = lines
            .iter()
            .map(|line| line["message"].as_str().unwrap())
            .collect();
        assert_eq!(messages, ["ours", "their warning"]);
    }

    #[test]
    fn levels_are_read_or_refused() {
        assert_eq!("fatal".parse(), Ok(LogLevel(LevelFilter::ERROR)));
        assert_eq!("portwarden=trace".parse::<LogLevel>(), Err(LogLevelError));
    }
}
