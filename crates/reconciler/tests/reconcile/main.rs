//! The reconciler against a simulated ECR.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod backfill;
mod crash;
mod sweep;
mod waiting;
mod world;
