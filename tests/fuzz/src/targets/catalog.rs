//! Layers, the files in them that show packages, and stored catalogues.

use std::{collections::BTreeSet, io::Read, str::FromStr as _, sync::LazyLock};

use jiff::Timestamp;
use packageurl::PackageUrl;
use portwarden_catalog::{
    CATALOG_VERSION, Compression, ImageCatalog, LayerCatalog, Limits, Partial, Space, Subject, catalog_layer,
    cyclonedx, fold,
};
use portwarden_oci::Digest;
use serde::Deserialize as _;
use serde_json::Value;
use tar::{EntryType, Header};

use crate::law::json_comes_back;

targets! { layer archive stored_layer os_release dpkg_status dpkg_list apk_installed python_metadata npm_package
dpkg_copyright rpm_database rpm_manifest program java_archive yarn_cache gemspec composer conda dotnet java_release }

/// A layer's blob; the first byte says as what its manifest declares it.
fn layer(input: &[u8]) {
    let (&declared, blob) = input.split_first().unwrap_or((&0, &[]));
    let compression = match declared {
        b'g' => Compression::Gzip,
        b'z' => Compression::Zstd,
        _ => Compression::None,
    };
    let layer = catalog(blob, compression);
    holds(&layer);
    // How the blob comes in pieces does not matter; where a broken one breaks off may depend on it.
    let in_pieces = catalog(Pieces(blob), compression);
    assert_eq!(is_cut_off(&in_pieces), is_cut_off(&layer));
    assert!(is_cut_off(&layer) || in_pieces == layer);
}

/// A tar archive whose headers all have the right checksum, which no mutation would give them.
fn archive(input: &[u8]) {
    let mut tar = input.to_vec();
    for block in tar.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    holds(&catalog(&*tar, Compression::None));
}

/// A layer's catalogue as it is stored, read back by a later scan.
fn stored_layer(input: &[u8]) {
    let Ok(Value::Object(mut stored)) = serde_json::from_slice(input) else {
        return;
    };
    stored.insert("version".to_owned(), CATALOG_VERSION.into());
    if let Ok(layer) = LayerCatalog::deserialize(Value::Object(stored)) {
        json_comes_back(&layer);
        let image = fold([(Digest::of(b"1"), &layer), (Digest::of(b"2"), &layer)]);
        json_comes_back(&image);
        is_written_as_cyclonedx(&image);
    }
}

/// Makes a target of a file that shows packages: `name`, and where such a file lies in an image.
macro_rules! files {
    ($($name:ident: $path:literal;)+) => {
        $(fn $name(input: &[u8]) {
            let content = &input[..input.len().min(32 << 10)];
            holds(&catalog(&*archive_of(&[$path], content), Compression::None));
        })+
    };
}

files! {
    os_release: "etc/os-release";
    dpkg_status: "var/lib/dpkg/status";
    apk_installed: "lib/apk/db/installed";
    python_metadata: "usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA";
    dpkg_copyright: "usr/share/doc/bash/copyright";
    rpm_database: "var/lib/rpm/Packages";
    rpm_manifest: "var/lib/rpmmanifest/container-manifest-2";
    program: "usr/bin/node";
    java_archive: "app/lib/a-1.jar";
    yarn_cache: "app/.yarn/cache/name-npm-1.0.0-0123456789-8.zip";
    gemspec: "var/lib/gems/3.1.0/specifications/rake-13.0.6.gemspec";
    composer: "app/vendor/composer/installed.json";
    conda: "opt/conda/conda-meta/zlib-1.2.11-h90dfc92_1014.json";
    dotnet: "app/shop.deps.json";
    java_release: "opt/java/release";
    npm_package: "app/node_modules/@scope/name/package.json";
}

/// The lists of files of a package, in both forms.
fn dpkg_list(input: &[u8]) {
    let paths = ["var/lib/dpkg/info/six.list", "var/lib/dpkg/status.d/six.md5sums"];
    holds(&catalog(&*archive_of(&paths, input), Compression::None));
}

