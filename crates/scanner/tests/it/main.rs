//! The scanner over fakes of everything outside, without a network, a runtime's threads or real time.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod clock;
mod crash;
mod handler;
mod place;
mod registry_scan;
mod scan;
mod shelf;
mod threads;
mod world;
