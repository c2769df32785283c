use portwarden_oci::{Descriptor, Digest};

use portwarden_report::LayerOrigin;

/// Hears how a scan goes on, for people who watch it; called from whichever thread does the work.
pub trait Progress: Send + Sync {
    /// A layer is about to be pulled.
    fn layer_started(&self, layer: &Descriptor);

    /// So many more bytes of a layer have been read.
    fn layer_read(&self, layer: &Digest, bytes: u64);

    /// Nothing more happens to a layer.
    fn layer_finished(&self, layer: &Digest, origin: LayerOrigin);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn layer_started(&self, _: &Descriptor) {}

    fn layer_read(&self, _: &Digest, _: u64) {}

    fn layer_finished(&self, _: &Digest, _: LayerOrigin) {}
}
