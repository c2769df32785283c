use std::collections::BTreeSet;

use crate::image::{Compression, Layer, LayerBuilder};

/// A layer in the making that lists every directory before what is in it, as container tools do.
#[derive(Default)]
pub(super) struct Tree {
    layer: LayerBuilder,
    directories: BTreeSet<String>,
}

impl Tree {
    pub(super) fn file(&mut self, path: &str, content: impl AsRef<[u8]>) {
        self.enter_parent(path);
        self.layer.file(path, content);
    }

    pub(super) fn program(&mut self, path: &str, content: impl AsRef<[u8]>) {
        self.enter_parent(path);
        self.layer.file_with_mode(path, 0o755, content);
    }

    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        self.enter_parent(path);
        self.layer.symlink(path, target);
    }

    pub(super) fn whiteout(&mut self, path: &str) {
        self.enter_parent(path);
        self.layer.whiteout(path);
    }

    pub(super) fn opaque(&mut self, directory: &str) {
        self.enter(directory);
        self.layer.opaque(directory);
    }

    pub(super) fn finish(&self, compression: Compression) -> Layer {
        self.layer.finish(compression)
    }

    fn enter_parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.enter(parent);
        }
    }

    fn enter(&mut self, directory: &str) {
        if !self.directories.contains(directory) {
            self.enter_parent(directory);
            self.layer.directory(directory);
            self.directories.insert(directory.to_owned());
        }
    }
}
