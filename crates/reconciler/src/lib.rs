#![doc = include_str!("../README.md")]

mod context;
mod elsewhere;
mod error;
mod handler;
mod outcome;
mod registry;
mod repository;
mod run;
mod waiting;

pub use context::{Context, Outside, ReconcilerSettings};
pub use error::Failure;
pub use handler::{Answer, Invocation, handle, look};
pub use outcome::{Dropped, Outcome};
