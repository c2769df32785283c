/// The functions that are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Takes events in.
    Receiver,
    /// Tests connections.
    Verifier,
    /// Scans images.
    Scanner,
    /// Compares what is known with what ECR lists.
    Reconciler,
    /// Tells what changed.
    Notifier,
}

impl Function {
    /// Returns the name of the role that the function runs in.
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::Receiver => "portwarden-receiver",
            Self::Verifier => "portwarden-verifier",
            Self::Scanner => "portwarden-scanner",
            Self::Reconciler => "portwarden-reconciler",
            Self::Notifier => "portwarden-notifier",
        }
    }
}
