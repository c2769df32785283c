use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{Package, PackageKind, noise, tree::Tree};
use crate::image::{Compression, Layer};

/// Facts about published packages, one a line.
const TABLE: &str = include_str!("python.tsv");

const SITE_PACKAGES: &str = "usr/local/lib/python3.11/site-packages";

/// An installed distribution package.
pub(super) struct Distribution {
    name: &'static str,
    version: &'static str,
    module: &'static str,
    requires_python: &'static str,
    license: &'static str,
    tag: &'static str,
    requires: &'static str,
    summary: &'static str,
}

pub(super) fn packages() -> impl Iterator<Item = Package> {
    table().map(|distribution| distribution.package())
}

/// The interpreter and what pip installed.
pub(super) fn layer() -> Layer {
    let mut tree = Tree::default();
    let python = "usr/local/bin/python3.11";
    tree.program(python, noise::bytes(python, 700_000));
    tree.symlink("usr/local/bin/python3", "python3.11");
    for distribution in table() {
        distribution.install(&mut tree);
    }
    tree.finish(Compression::Gzip)
}

/// Finds a distribution of the table, in another `version` where the later layer has one.
pub(super) fn distribution(name: &str, version: Option<&'static str>) -> Option<Distribution> {
    let distribution = table().find(|distribution| distribution.name == name)?;
    Some(Distribution {
        version: version.unwrap_or(distribution.version),
        ..distribution
    })
}

fn table() -> impl Iterator<Item = Distribution> {
    TABLE.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        Distribution {
            name: next(),
            version: next(),
            module: next(),
            requires_python: next(),
            license: next(),
            tag: next(),
            requires: next(),
            summary: next(),
        }
    })
}

impl Distribution {
    pub(super) fn package(&self) -> Package {
        Package::new(PackageKind::Pypi, self.name, self.version)
    }

    /// Returns the directory of the metadata (recording installed projects, `.dist-info`).
    pub(super) fn dist_info(&self) -> String {
        let name = self.name.replace('-', "_");
        format!("{SITE_PACKAGES}/{name}-{}.dist-info", self.version)
    }

    /// Writes module and metadata as pip does, with a RECORD that is right.
    pub(super) fn install(&self, tree: &mut Tree) {
        let dist_info = self.dist_info();
        let module = format!("{SITE_PACKAGES}/{}", self.module);
        let seed = format!("{}-{}", self.name, self.version);
        let source = format!(
            "\"\"\"{}.\"\"\"\n__version__ = \"{}\"\n",
            self.summary, self.version
        );
        let payload = noise::bytes(&seed, 40_000 + noise::below(80_000, &seed));
        let files = [
            (format!("{module}/__init__.py"), source.into_bytes()),
            (format!("{module}/_data.bin"), payload),
            (format!("{dist_info}/INSTALLER"), b"pip\n".to_vec()),
            (format!("{dist_info}/METADATA"), self.metadata().into_bytes()),
            (format!("{dist_info}/WHEEL"), self.wheel().into_bytes()),
            (
                format!("{dist_info}/top_level.txt"),
                format!("{}\n", self.module).into_bytes(),
            ),
        ];
        let mut record = String::new();
        for (path, content) in &files {
            tree.file(path, content);
            let path = path.trim_start_matches(SITE_PACKAGES).trim_start_matches('/');
            let sum = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(content));
            let _ = writeln!(record, "{path},sha256={sum},{}", content.len());
        }
        let own_path = dist_info
            .trim_start_matches(SITE_PACKAGES)
            .trim_start_matches('/');
        let _ = writeln!(record, "{}/__pycache__/__init__.cpython-311.pyc,,", self.module);
        let _ = writeln!(record, "{own_path}/RECORD,,");
        tree.file(&format!("{dist_info}/RECORD"), record);
    }

    /// Writes headers and a body like a mail (core metadata specification).
    fn metadata(&self) -> String {
        let mut metadata = format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\nSummary: {}\n",
            self.name, self.version, self.summary
        );
        if !self.license.is_empty() {
            let _ = writeln!(metadata, "License: {}", self.license);
        }
        metadata += "Platform: UNKNOWN\nClassifier: Programming Language :: Python :: 3\n";
        let _ = writeln!(metadata, "Requires-Python: {}", self.requires_python);
        metadata += "Description-Content-Type: text/x-rst\n";
        for requirement in self.requires.split('|').filter(|text| !text.is_empty()) {
            let _ = writeln!(metadata, "Requires-Dist: {requirement}");
        }
        // The body may have lines that look like headers; they are none.
        let _ = writeln!(
            metadata,
            "\n{}\n\nVersion: the next one will be better",
            self.summary
        );
        metadata
    }

    fn wheel(&self) -> String {
        let pure = self.tag.ends_with("none-any");
        let mut wheel =
            format!("Wheel-Version: 1.0\nGenerator: bdist_wheel (0.37.1)\nRoot-Is-Purelib: {pure}\n");
        let (pythons, rest) = self.tag.split_once('-').unwrap_or((self.tag, ""));
        for python in pythons.split('.') {
            let _ = writeln!(wheel, "Tag: {python}-{rest}");
        }
        wheel
    }
}
