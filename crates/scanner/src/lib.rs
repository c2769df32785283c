#![doc = include_str!("../README.md")]

mod deadline;
mod images;
mod layer;
mod progress;
mod refusal;
pub mod report;
mod scan;

pub use deadline::Deadline;
pub use layer::{BlockingThreads, CatalogLayers, Inline, LayerCache, MemoryLayers, Watch};
pub use progress::{Progress, Quiet};
pub use refusal::Refusal;
pub use report::Report;
pub use scan::{Scan, ScanError, Scanned};
