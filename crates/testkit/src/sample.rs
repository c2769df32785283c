//! The sample image: what a small web service of Python and Node on Debian 12 looks like to a catalogue.
//!
//! The package databases are written as dpkg, pip and npm write them. Names, versions and dependencies are facts about
//! published packages; descriptions are our own, and programs are stand-ins of pseudo-random bytes, so that sizes are
//! about right.

mod advisories;
mod application;
mod debian;
mod noise;
mod npm;
mod python;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;

use crate::image::{Image, ImageBuilder, Layer};

pub use self::advisories::ADVISORIES;
use self::application::Release;

/// An image and what a right catalogue finds in it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The image.
    pub image: Image,
    /// The installed packages, each once.
    pub expected: BTreeSet<Package>,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    /// Who installed it.
    pub kind: PackageKind,
    /// The name as the package's own metadata spells it.
    pub name: String,
    /// The version.
    pub version: String,
}

/// Who installed a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackageKind {
    /// dpkg.
    Deb,
    /// pip.
    Pypi,
    /// npm.
    Npm,
}

impl PackageKind {
    /// Returns the type of the packages' purls.
    pub fn purl_type(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Pypi => "pypi",
            Self::Npm => "npm",
        }
    }
}

impl Package {
    fn new(kind: PackageKind, name: &str, version: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            version: version.to_owned(),
        }
    }
}

/// Builds the sample image, release 1.4 of the service.
pub fn image() -> Sample {
    build(&Release::first())
}

/// Builds the service's next release, which differs from [`image`] in the last layer only.
pub fn next_release() -> Sample {
    later_release(0)
}

/// Builds a release after [`image`], counted from 0; every other one takes the update of a package back, so that there is
/// something to compare.
pub fn later_release(number: u32) -> Sample {
    build(&Release::later(number))
}

fn build(release: &Release) -> Sample {
    let mut expected = BTreeSet::new();
    expected.extend(debian::packages());
    expected.extend(python::packages());
    expected.extend(npm::packages());
    release.change(&mut expected);

    let layers: [(&str, Layer); 5] = [
        ("ADD rootfs.tar.xz / # bookworm", debian::base_layer()),
        (
            "RUN apt-get update && apt-get install -y openssl …",
            debian::runtime_layer(),
        ),
        ("RUN pip install -r requirements.txt", python::layer()),
        ("RUN npm ci --omit=dev", npm::layer()),
        (
            "COPY . /usr/src/app && RUN scripts/prepare-release",
            release.layer(),
        ),
    ];
    let image = layers
        .into_iter()
        .fold(ImageBuilder::new(), |image, (created_by, layer)| {
            image.layer(created_by, layer)
        })
        .env(&["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"])
        .label("org.opencontainers.image.title", "shop-web")
        .label("org.opencontainers.image.version", release.version())
        .cmd(&["gunicorn", "shop.web:app"])
        .build();
    Sample { image, expected }
}
