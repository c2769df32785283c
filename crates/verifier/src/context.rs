//! What the handler works with, built once when the function starts.

use std::{sync::Arc, time::Duration};

use portwarden_core::{
    announce::Announce,
    arn::RoleArn,
    clock::Clock,
    ecr::ProbeEcr,
    integration::{Directory, Integrations},
    random::Randomness,
    session::ProbeRole,
};

/// The rights of the verifier.
pub struct Context {
    /// Reads connections and stores verdicts.
    pub integrations: Integrations,
    /// Tells whether a role is free.
    pub directory: Directory,
    /// Tries to assume roles; no other function has this.
    pub roles: Arc<dyn ProbeRole>,
    /// Tries what a session may do.
    pub ecr: Arc<dyn ProbeEcr>,
    /// Tells when a connection changed.
    pub bus: Arc<dyn Announce>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
    /// Our connector role, which tenants' roles trust.
    pub connector: RoleArn,
    /// How long to wait between attempts to open a role that may be new.
    pub patience: Vec<Duration>,
}
