//! The adapters against answers that an emulator does not give: throttling, ended sessions, garbled bodies.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod answers;
mod failures;
mod registry_scan;
mod secrets;
mod sessions;
