use std::sync::Arc;

use portwarden_core::purge::PurgeObjects;
use portwarden_notifier::Outside as NotifierOutside;
use portwarden_receiver::context::Outside as ReceiverOutside;
use portwarden_reconciler::Outside as ReconcilerOutside;
use portwarden_scanner::Outside as ScannerOutside;
use portwarden_verifier::context::Context as VerifierContext;
use serde_json::Value;

/// How the functions are put into the world; a test puts a bug in between.
pub trait Wiring: Send + Sync {
    /// Returns what a process of the receiver has around it.
    fn receiver(&self, outside: ReceiverOutside) -> ReceiverOutside {
        outside
    }

    /// Returns what a process of the verifier works with.
    fn verifier(&self, context: VerifierContext) -> VerifierContext {
        context
    }

    /// Returns where a process of the verifier deletes what is known of removed integrations.
    fn purged_objects(&self, objects: Arc<dyn PurgeObjects>) -> Arc<dyn PurgeObjects> {
        objects
    }

    /// Returns what a process of the scanner has around it.
    fn scanner(&self, outside: ScannerOutside) -> ScannerOutside {
        outside
    }

    /// Returns what a process of the reconciler has around it.
    fn reconciler(&self, outside: ReconcilerOutside) -> ReconcilerOutside {
        outside
    }

    /// Returns what a process of the notifier has around it.
    fn notifier(&self, outside: NotifierOutside) -> NotifierOutside {
        outside
    }

    /// Returns what the receiver's answer becomes on its way to EventBridge.
    fn answer(&self, answer: Value) -> Value {
        answer
    }
}

/// The functions as they are built.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsBuilt;

impl Wiring for AsBuilt {}
