use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{Package, PackageKind, noise, tree::Tree};
use crate::image::{Compression, Layer};

/// Facts about published packages, one a line: what npm installs for [`DEPENDENCIES`].
const TABLE: &str = include_str!("npm.tsv");

pub(super) const SERVICE_MANIFEST: &str = "usr/src/app/package.json";

pub(super) const NODE_MODULES: &str = "usr/src/app/node_modules";

/// The directory of an older service, with two packages of its own.
pub(super) const LEGACY: &str = "srv/legacy";

const LEGACY_PACKAGES: [NodePackage; 2] = [
    NodePackage::bare("left-pad", "1.3.0", "WTFPL"),
    NodePackage::bare("request", "2.88.0", "Apache-2.0"),
];

/// npm itself, as it comes with Node.
const NPM: NodePackage = NodePackage::bare("npm", "9.5.1", "Artistic-2.0");

/// An installed package.
#[derive(Clone, Copy)]
pub(super) struct NodePackage {
    /// The path below `node_modules`, which ends with the name.
    path: &'static str,
    version: &'static str,
    license: &'static str,
    dependencies: &'static str,
}

pub(super) fn packages() -> impl Iterator<Item = Package> {
    table()
        .chain(LEGACY_PACKAGES)
        .chain([NPM])
        .map(|package| package.package())
}

/// Node and what npm installed.
pub(super) fn layer() -> Layer {
    let mut tree = Tree::default();
    let node = "usr/local/bin/node";
    tree.program(node, noise::bytes(node, 2_500_000));
    NPM.install(&mut tree, "usr/local/lib/node_modules");
    tree.file(SERVICE_MANIFEST, service_manifest(&[]));
    for package in table() {
        package.install(&mut tree, NODE_MODULES);
    }
    // Scoped packages with two kinds of modules mark them by files that name no package.
    tree.file(
        &format!("{NODE_MODULES}/@babel/runtime/helpers/esm/package.json"),
        "{\n  \"type\": \"module\"\n}",
    );
    tree.file(&format!("{NODE_MODULES}/.package-lock.json"), lock_file(table()));
    for package in LEGACY_PACKAGES {
        package.install(&mut tree, &format!("{LEGACY}/node_modules"));
    }
    tree.finish(Compression::Zstd)
}

/// What the service asks npm for.
const DEPENDENCIES: [(&str, &str); 7] = [
    ("@babel/runtime", "7.20.1"),
    ("@types/node", "18.11.9"),
    ("axios", "0.21.1"),
    ("express", "4.17.1"),
    ("lodash", "^4.17.20"),
    ("minimist", "1.2.5"),
    ("ws", "7.4.5"),
];

/// Writes the service's own file, with the dependencies but those in `removed`: private, without a version, and so no
/// package.
pub(super) fn service_manifest(removed: &[&str]) -> String {
    let dependencies: Map<String, Value> = DEPENDENCIES
        .into_iter()
        .filter(|(name, _)| !removed.contains(name))
        .map(|(name, range)| (name.to_owned(), json!(range)))
        .collect();
    pretty(&json!({"name": "shop-web", "private": true, "dependencies": dependencies}))
}

pub(super) fn table() -> impl Iterator<Item = NodePackage> {
    TABLE.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        NodePackage {
            path: next(),
            version: next(),
            license: next(),
            dependencies: next(),
        }
    })
}

/// Writes what npm notes of the installed packages in `node_modules/.package-lock.json`.
pub(super) fn lock_file(packages: impl Iterator<Item = NodePackage>) -> String {
    let packages: Map<String, Value> = packages
        .map(|package| {
            let sum = noise::bytes(&format!("{}@{}", package.path, package.version), 64);
            let mut entry = json!({
                "version": package.version,
                "integrity": format!("sha512-{}", BASE64_STANDARD.encode(sum)),
                "license": package.license,
            });
            if !package.dependencies.is_empty() {
                entry["dependencies"] = package.dependencies();
            }
            (format!("node_modules/{}", package.path), entry)
        })
        .collect();
    pretty(&json!({"name": "shop-web", "lockfileVersion": 3, "requires": true, "packages": packages}))
}

impl NodePackage {
    pub(super) const fn bare(path: &'static str, version: &'static str, license: &'static str) -> Self {
        Self {
            path,
            version,
            license,
            dependencies: "",
        }
    }

    pub(super) fn with_version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// Returns the name, with its scope if it has one.
    pub(super) fn name(&self) -> &'static str {
        self.path
            .rsplit_once("node_modules/")
            .map_or(self.path, |(_, name)| name)
    }

    pub(super) fn package(&self) -> Package {
        Package::new(PackageKind::Npm, self.name(), self.version)
    }

    pub(super) fn install(&self, tree: &mut Tree, node_modules: &str) {
        let directory = format!("{node_modules}/{}", self.path);
        let name = self.name();
        let mut manifest = json!({
            "name": name,
            "version": self.version,
            "description": format!("Stands in for {name}"),
            "license": self.license,
            "main": "index.js",
            "repository": {"type": "git", "url": format!("git+https://example.org/{name}.git")},
        });
        if !self.dependencies.is_empty() {
            manifest["dependencies"] = self.dependencies();
        }
        tree.file(&format!("{directory}/package.json"), pretty(&manifest));
        tree.file(
            &format!("{directory}/index.js"),
            "'use strict';\nmodule.exports = {};\n",
        );
        let payload = format!("{directory}/lib/data.bin");
        let size = 2_000 + noise::below(20_000, &payload);
        tree.file(&payload, noise::bytes(&payload, size));
    }

    fn dependencies(&self) -> Value {
        self.dependencies
            .split('|')
            .filter_map(|dependency| dependency.split_once(' '))
            .map(|(name, range)| (name.to_owned(), json!(range)))
            .collect::<Map<_, _>>()
            .into()
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
