//! Which layers come from the base image, and which are yours.

use portwarden_catalog::{Package, PackageKind};
use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

/// The image that another one was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseImage {
    /// How many of the lowest layers are the base image's.
    pub layers: usize,
    /// How that number is known.
    pub known_by: BaseEvidence,
    /// What the image itself calls its base, in the annotation `org.opencontainers.image.base.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The base's digest, in the annotation `org.opencontainers.image.base.digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// How it is known which layers are the base image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseEvidence {
    /// The history names a command to start below further layers: there the base image ends.
    History,
    /// The lowest layer that has packages of the distribution is its root file system.
    RootFileSystem,
}

/// Whose a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The base image's: a newer base image mends it.
    Base,
    /// Yours: a change of your own build mends it.
    Yours,
}

impl BaseImage {
    /// Finds the layers of the distribution's root file system, where the history does not tell more.
    pub fn of_root_file_system(packages: &[Package]) -> Option<Self> {
        let is_distributions =
            |kind: PackageKind| matches!(kind, PackageKind::Apk | PackageKind::Deb | PackageKind::Rpm);
        let root = packages
            .iter()
            .filter(|package| is_distributions(package.kind))
            .map(|package| package.layer.index)
            .min()?;
        Some(Self {
            layers: root + 1,
            known_by: BaseEvidence::RootFileSystem,
            name: None,
            digest: None,
        })
    }

    /// Tells whose a layer is.
    pub fn side(&self, layer: usize) -> Side {
        if layer < self.layers {
            Side::Base
        } else {
            Side::Yours
        }
    }
}
