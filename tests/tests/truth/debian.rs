//! A minimal Debian.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portwarden_testkit::image::Compression;
use serde_json::Value;

use crate::{
    output_of,
    root::{Root, name_and_version, of_kind, text},
};

pub(crate) struct Debian {
    /// Where dpkg's own folder is unpacked.
    folder: PathBuf,
}

impl Debian {
    /// Makes the root, or takes that of an earlier run; nothing if a tool for that is missing.
    pub(crate) fn install(folder: &Path) -> Option<Self> {
        let kept = kept();
        if !kept.is_file() {
            fs::create_dir_all(kept.parent().unwrap()).unwrap();
            let made = tempfile::NamedTempFile::with_suffix_in(".tar", kept.parent().unwrap()).unwrap();
            let mut mmdebstrap = Command::new("mmdebstrap");
            mmdebstrap.args(["--quiet", "--variant=minbase"]);
            // A mirror that lags behind serves the purpose, too.
            mmdebstrap
                .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
                .arg("bookworm");
            output_of(mmdebstrap.arg(made.path()))?;
            made.persist(&kept).unwrap();
        }
        Some(Self {
            folder: folder.to_owned(),
        })
    }

    /// Asks dpkg: names, versions and architectures.
    fn dpkg_query(&self) -> BTreeSet<(String, String, String)> {
        // Of the whole archive dpkg needs its own folder only.
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&self.folder).arg("-xf").arg(kept());
        output_of(tar.arg("./var/lib/dpkg")).unwrap();
        let mut dpkg = Command::new("dpkg-query");
        dpkg.arg("--admindir").arg(self.folder.join("var/lib/dpkg"));
        dpkg.args(["-W", "-f", "${Package}\t${Version}\t${Architecture}\n"]);
        let listed = output_of(&mut dpkg).unwrap();
        let rows = listed.lines().map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            std::array::from_fn(|_| columns.next().unwrap())
        });
        rows.map(|[name, version, architecture]| (name, version, architecture))
            .collect()
    }
}

impl Root for Debian {
    fn archive(&self) -> Vec<u8> {
        fs::read(kept()).unwrap()
    }

    fn compression(&self) -> Compression {
        Compression::Zstd
    }

    fn compare(&self, found: &[&Value]) {
        let debian: BTreeSet<_> = of_kind(found, "deb")
            .map(|(_, package)| {
                let (name, version) = name_and_version(package);
                (name, version, text(&package["architecture"]))
            })
            .collect();
        assert!(debian.len() > 80, "{}", debian.len());
        assert_eq!(debian, self.dpkg_query());
    }
}

/// Where the archive is kept from run to run: making it takes a minute.
fn kept() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("target/truth/bookworm.tar")
}
