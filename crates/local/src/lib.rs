#![doc = include_str!("../README.md")]

mod account;
mod advisories;
mod cloud;
pub mod deploy;
pub mod destination;
mod emulator;
mod error;
mod function;
pub mod invoke;
mod launch;
mod people;
mod process;
pub mod push;
pub mod recorded;
mod registry;
pub mod run;
mod runtime;
pub mod template;
mod tenant;
mod walk_through;
pub mod watch;

pub use account::Account;
pub use advisories::AdvisoryChoice;
pub use cloud::{Identity, LocalCloud, LocalOptions, ScannedImage, TenantPlan};
pub use emulator::{Emulator, EmulatorOptions};
pub use error::LocalError;
pub use function::Function;
pub use launch::Launched;
pub use registry::RegistryAddress;
pub use runtime::Runtime;
pub use tenant::Tenant;
pub use walk_through::{Links, PushAnother, WalkThrough};
