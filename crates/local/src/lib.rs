#![doc = include_str!("../README.md")]

mod account;
pub mod deploy;
pub mod destination;
mod emulator;
mod error;
pub mod push;
mod registry;
pub mod template;
mod tenant;
pub mod watch;

pub use account::Account;
pub use emulator::{Emulator, EmulatorOptions};
pub use error::LocalError;
pub use registry::RegistryAddress;
pub use tenant::Tenant;
