//! What moves on a terminal while somebody waits; nothing where standard error is no terminal.

use std::{
    collections::HashMap,
    io::{self, IsTerminal as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use portwarden_oci::{Descriptor, Digest};
use portwarden_report::LayerOrigin;
use portwarden_scanner::{Progress, Quiet};

/// Shows the layers that are pulled.
pub(crate) fn of_scan() -> Arc<dyn Progress> {
    if io::stderr().is_terminal() {
        Arc::new(LayerBars::default())
    } else {
        Arc::new(Quiet)
    }
}

/// Shows that something is waited for, until it is dropped.
pub(crate) struct Waiting(ProgressBar);

impl Waiting {
    /// Starts to show `message`.
    pub(crate) fn for_(message: &'static str) -> Self {
        let spinner = if io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        spinner.set_message(message);
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self(spinner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar for each layer that is being pulled.
#[derive(Default)]
struct LayerBars {
    all: MultiProgress,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
}

impl LayerBars {
    fn bar(&self, layer: &Digest) -> Option<ProgressBar> {
        let bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        bars.get(layer).cloned()
    }
}

impl Progress for LayerBars {
    fn layer_started(&self, layer: &Descriptor) {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes:>10} of {total_bytes:>10}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.all.add(ProgressBar::new(layer.size).with_style(style));
        bar.set_message(layer.digest.hex()[..12].to_owned());
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        bars.insert(layer.digest, bar);
    }

    fn layer_read(&self, layer: &Digest, bytes: u64) {
        if let Some(bar) = self.bar(layer) {
            bar.inc(bytes);
        }
    }

    fn layer_finished(&self, layer: &Digest, _: LayerOrigin) {
        if let Some(bar) = self.bar(layer) {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;
    use portwarden_testkit::sample;

    use super::*;

    #[test]
    fn a_bar_counts_the_bytes_of_its_layer() {
        let bars = LayerBars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            ..LayerBars::default()
        };
        let image = sample::image().image;
        let [first, second] = [0, 1].map(|index| image.layers[index].blob.descriptor.clone());
        bars.layer_started(&first);
        bars.layer_read(&first.digest, 10);
        bars.layer_read(&first.digest, 5);
        // Nobody said that this one has started.
        bars.layer_read(&second.digest, 7);
        bars.layer_finished(&second.digest, LayerOrigin::Known);
        let bar = bars.bar(&first.digest).unwrap();
        assert_eq!((bar.position(), bar.length()), (15, Some(first.size)));
        assert!(!bar.is_finished());
        bars.layer_finished(&first.digest, LayerOrigin::Pulled);
        assert!(bar.is_finished());
        assert!(bars.bar(&second.digest).is_none());
    }
}
