//! An application of PHP's with packages from folders, as Composer installs them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    output_of,
    root::{self, Root, name_and_version, of_kind, text},
};

/// Each form of a version that Composer keeps as it is written, and how stable the application allows it to be.
const VERSIONS: [[&str; 2]; 7] = [
    ["1.2.3", "*"],
    ["v2.0.1", "*"],
    ["1.0.0-beta2", "*@beta"],
    ["3.0.0-RC1", "*@RC"],
    ["2.1.x-dev", "*@dev"],
    ["dev-main", "*@dev"],
    ["2024.11.28.1", "*"],
];

pub(crate) struct Php {
    folder: PathBuf,
}

impl Php {
    pub(crate) fn install(folder: &Path) -> Option<Self> {
        let root = Self {
            folder: folder.to_owned(),
        };
        let mut wanted = serde_json::Map::new();
        for (number, [version, constraint]) in VERSIONS.iter().enumerate() {
            let name = format!("vendor-{}/package.{number}", number % 2);
            let package = folder.join(format!("packages/{number}"));
            write(
                &package,
                &json!({"name": name, "version": version, "license": "MIT"}),
            );
            wanted.insert(name, json!(constraint));
        }
        write(
            &root.application(),
            &json!({
                "name": "shop/app",
                "repositories": [
                    {"type": "path", "url": folder.join("packages/*"), "options": {"symlink": false}},
                    {"packagist.org": false},
                ],
                "require": wanted,
            }),
        );
        output_of(root.composer().args(["install", "--quiet", "--no-interaction"]))?;
        Some(root)
    }

    fn application(&self) -> PathBuf {
        self.folder.join("content/srv/app")
    }

    fn composer(&self) -> Command {
        let mut composer = Command::new("composer");
        composer
            .current_dir(self.application())
            .env("COMPOSER_HOME", self.folder.join("home"))
            .env("COMPOSER_ALLOW_SUPERUSER", "1");
        composer
    }
}

fn write(folder: &Path, manifest: &Value) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("composer.json"), manifest.to_string()).unwrap();
}

impl Root for Php {
    fn archive(&self) -> Vec<u8> {
        root::archive(&self.folder.join("content"))
    }

    fn compare(&self, found: &[&Value]) {
        let listed = output_of(self.composer().args(["show", "--format=json"])).unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let listed: BTreeSet<_> = listed["installed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (text(&row["name"]), text(&row["version"])))
            .collect();
        assert_eq!(listed.len(), VERSIONS.len());
        let packages: BTreeSet<_> = of_kind(found, "composer")
            .map(|(_, package)| name_and_version(package))
            .collect();
        assert_eq!(packages, listed);
    }
}
