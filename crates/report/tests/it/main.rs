//! The crate as its callers use it: a report and a database in, documents and changes out.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod change;
mod formats;
mod html;
mod registry;
mod schema;
mod shop;
mod suppression;
