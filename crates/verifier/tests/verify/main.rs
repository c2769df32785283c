//! The verifier over a world in memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod causes;
mod comparison;
mod halfway;
mod late;
mod quick;
mod round;
mod trust;
mod world;
