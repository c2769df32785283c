use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portwarden_testkit::image::{Compression, ImageBuilder, Layer, write_oci_layout};
use serde_json::Value;

use crate::{output_of, text};

/// A minimal Debian with an environment of Python's and an application of npm's, in a layer each.
pub(crate) struct RealImage {
    folder: tempfile::TempDir,
}

/// What is installed: packages that bring others along, some of which have several versions of one package.
const WHEELS: [&str; 4] = [
    "flask==3.0.3",
    "requests==2.32.3",
    "zope.interface==6.3",
    "setuptools==75.1.0",
];
const NPM_PACKAGES: [&str; 3] = ["express@4.19.2", "@babel/core@7.24.7", "resolve@1.22.8"];

impl RealImage {
    /// Makes the image; nothing if a tool for that is missing.
    pub(crate) fn make() -> Option<Self> {
        let image = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let debian = debian()?;
        let python = image.install_wheels()?;
        let npm = image.install_npm_packages()?;
        let layers = [
            (debian, Compression::Zstd),
            (archive(&python), Compression::Gzip),
            (archive(&npm), Compression::None),
        ];
        let built = layers
            .into_iter()
            .fold(ImageBuilder::new(), |built, (archive, compression)| {
                built.layer("COPY . /", Layer::from_archive(archive, compression))
            });
        write_oci_layout(&image.layout(), &"real".parse().unwrap(), &built.build()).unwrap();
        Some(image)
    }

    /// Returns the image's layout.
    pub(crate) fn layout(&self) -> PathBuf {
        self.path("layout")
    }

    /// Returns a folder beside the image, for whoever needs one.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path("scratch")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn environment(&self) -> PathBuf {
        self.path("python/opt/app")
    }

    fn install_wheels(&self) -> Option<PathBuf> {
        output_of(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(self.environment()),
        )?;
        let mut pip = Command::new(self.environment().join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
        ]);
        output_of(pip.args(WHEELS))?;
        Some(self.path("python"))
    }

    fn install_npm_packages(&self) -> Option<PathBuf> {
        let application = self.path("node/app");
        fs::create_dir_all(&application).unwrap();
        fs::write(
            application.join("package.json"),
            r#"{"name":"app","version":"1.0.0"}"#,
        )
        .unwrap();
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--ignore-scripts",
        ]);
        npm.arg("--cache").arg(self.path("npm-cache"));
        output_of(npm.args(NPM_PACKAGES).current_dir(application))?;
        Some(self.path("node"))
    }

    /// Asks dpkg: names, versions and architectures.
    pub(crate) fn dpkg_query(&self) -> BTreeSet<(String, String, String)> {
        // Of the whole archive dpkg needs its own folder only.
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(self.folder.path())
            .arg("-xf")
            .arg(debian_archive());
        output_of(tar.arg("./var/lib/dpkg")).unwrap();
        let mut dpkg = Command::new("dpkg-query");
        dpkg.arg("--admindir").arg(self.path("var/lib/dpkg"));
        dpkg.args(["-W", "-f", "${Package}\t${Version}\t${Architecture}\n"]);
        let listed = output_of(&mut dpkg).unwrap();
        let rows = listed.lines().map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            std::array::from_fn(|_| columns.next().unwrap())
        });
        rows.map(|[name, version, architecture]| (name, version, architecture))
            .collect()
    }

    /// Asks pip: names and versions.
    pub(crate) fn pip_list(&self) -> BTreeSet<(String, String)> {
        let mut pip = Command::new(self.environment().join("bin/pip"));
        pip.args(["list", "--format", "json", "--disable-pip-version-check"]);
        let listed: Value = serde_json::from_str(&output_of(&mut pip).unwrap()).unwrap();
        let rows = listed.as_array().unwrap().iter();
        rows.map(|row| (text(&row["name"]), text(&row["version"])))
            .collect()
    }

    /// Asks npm: the files that show packages, and the packages as `name@version`.
    pub(crate) fn npm_ls(&self) -> BTreeSet<(String, String)> {
        let application = self.path("node/app");
        let mut npm = Command::new("npm");
        npm.args(["ls", "--all", "--parseable", "--long"])
            .current_dir(&application);
        let listed = output_of(&mut npm).unwrap();
        let root = format!("{}/", fs::canonicalize(&application).unwrap().display());
        let rows = listed
            .lines()
            .filter_map(|line| line.strip_prefix(&root)?.split_once(':'));
        rows.map(|(path, package)| {
            let package = package.split(':').next().unwrap().to_owned();
            (format!("app/{path}/package.json"), package)
        })
        .collect()
    }
}

/// Where the archive of the minimal Debian is kept from run to run: making it takes a minute.
fn debian_archive() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("target/truth/bookworm.tar")
}

fn debian() -> Option<Vec<u8>> {
    let kept = debian_archive();
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
    Some(fs::read(kept).unwrap())
}

/// Packs a folder as a container builder does, links as they are.
fn archive(content: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all("", content).unwrap();
    archive.into_inner().unwrap()
}
