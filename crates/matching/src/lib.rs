#![doc = include_str!("../README.md")]

mod current;
mod entry;
mod error;
mod index;
mod matcher;
mod news;

pub use current::{CurrentDatabase, Loaded};
pub use error::MatchError;
pub use index::Index;
pub use matcher::{FirstMatch, Matcher, Rematched};
