//! What a test does with the calls that pass a proxy: it sees them, and may step in.

use std::fmt;

use bytes::Bytes;

use super::Fault;

/// A call as it passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The service that its signature names.
    pub service: String,
    /// What is asked for.
    pub operation: String,
    /// The access key's id that it is signed with; empty if it is not signed.
    pub access_key_id: String,
    /// Its body.
    pub body: Bytes,
}

/// Sees the calls that pass a proxy, and may step in.
pub trait Tap: fmt::Debug + Send + Sync {
    /// Chooses what a call meets, whatever the plan says.
    fn fault(&self, _call: &Call) -> Option<Fault> {
        None
    }

    /// Sees the answer to a call, and may change it.
    fn answer(&self, _call: &Call, content: Bytes) -> Bytes {
        content
    }
}

/// Lets everything pass.
#[derive(Debug)]
pub(super) struct Nobody;

impl Tap for Nobody {}
