#![doc = include_str!("../README.md")]

mod current;
mod entry;
mod error;
mod matcher;

pub use current::{CurrentDatabase, Loaded};
pub use error::MatchError;
pub use matcher::{FirstMatch, Matcher, Rematched};
