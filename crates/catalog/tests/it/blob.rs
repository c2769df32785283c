use std::io::{self, Read, Write};

use flate2::write::GzEncoder;
use portwarden_catalog::{Compression, ImageCatalog, LayerCatalog, Limits, catalog_layer, fold};
use portwarden_oci::Digest;
use tar::{Builder, EntryType, Header};

/// Builds a layer's archive, entry by entry.
pub(crate) struct Blob(Builder<Vec<u8>>);

impl Blob {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Regular, path, content.as_ref())
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, &[])
    }

    pub(crate) fn link(mut self, kind: EntryType, path: &str, target: &str) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    /// Writes the path as it is, however hostile.
    pub(crate) fn entry(mut self, kind: EntryType, path: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    /// Writes a header of any kind before the next entry, as it is.
    pub(crate) fn raw(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.append(header, content).unwrap();
        self
    }

    pub(crate) fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    pub(crate) fn catalog(self) -> LayerCatalog {
        catalog(&self.tar(), Compression::None)
    }
}

pub(crate) fn catalog(blob: &[u8], compression: Compression) -> LayerCatalog {
    catalog_layer(blob, compression, &Limits::default(), &|| false).unwrap()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Folds layers whose digests are those of their places.
pub(crate) fn image(layers: &[LayerCatalog]) -> ImageCatalog {
    fold(
        layers
            .iter()
            .enumerate()
            .map(|(index, layer)| (digest_of(index), layer)),
    )
}

pub(crate) fn digest_of(index: usize) -> Digest {
    Digest::of(index.to_string().as_bytes())
}

/// The codes of what is missing, in the order in which it was noticed.
pub(crate) fn codes(layer: &LayerCatalog) -> Vec<&'static str> {
    layer
        .partial()
        .iter()
        .map(|partial| partial.code.as_str())
        .collect()
}

/// A dpkg database with these packages, installed.
pub(crate) fn dpkg_status(packages: &[(&str, &str)]) -> String {
    let stanzas = packages.iter().map(|(name, version)| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n")
    });
    stanzas.collect::<Vec<_>>().join("\n")
}

/// A reader that fails with an error when its content ends, as one does whose digest turns out to be wrong.
pub(crate) struct Lying<'a>(pub(crate) &'a [u8], pub(crate) io::ErrorKind);

impl Read for Lying<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 if !into.is_empty() => Err(self.1.into()),
            count => Ok(count),
        }
    }
}
