//! A part of the image: what tools of one ecosystem install, and what those say of it.

use std::path::Path;

use portwarden_testkit::image::Compression;
use serde_json::Value;

/// What is installed in a layer of its own.
pub(crate) trait Root {
    /// Returns the archive of the layer.
    fn archive(&self) -> Vec<u8>;

    /// Returns how the layer is compressed.
    fn compression(&self) -> Compression {
        Compression::Gzip
    }

    /// Compares the packages that the layer brought with what the tools list.
    fn compare(&self, found: &[&Value]);
}

/// Packs a folder as a container builder does, links as they are.
pub(crate) fn archive(content: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all("", content).unwrap();
    archive.into_inner().unwrap()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Selects the packages of a kind, each with the file that shows it.
pub(crate) fn of_kind<'v>(found: &[&'v Value], kind: &str) -> impl Iterator<Item = (&'v str, &'v Value)> {
    let packages = found.iter().copied();
    packages
        .filter(move |package| package["kind"] == kind)
        .map(|package| (package["file"].as_str().unwrap(), package))
}

pub(crate) fn name_and_version(package: &Value) -> (String, String) {
    (text(&package["name"]), text(&package["version"]))
}
