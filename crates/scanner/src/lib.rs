#![doc = include_str!("../README.md")]

mod context;
mod deadline;
mod error;
mod findings;
mod handler;
mod images;
mod layer;
mod memory;
mod outcome;
mod place;
mod progress;
mod refusal;
mod scan;

pub use context::{Context, Outside, ScannerSettings};
pub use deadline::Deadline;
pub use error::Failure;
pub use handler::{handle, look};
pub use layer::{BlockingThreads, CatalogLayers, Inline, LayerCache, MemoryLayers, Watch};
pub use memory::share_one_arena;
pub use outcome::{Dropped, Outcome};
pub use progress::{Progress, Quiet};
pub use refusal::Refusal;
pub use scan::{Scan, ScanError, Scanned};
