//! Conda and its relatives (Anaconda, Mamba, Pixi): `conda-meta/*.json` in an environment, one file for each package.
//!
//! Conda installs packages of any language. One of Python's is listed as such, too: advisories name it by that.
//! Sources: conda, "Conda environments" and `PrefixRecord`; the package-url specification, type `conda`.

use serde::Deserialize;

use crate::{
    PartialCode,
    cataloguer::{Cataloguer, Reading},
    facts::{Declared, PackageKind},
    path::split,
};

pub(crate) struct Conda;

impl Cataloguer for Conda {
    fn wants(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        let is_record = matches!(name.rsplit_once('.'), Some((stem, "json")) if !stem.is_empty());
        is_record && split(folder).1 == "conda-meta"
    }

    fn read(&self, _path: &str, content: &[u8]) -> Reading {
        let package = serde_json::from_slice::<Record>(content)
            .ok()
            .and_then(|record| record.declare());
        let is_malformed = package.is_none();
        Reading::of_packages(package.into_iter().collect()).with_flaw(PartialCode::Malformed, is_malformed)
    }
}

#[derive(Deserialize)]
struct Record {
    name: String,
    version: String,
    #[serde(default)]
    build: Option<String>,
    /// A name, or a URL, with or without the folder below it.
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    subdir: Option<String>,
    #[serde(default)]
    license: Option<String>,
    #[serde(default, rename = "fn")]
    file: Option<String>,
}

impl Record {
    fn declare(&self) -> Option<Declared> {
        let mut package = Declared::new(PackageKind::Conda, &self.name, Some(&self.version))?;
        let subdir = self.subdir.as_deref();
        package.qualify("build", self.build.as_deref());
        package.qualify("subdir", subdir);
        let channel = self.channel.as_deref().map(|channel| {
            let channel = channel.trim_end_matches('/');
            let channel = subdir
                .and_then(|subdir| channel.strip_suffix(subdir))
                .unwrap_or(channel);
            split(channel.trim_end_matches('/')).1
        });
        package.qualify("channel", channel);
        let kinds = ["conda", "tar.bz2"];
        let is_kind = |kind: &&str| {
            self.file
                .as_ref()
                .is_some_and(|file| file.ends_with(&format!(".{kind}")))
        };
        package.qualify("type", kinds.into_iter().find(is_kind));
        if let Some(license) = &self.license {
            package.add_license(license);
        }
        Some(package)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::purl::purl;

    const ZLIB: &str = r#"{"build":"h90dfc92_1014","build_number":1014,"channel":"https://conda.anaconda.org/conda-forge/osx-arm64",
        "depends":[],"files":["lib/libz.a"],"fn":"zlib-1.2.11-h90dfc92_1014.tar.bz2","license":"Zlib","name":"zlib",
        "subdir":"osx-arm64","version":"1.2.11"}"#;

    fn read(content: &str) -> Vec<String> {
        match Conda.read("", content.as_bytes()).facts {
            Some(crate::facts::Facts::Packages(packages)) => packages
                .iter()
                .filter_map(|package| purl(package, None))
                .collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_record_says_build_channel_and_platform() {
        let zlib =
            "pkg:conda/zlib@1.2.11?build=h90dfc92_1014&channel=conda-forge&subdir=osx-arm64&type=tar.bz2";
        assert_eq!(read(ZLIB), [zlib]);
        assert_eq!(read(&ZLIB.replace("/osx-arm64\",", "/\",")), [zlib]);
        assert_eq!(
            read(&ZLIB.replace("https://conda.anaconda.org/conda-forge/osx-arm64", "conda-forge")),
            [zlib]
        );
        assert_eq!(read(r#"{"name":"a","version":"1"}"#), ["pkg:conda/a@1"]);
        for broken in [
            "",
            "{}",
            r#"{"name":"a","version":1}"#,
            r#"{"name":"","version":"1"}"#,
        ] {
            assert_eq!(
                Conda.read("", broken.as_bytes()).flaws,
                [PartialCode::Malformed],
                "{broken}"
            );
        }
    }

    #[test]
    fn records_lie_in_one_folder() {
        assert!(Conda.wants("opt/conda/conda-meta/zlib-1.2.11-h90dfc92_1014.json"));
        for path in [
            "opt/conda/conda-meta/history",
            "conda-meta/a/b.json",
            "a.json",
            "opt/conda-meta/.json",
        ] {
            assert!(!Conda.wants(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, at in 0..ZLIB.len(), byte: u8) {
            Conda.read("", &content);
            let mut content = ZLIB.as_bytes().to_vec();
            content[at] = byte;
            Conda.read("", &content);
        }
    }
}
