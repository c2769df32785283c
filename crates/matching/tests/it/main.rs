//! Matching in memory: what is kept, what is told, and what is merged.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod news;
mod registry_scan;
mod world;
