#![doc = include_str!("../README.md")]

mod account;
mod cloud;
pub mod deploy;
pub mod destination;
mod emulator;
mod error;
pub mod push;
mod registry;
pub mod run;
pub mod template;
mod tenant;
pub mod watch;

pub use account::Account;
pub use cloud::{LocalCloud, LocalOptions, ScannedImage, TenantPlan};
pub use emulator::{Emulator, EmulatorOptions};
pub use error::LocalError;
pub use registry::RegistryAddress;
pub use tenant::Tenant;
