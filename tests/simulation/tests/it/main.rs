//! The simulation in its short form, bugs that it must catch, and its STS beside an independent one.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod bugs;
mod oracle;
mod seeds;
mod trust;