/// Small enough for a fuzzer to reach each of them.
static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits {
    unpacked_bytes: 1 << 20,
    entries: 200,
    path_bytes: 300,
    path_depth: 20,
    header_bytes: 4 << 10,
    file_bytes: 64 << 10,
    rpm_bytes: 64 << 10,
    record_bytes: 8 << 10,
    nested_depth: 2,
    nested_bytes: 256 << 10,
    nested_entries: 100,
    kept_bytes: 256 << 10,
    image_bytes: u64::MAX,
    zstd_window_log: 20,
    large_bytes: 64 << 10,
    space: Space::default(),
});

fn catalog(blob: impl Read, compression: Compression) -> LayerCatalog {
    catalog_layer(blob, compression, &LIMITS, &|| false)
        .expect("whatever the bytes are, a blob that can be read has a catalogue")
}

/// What holds of the catalogue of every layer.
fn holds(layer: &LayerCatalog) {
    json_comes_back(layer);
    let stored = serde_json::to_vec(layer).unwrap().len() as u64;
    // JSON writes some characters as six, and each entry costs its fingerprint.
    assert!(
        stored <= 6 * LIMITS.kept_bytes + 20 * LIMITS.entries + 8192,
        "{stored} bytes to store"
    );
    let codes: BTreeSet<_> = layer.partial().iter().map(|partial| partial.code).collect();
    assert_eq!(codes.len(), layer.partial().len(), "one line for each kind");
    for Partial { path, count, .. } in layer.partial() {
        assert!(path.chars().count() <= 256 && *count >= 1);
    }
    let image = fold([(Digest::of(b"1"), layer)]);
    for package in &image.packages {
        let purl =
            PackageUrl::from_str(&package.purl).unwrap_or_else(|error| panic!("{}: {error}", package.purl));
        assert_eq!(purl.to_string(), package.purl);
        assert_eq!(purl.ty(), package.kind.as_str());
        let version = purl
            .version()
            .map(|version| match purl.qualifiers().get("epoch") {
                Some(epoch) => format!("{epoch}:{version}"),
                None => version.to_owned(),
            });
        assert_eq!(version, package.version, "{}", package.purl);
        for word in [Some(&package.name), package.version.as_ref()]
            .into_iter()
            .flatten()
        {
            assert!((1..=512).contains(&word.len()), "{word:?}");
            assert!(
                !word.contains(|c: char| c.is_control() || c.is_whitespace()),
                "{word:?}"
            );
        }
        assert!(
            package
                .file
                .split('/')
                .all(|part| !["", ".", ".."].contains(&part)),
            "{:?}",
            package.file
        );
        assert_eq!(package.layer.index, 0);
    }
    // A layer on top of itself changes nothing.
    let twice = fold([(Digest::of(b"1"), layer), (Digest::of(b"1"), layer)]);
    assert_eq!(shown(&twice), shown(&image));
    is_written_as_cyclonedx(&image);
}

fn shown(image: &ImageCatalog) -> BTreeSet<(&str, &str)> {
    let packages = image.packages.iter();
    packages
        .map(|package| (package.purl.as_str(), package.file.as_str()))
        .collect()
}

fn is_written_as_cyclonedx(image: &ImageCatalog) {
    let subject = Subject {
        repository: "shop/web".to_owned(),
        digest: Digest::of(b"manifest"),
        platform: None,
        catalogued_at: Timestamp::UNIX_EPOCH,
    };
    let bom: Value = serde_json::from_slice(&cyclonedx::write(image, &subject)).unwrap();
    let components = bom["components"].as_array().unwrap();
    let listed: BTreeSet<_> = components
        .iter()
        .filter_map(|component| component["purl"].as_str())
        .collect();
    let packages: BTreeSet<_> = image.packages.iter().map(|package| &*package.purl).collect();
    assert_eq!(listed, packages);
}

/// Writes an archive of files that all have the same content.
fn archive_of(paths: &[&str], content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for path in paths {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn is_cut_off(layer: &LayerCatalog) -> bool {
    layer.partial().iter().any(|partial| partial.path.is_empty())
}

/// Gives a few bytes at a time.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = into.len().min(37);
        self.0.read(&mut into[..count])
    }
}
