#![doc = include_str!("../README.md")]

pub mod context;
mod error;
mod feed;
mod handler;
pub mod settings;
mod sync;

pub use context::{Context, Outside};
pub use error::{Broken, Failure};
pub use feed::HttpsFeed;
pub use handler::handle;
pub use sync::{Ending, Synced};
