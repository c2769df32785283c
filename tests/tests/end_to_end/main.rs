//! Portwarden in the local cloud: its own template, its functions under their own roles, and two tenants' accounts.
//!
//! Each test has a cloud of its own, so that none sees what another did.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod advisories;
mod attacks;
mod browser;
mod connect;
mod console;
mod contract;
mod endpoint;
mod faults;
mod observability;
mod permission;
mod publishing;
mod push;
mod reconcile;
mod rotate;
mod trust;
mod webhooks;
mod world;
