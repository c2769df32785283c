#![doc = include_str!("../README.md")]

mod base;
mod findings;
mod report;
mod suppression;

pub use base::{BaseEvidence, BaseImage, Side};
pub use findings::{DatabaseStamp, ImageFindings, Place, PlacedFinding, PlatformFindings};
pub use report::{
    LayerOrigin, LayerReport, PlatformReport, Report, ReportedImage, SkipReason, Skipped, count_by_kind,
};
pub use suppression::{ExpiredRule, Suppression, SuppressionKind};
