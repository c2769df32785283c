#![doc = include_str!("../README.md")]

mod action;
mod agenda;
mod breach;
mod bridge;
mod chance;
mod cloud;
mod ecr;
mod figures;
mod function;
mod image;
mod lambda;
mod life;
mod model;
mod outside;
mod party;
pub mod policy;
mod queue;
mod setup;
mod simulation;
mod trace;
mod wiring;
mod world;

/// A run allocates all the time, and in one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use breach::{Invariant, Violation};
pub use chance::Chance;
pub use figures::Figures;
pub use function::Function;
pub use simulation::{Faults, Finished, Settings, run};
pub use trace::Step;
pub use wiring::{AsBuilt, Wiring};
