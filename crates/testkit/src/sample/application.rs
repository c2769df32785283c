use std::collections::BTreeSet;

use super::{
    Package,
    npm::{self, NodePackage},
    python::{self, Distribution},
    tree::Tree,
};
use crate::image::{Compression, Layer};

/// A release of the service: its code, and what its build changes in the layers below.
pub(super) struct Release {
    version: String,
    /// Python packages in a new version: old and new.
    upgrades: Vec<(Distribution, Distribution)>,
}

/// What releases upgrade: the first one the first, and the next one both.
const UPGRADES: [(&str, &str); 2] = [("certifi", "2022.12.7"), ("requests", "2.31.0")];

/// Written again in place and in the same version, as `pip install --force-reinstall` does.
const REINSTALLED: &str = "Flask";

/// Overwritten in place with another version.
const LODASH: &str = "4.17.21";

/// Removed by a whiteout of its directory.
const REMOVED: &str = "minimist";

/// Comes back after the directory of the older service was emptied.
const KEPT: NodePackage = NodePackage::bare("left-pad", "1.3.0", "WTFPL");

impl Release {
    pub(super) fn first() -> Self {
        Self::new(4, &UPGRADES[..1])
    }

    pub(super) fn later(number: u32) -> Self {
        let upgrades = if number.is_multiple_of(2) { 2 } else { 1 };
        Self::new(number.saturating_add(5), &UPGRADES[..upgrades])
    }

    fn new(minor: u32, upgrades: &[(&'static str, &'static str)]) -> Self {
        let upgrades = upgrades
            .iter()
            .filter_map(|&(name, version)| {
                let old = python::distribution(name, None)?;
                let new = python::distribution(name, Some(version))?;
                Some((old, new))
            })
            .collect();
        Self {
            version: format!("1.{minor}"),
            upgrades,
        }
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Writes the last layer: the service's code and what its build changed.
    pub(super) fn layer(&self) -> Layer {
        let mut tree = Tree::default();
        let code = format!("VERSION = \"{}\"\n", self.version);
        tree.file("usr/src/app/shop/__init__.py", code);
        tree.file(
            "usr/src/app/shop/web.py",
            "from flask import Flask\n\napp = Flask(__name__)\n",
        );
        for (old, new) in &self.upgrades {
            tree.whiteout(&old.dist_info());
            new.install(&mut tree);
        }
        if let Some(reinstalled) = python::distribution(REINSTALLED, None) {
            reinstalled.install(&mut tree);
        }
        for package in node_packages().filter(|package| package.name() == "lodash") {
            package.install(&mut tree, npm::NODE_MODULES);
        }
        tree.whiteout(&format!("{}/{REMOVED}", npm::NODE_MODULES));
        tree.file(npm::SERVICE_MANIFEST, npm::service_manifest(&[REMOVED]));
        tree.file(
            &format!("{}/.package-lock.json", npm::NODE_MODULES),
            npm::lock_file(node_packages()),
        );
        tree.opaque(npm::LEGACY);
        KEPT.install(&mut tree, &format!("{}/node_modules", npm::LEGACY));
        tree.finish(Compression::Gzip)
    }

    /// Changes what is installed below into what is installed with this layer on top.
    pub(super) fn change(&self, packages: &mut BTreeSet<Package>) {
        for (old, new) in &self.upgrades {
            packages.remove(&old.package());
            packages.insert(new.package());
        }
        packages.retain(|package| {
            let replaced = ["lodash", REMOVED, "request"].contains(&package.name.as_str());
            package.kind != super::PackageKind::Npm || !replaced
        });
        packages.extend(node_packages().map(|package| package.package()));
        packages.insert(KEPT.package());
    }
}

/// Lists the service's own Node packages as this layer leaves them.
fn node_packages() -> impl Iterator<Item = NodePackage> {
    npm::table()
        .filter(|package| package.name() != REMOVED)
        .map(|package| match package.name() {
            "lodash" => package.with_version(LODASH),
            _ => package,
        })
}
