//! Tests of the whole crate against registries on loopback that answer as a script says.

// The switch in .clippy.toml covers test functions, and not what helps them.
#![allow(clippy::unwrap_used)]

mod blob;
mod docker_archive;
mod fault;
mod host;
mod interop;
mod layout;
mod log;
mod server;
mod token;
