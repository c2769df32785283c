#![doc = include_str!("../README.md")]

mod context;
mod error;
mod handler;
mod work;

pub use context::{Context, Outside, RematcherSettings};
pub use error::Failure;
pub use handler::handle;
pub use work::{Done, work};
