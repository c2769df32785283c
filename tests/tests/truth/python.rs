//! An environment of Python's.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    output_of,
    root::{self, Root, name_and_version, of_kind, text},
};

/// Packages that bring others along.
const WHEELS: [&str; 4] = [
    "flask==3.0.3",
    "requests==2.32.3",
    "zope.interface==6.3",
    "setuptools==75.1.0",
];

pub(crate) struct Python {
    content: PathBuf,
}

impl Python {
    pub(crate) fn install(folder: &Path) -> Option<Self> {
        let root = Self {
            content: folder.join("content"),
        };
        output_of(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(root.environment()),
        )?;
        let mut pip = Command::new(root.environment().join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
        ]);
        output_of(pip.args(WHEELS))?;
        Some(root)
    }

    fn environment(&self) -> PathBuf {
        self.content.join("opt/app")
    }

    /// Asks pip: names and versions.
    fn pip_list(&self) -> BTreeSet<(String, String)> {
        let mut pip = Command::new(self.environment().join("bin/pip"));
        pip.args(["list", "--format", "json", "--disable-pip-version-check"]);
        let listed: Value = serde_json::from_str(&output_of(&mut pip).unwrap()).unwrap();
        let rows = listed.as_array().unwrap().iter();
        rows.map(|row| (text(&row["name"]), text(&row["version"])))
            .collect()
    }
}

impl Root for Python {
    fn archive(&self) -> Vec<u8> {
        root::archive(&self.content)
    }

    fn compare(&self, found: &[&Value]) {
        // What a distribution brings inside of itself is there, but pip does not list it.
        let is_installed = |file: &str| {
            let below = file.split_once("site-packages/").map(|(_, below)| below);
            below.is_some_and(|below| below.matches('/').count() == 1)
        };
        let python: BTreeSet<_> = of_kind(found, "pypi")
            .filter(|(file, _)| is_installed(file))
            .map(|(_, package)| name_and_version(package))
            .collect();
        assert!(python.len() > 8, "{python:?}");
        assert_eq!(python, self.pip_list());
    }
}
