//! What a run counts.

/// How much happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events that were sent, each once.
    pub events: u64,
    /// Events of images that were never sent.
    pub unsent: u64,
    /// Deliveries of events and of copies, repetitions included.
    pub deliveries: u64,
    /// Deliveries that were answered with 202.
    pub accepted: u64,
    /// Invocations of functions.
    pub invocations: u64,
    /// Invocations that died at an await.
    pub crashes: u64,
    /// Invocations that took too long.
    pub time_outs: u64,
    /// Calls of functions to the world.
    pub calls: u64,
    /// Calls that were throttled, or whose answer was lost.
    pub troubles: u64,
    /// Sessions that ended before their time.
    pub expired: u64,
    /// Images that were reported, for a tenant.
    pub reported: u64,
    /// Images that were refused, for a tenant.
    pub refused: u64,
    /// Connections that were found trustworthy.
    pub proven: u64,
    /// Connections that were found not to be.
    pub distrusted: u64,
    /// Changes of a connection's status that were told.
    pub statuses: u64,
    /// Tests that claims without proof led to.
    pub claims: u64,
    /// Rounds of the schedule.
    pub rounds: u64,
    /// Regions whose stacks took new credentials in the place of old ones.
    pub rotated: u64,
    /// Deliveries for an integration that was removed.
    pub gone: u64,
    /// Integrations of which nothing is left but receipts and ids.
    pub purged: u64,
    /// Messages that were dead letters for a while.
    pub dead_letters: u64,
    /// Messages that were sent to webhooks.
    pub posts: u64,
    /// Checks of invariants that were made.
    pub checks: u64,
}
