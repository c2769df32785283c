//! The crate as its callers use it: blobs in, packages and SBOMs out.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod binary;
mod blob;
mod cyclonedx;
mod fold;
mod hostile;
mod peers;
mod rpm;
mod spdx;
