#![doc = include_str!("../README.md")]

pub mod batch;
mod comparison;
pub mod context;
mod credentials;
pub mod error;
pub mod handler;
pub mod invocation;
pub mod probe;
pub mod problem;
pub mod round;
mod telling;
pub mod trust_policy;
