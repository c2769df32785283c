//! The simulation in its short form, bugs that it must catch, its STS beside an independent one, and
//! what sessions may do.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod bugs;
mod connections;
mod oracle;
mod seeds;
mod sessions;
mod trust;
