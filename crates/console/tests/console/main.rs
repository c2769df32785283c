//! The console as its callers see it: over a table in memory, with an issuer that really signs.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod access;
mod document;
mod findings;
mod images;
mod integrations;
mod operations;
mod pages;
mod repetition;
mod tokens;
mod webhooks;
mod world;
