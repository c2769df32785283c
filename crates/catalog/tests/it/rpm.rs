//! Databases that rpm itself made, in each of the formats that can be made here, against what `rpm -qa` says of them.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portwarden_catalog::Package;

use crate::{
    blob::{Blob, image},
    peers::output_of,
};

/// What a package is compared by: name, version with its epoch, architecture, source, licence.
type Row = [String; 5];

const QUERY: &str =
    "%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %|ARCH?{%{ARCH}}:{-}| %{SOURCERPM} %{LICENSE}\n";

/// Many packages of one build: an epoch each third one, odd versions, some with so many files that a header of theirs
/// takes many pages, and one that brings a package of Python's.
fn spec() -> String {
    let mut spec = "\
Name: base
Epoch: 2
Version: 1.0~rc1
Release: 3^git1.el9
Summary: a base
License: MIT AND Apache-2.0
BuildArch: noarch
ModularityLabel: base:9:8080:63b34585
%description
A base.
%install
mkdir -p %{buildroot}/usr/lib/python3.9/site-packages/six-1.16.0.dist-info %{buildroot}/usr/share/big
printf 'Name: six\\nVersion: 1.16.0\\n' > %{buildroot}/usr/lib/python3.9/site-packages/six-1.16.0.dist-info/METADATA
for i in $(seq 3000); do : > %{buildroot}/usr/share/big/a-file-with-a-rather-long-name-$i; done
%files
/usr/lib/python3.9/site-packages/six-1.16.0.dist-info
"
    .to_owned();
    for index in 0..60 {
        let epoch = if index % 3 == 0 { "Epoch: 0\n" } else { "" };
        let files = if index == 7 { "/usr/share/big/*\n" } else { "" };
        let _ = write!(
            spec,
            "%package -n lib{index}\nVersion: {index}.{}\n{epoch}Summary: x\nLicense: BSD-{index}-Clause\n%description -n lib{index}\n{}\n%files -n lib{index}\n{files}",
            index * 7,
            "long ".repeat(index * 40),
        );
    }
    spec
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// Builds the packages and installs them into a new database; nothing if there is no rpm.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("base.spec"), spec()).unwrap();
        let define = format!("_topdir {}", path("build").display());
        let mut build = Command::new("rpmbuild");
        build
            .args(["--quiet", "-bb", "--define", &define])
            .arg(path("base.spec"));
        output_of(&mut build)?;
        let entries = fs::read_dir(path("build/RPMS/noarch")).unwrap();
        let files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 61);
        let world = Self { folder };
        output_of(world.rpm("sqlite").args(["--initdb"])).unwrap();
        let install = ["-i", "--nodeps", "--justdb", "--noscripts", "--ignoreos"];
        output_of(world.rpm("sqlite").args(install).args(files)).unwrap();
        Some(world)
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("db")
    }

    fn rpm(&self, backend: &str) -> Command {
        let mut rpm = Command::new("rpm");
        rpm.args(["--dbpath"]).arg(self.database());
        rpm.args(["--define", &format!("_db_backend {backend}")]);
        rpm
    }

    fn listed(&self, backend: &str) -> BTreeSet<Row> {
        let text = output_of(self.rpm(backend).args(["-qa", "--qf", QUERY])).unwrap();
        let rows: BTreeSet<Row> = text
            .lines()
            .map(|line| {
                let mut words = line.splitn(5, ' ').map(|word| word.replace(" 0:", ""));
                let mut row: Row = std::array::from_fn(|_| words.next().unwrap());
                // An epoch of zero is none.
                row[1] = row[1].trim_start_matches("0:").into();
                row
            })
            .collect();
        assert_eq!(rows.len(), 61);
        rows
    }
}

fn catalogue(path: &str, file: &Path) -> Vec<Package> {
    let six = "usr/lib/python3.9/site-packages/six-1.16.0.dist-info/METADATA";
    let layer = Blob::new()
        .file("etc/os-release", "ID=rhel\nVERSION_ID=9.4\n")
        .file(path, fs::read(file).unwrap())
        .file(six, "Name: six\nVersion: 1.16.0\n")
        .catalog();
    assert_eq!(layer.partial(), []);
    image(&[layer]).packages
}

fn rows(packages: &[Package]) -> BTreeSet<Row> {
    let rpms = packages.iter().filter(|package| package.kind.as_str() == "rpm");
    rpms.map(|package| {
        let source = package.source.as_ref().unwrap();
        [
            package.name.clone(),
            package.version.clone().unwrap(),
            package.architecture.clone().unwrap(),
            format!("{}-{}.src.rpm", source.name, source.version.as_ref().unwrap()),
            package.licenses.join(", "),
        ]
    })
    .collect()
}

#[test]
fn rpm_lists_the_same_of_sqlite() {
    let Some(world) = World::new() else { return };
    let packages = catalogue("var/lib/rpm/rpmdb.sqlite", &world.database().join("rpmdb.sqlite"));
    assert_eq!(rows(&packages), world.listed("sqlite"));
    let base = "pkg:rpm/redhat/base@1.0~rc1-3%5Egit1.el9?arch=noarch&distro=rhel-9.4&epoch=2&rpmmod=base:9:8080:63b34585&upstream=base-1.0~rc1-3%5Egit1.el9.src.rpm";
    let found: Vec<_> = packages
        .iter()
        .filter(|package| package.name == "base" || package.name == "six")
        .map(|package| (package.purl.as_str(), package.owned_by.as_deref()))
        .collect();
    assert_eq!(found, [("pkg:pypi/six@1.16.0", Some(base)), (base, None)]);
}

/// This rpm reads Berkeley DB and does not write it, so the blobs are put into one by its own tools.
const DUMP: &str = "
import sqlite3, struct, sys
print('VERSION=3\\nformat=bytevalue\\ntype=hash\\ndb_pagesize=4096\\nHEADER=END')
rows = sqlite3.connect(sys.argv[1]).execute('select hnum, blob from Packages').fetchall()
for key, blob in [(0, struct.pack('<I', len(rows)))] + rows:
    print(' ' + struct.pack('<I', key).hex() + '\\n ' + blob.hex())
print('DATA=END')
";

#[test]
fn rpm_lists_the_same_of_berkeley_db() {
    let Some(world) = World::new() else { return };
    let sqlite = world.database().join("rpmdb.sqlite");
    let dump = output_of(Command::new("python3").args(["-c", DUMP]).arg(&sqlite)).unwrap();
    let text = world.folder.path().join("dump");
    fs::write(&text, dump).unwrap();
    let file = world.database().join("Packages");
    if output_of(Command::new("db_load").arg("-f").arg(text).arg(&file)).is_none() {
        return;
    }
    let expected = world.listed("sqlite");
    fs::remove_file(&sqlite).unwrap();
    assert_eq!(world.listed("bdb_ro"), expected);
    assert_eq!(rows(&catalogue("usr/lib/sysimage/rpm/Packages", &file)), expected);
}
