//! What other programs say, and what the real advisories hold.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod cargo_audit;
mod collection;
mod database;
mod feed;
mod findings;
mod sbom;
mod second_opinion;
mod versions;
