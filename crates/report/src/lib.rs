#![doc = include_str!("../README.md")]

mod base;
mod change;
pub mod cyclonedx;
mod event;
mod findings;
pub mod html;
mod ignore;
mod link;
mod purl;
mod registry;
mod report;
pub mod sarif;
mod suppression;
mod vex;

pub use base::{BaseEvidence, BaseImage, HistoryStep, Side, instructions};
pub use change::{
    Cause, Change, ChangeCounts, ChangeLine, Changes, ChangesEvent, Compared, Snapshot, StillThere, compare,
};
pub use event::{ChangeReason, ChangedPlace, FindingsChanged};
pub use findings::{DatabaseStamp, ImageFindings, Place, PlacedFinding, PlatformFindings};
pub use ignore::RulesError;
pub use registry::{FoundBy, MergedScan, RegistryWord};
pub use report::{
    LayerOrigin, LayerReport, PlatformReport, Report, ReportedImage, SkipReason, Skipped, count_by_kind,
};
pub use suppression::{ExpiredRule, Suppression, SuppressionKind, Suppressions};
pub use vex::VexError;
