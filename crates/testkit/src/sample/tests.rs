use std::{collections::BTreeMap, io::Read as _};

use portwarden_oci::MediaType;

use super::*;
use crate::image::Artifact as _;

/// Unpacks the layers one over the other and returns the files that a container sees.
fn flatten(image: &Image) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for layer in &image.layers {
        let mut archive = Vec::new();
        let blob = &layer.blob;
        if blob.descriptor.media_type == MediaType::LayerZstd {
            zstd::stream::copy_decode(&blob.bytes[..], &mut archive).unwrap();
        } else {
            let mut decoder = flate2::read::GzDecoder::new(&blob.bytes[..]);
            decoder.read_to_end(&mut archive).unwrap();
        }
        let mut added = BTreeMap::new();
        for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                let below = format!("{parent}/");
                files.retain(|path: &String, _: &mut Vec<u8>| !path.starts_with(&below));
            } else if let Some(hidden) = name.strip_prefix(".wh.") {
                let hidden = format!("{parent}/{hidden}");
                let below = format!("{hidden}/");
                files.retain(|path, _| *path != hidden && !path.starts_with(&below));
            } else if entry.header().entry_type().is_file() {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                added.insert(path, content);
            }
        }
        files.append(&mut added);
    }
    files
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let headers = text.split("\n\n").next().unwrap();
    headers
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Reads the package databases in the simplest way that is right for this image.
fn installed(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<Package> {
    let text = |content: &[u8]| String::from_utf8(content.to_vec()).unwrap();
    let mut packages = BTreeSet::new();
    let status = text(&files["var/lib/dpkg/status"]);
    for stanza in status.split_terminator("\n\n") {
        if field(stanza, "Status") == Some("install ok installed") {
            let (name, version) = (field(stanza, "Package"), field(stanza, "Version"));
            packages.insert(Package::new(PackageKind::Deb, name.unwrap(), version.unwrap()));
        }
    }
    for (path, content) in files {
        if path.ends_with(".dist-info/METADATA") {
            let metadata = text(content);
            let (name, version) = (field(&metadata, "Name"), field(&metadata, "Version"));
            packages.insert(Package::new(PackageKind::Pypi, name.unwrap(), version.unwrap()));
        } else if path.ends_with("/package.json") {
            let manifest: serde_json::Value = serde_json::from_slice(content).unwrap();
            if let (Some(name), Some(version)) = (manifest["name"].as_str(), manifest["version"].as_str()) {
                packages.insert(Package::new(PackageKind::Npm, name, version));
            }
        }
    }
    packages
}

#[test]
fn what_is_expected_is_what_is_installed() {
    for sample in [image(), next_release()] {
        assert_eq!(installed(&flatten(&sample.image)), sample.expected);
    }
}

#[test]
fn no_file_is_below_a_file() {
    let files = flatten(&image().image);
    for path in files.keys() {
        for (end, _) in path.match_indices('/') {
            assert!(!files.contains_key(&path[..end]), "{path}");
        }
    }
}

#[test]
fn the_image_is_of_a_realistic_kind_and_size() {
    let sample = image();
    let count = |kind| {
        sample
            .expected
            .iter()
            .filter(|package| package.kind == kind)
            .count()
    };
    assert_eq!(
        [PackageKind::Deb, PackageKind::Pypi, PackageKind::Npm].map(count),
        [98, 21, 59]
    );
    let size: u64 = sample
        .image
        .layers
        .iter()
        .map(|layer| layer.blob.descriptor.size)
        .sum();
    assert!((5_000_000..20_000_000).contains(&size), "{size}");
    let expects = |kind, name, version| sample.expected.contains(&Package::new(kind, name, version));
    assert!(expects(PackageKind::Deb, "login", "1:4.13+dfsg1-1+deb12u1"));
    assert!(expects(PackageKind::Deb, "openssl", "3.0.19-1~deb12u2"));
    assert!(!expects(PackageKind::Deb, "ifupdown", "0.8.41"));
    assert!(expects(PackageKind::Pypi, "Flask", "2.2.2"));
    assert!(expects(PackageKind::Pypi, "certifi", "2022.12.7"));
    assert!(!expects(PackageKind::Pypi, "certifi", "2022.9.24"));
    assert!(expects(PackageKind::Npm, "@babel/runtime", "7.20.1"));
    assert!(expects(PackageKind::Npm, "ms", "2.0.0") && expects(PackageKind::Npm, "ms", "2.1.1"));
    assert!(expects(PackageKind::Npm, "lodash", "4.17.21"));
    assert!(!expects(PackageKind::Npm, "lodash", "4.17.20"));
    assert!(!expects(PackageKind::Npm, "minimist", "1.2.5"));
    assert!(!expects(PackageKind::Npm, "request", "2.88.0"));
}

#[test]
fn the_same_release_has_the_same_bytes() {
    assert_eq!(image().image, image().image);
}

#[test]
fn the_next_release_has_one_new_layer() {
    let (first, next) = (image(), next_release());
    let digests = |sample: &Sample| -> Vec<_> { sample.image.layers.iter().map(Layer::digest).collect() };
    let (first_digests, next_digests) = (digests(&first), digests(&next));
    assert_eq!(first_digests[..4], next_digests[..4]);
    assert_ne!(first_digests[4], next_digests[4]);
    assert_ne!(first.image.digest(), next.image.digest());
    let new: Vec<_> = next.expected.difference(&first.expected).collect();
    assert_eq!(new, [&Package::new(PackageKind::Pypi, "requests", "2.31.0")]);
    let gone: Vec<_> = first.expected.difference(&next.expected).collect();
    assert_eq!(gone, [&Package::new(PackageKind::Pypi, "requests", "2.28.1")]);
}
