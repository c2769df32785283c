//! One application, installed by each of Node's package managers.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portwarden_testkit::image::Compression;
use serde_json::{Value, json};

use crate::{
    output_of,
    root::{self, Root, name_and_version, of_kind, text},
};

/// Who installs. npm is the machine's own, and brings the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    Npm,
    Pnpm,
    /// Yarn 1, which lays packages out as npm does.
    Yarn,
    /// Yarn 4, which leaves packages in their archives.
    YarnPnp,
}

/// The package of a manager, and its program.
const PNPM: [&str; 2] = ["pnpm@9.15.9", "pnpm/bin/pnpm.cjs"];
const YARN: [&str; 2] = ["yarn@1.22.22", "yarn/bin/yarn.js"];
const YARN_PNP: [&str; 2] = ["@yarnpkg/cli-dist@4.6.0", "@yarnpkg/cli-dist/bin/yarn.js"];

pub(crate) struct Node {
    manager: Manager,
    folder: PathBuf,
}

impl Node {
    pub(crate) fn install(folder: &Path, manager: Manager) -> Option<Self> {
        let root = Self {
            manager,
            folder: folder.to_owned(),
        };
        // Packages that bring others along, some of them in several versions.
        let manifest = json!({
            "name": "app",
            "version": "1.0.0",
            "license": "MIT",
            "dependencies": {"express": "4.19.2", "@babel/core": "7.24.7", "resolve": "1.22.8"},
        });
        fs::create_dir_all(root.application()).unwrap();
        fs::write(root.application().join("package.json"), manifest.to_string()).unwrap();
        if let Some([package, _]) = root.program() {
            let mut npm = root.npm();
            npm.arg("install").arg("--prefix").arg(folder.join("tools"));
            output_of(npm.arg(package))?;
        }
        match manager {
            Manager::Npm => output_of(root.npm().arg("install").current_dir(root.application()))?,
            Manager::Pnpm => output_of(&mut root.run(&["install", "--ignore-scripts", "--reporter=silent"]))?,
            Manager::Yarn => {
                output_of(&mut root.run(&["install", "--silent", "--ignore-scripts", "--non-interactive"]))?
            }
            Manager::YarnPnp => {
                let settings = "enableGlobalCache: false\nenableTelemetry: false\nenableScripts: false\n";
                fs::write(root.application().join(".yarnrc.yml"), settings).unwrap();
                output_of(&mut root.run(&["install"]))?
            }
        };
        Some(root)
    }

    /// Returns the name of the application's folder: each has its own, since layers are one file system.
    fn name(&self) -> &'static str {
        match self.manager {
            Manager::Npm => "npm",
            Manager::Pnpm => "pnpm",
            Manager::Yarn => "yarn",
            Manager::YarnPnp => "yarn-pnp",
        }
    }

    fn program(&self) -> Option<[&'static str; 2]> {
        match self.manager {
            Manager::Npm => None,
            Manager::Pnpm => Some(PNPM),
            Manager::Yarn => Some(YARN),
            Manager::YarnPnp => Some(YARN_PNP),
        }
    }

    fn content(&self) -> PathBuf {
        self.folder.join("content")
    }

    fn application(&self) -> PathBuf {
        self.content().join(self.name())
    }

    fn npm(&self) -> Command {
        let mut npm = Command::new("npm");
        npm.args([
            "--silent",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--ignore-scripts",
        ]);
        npm.arg("--cache").arg(self.folder.join("npm-cache"));
        npm
    }

    /// Runs the manager's own program in the application's folder.
    fn run(&self, arguments: &[&str]) -> Command {
        let [_, program] = self.program().unwrap();
        let mut command = Command::new("node");
        command
            .arg(self.folder.join("tools/node_modules").join(program))
            .args(arguments)
            .current_dir(self.application())
            // What they download is no part of the image, and nothing is left in the home folder.
            .env("npm_config_store_dir", self.folder.join("pnpm-store"))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            // A lock file is made, in CI, too.
            .env("CI", "false")
            .env("YARN_ENABLE_IMMUTABLE_INSTALLS", "false");
        if self.manager == Manager::Yarn {
            command.env("YARN_CACHE_FOLDER", self.folder.join("yarn-cache"));
        }
        command
    }

    /// Asks npm or pnpm: the files that show packages, and the packages as `name@version`.
    fn list_of_paths(&self) -> BTreeSet<(String, String)> {
        let listed = if self.manager == Manager::Npm {
            let mut npm = self.npm();
            npm.args(["ls", "--all", "--parseable", "--long"])
                .current_dir(self.application());
            output_of(&mut npm).unwrap()
        } else {
            output_of(&mut self.run(&["ls", "--parseable", "--long", "--depth", "Infinity"])).unwrap()
        };
        let root = format!("{}/", fs::canonicalize(self.application()).unwrap().display());
        let rows = listed
            .lines()
            .filter_map(|line| line.strip_prefix(&root)?.split_once(':'));
        rows.map(|(path, package)| {
            let package = package.split(':').next().unwrap().to_owned();
            (format!("{}/{path}/package.json", self.name()), package)
        })
        .collect()
    }

    /// Asks Yarn 1: packages as `name@version`, without those that it only mentions.
    fn yarn_list(&self) -> BTreeSet<String> {
        let listed = output_of(&mut self.run(&["list", "--json", "--no-progress"])).unwrap();
        let trees = listed
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["type"] == "tree")
            .unwrap();
        let mut packages = BTreeSet::new();
        let mut trees: Vec<_> = trees["data"]["trees"].as_array().unwrap().clone();
        while let Some(tree) = trees.pop() {
            if tree["shadow"] != true {
                packages.insert(text(&tree["name"]));
                trees.extend(tree["children"].as_array().unwrap().iter().cloned());
            }
        }
        packages
    }

    /// Asks Yarn 4: packages as `name@version`, patched ones as what they are made of.
    fn yarn_info(&self) -> BTreeSet<String> {
        let listed = output_of(&mut self.run(&["info", "--all", "--recursive", "--json"])).unwrap();
        let rows = listed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.filter_map(|row| {
            let locator = text(&row["value"]);
            let at = 1 + locator[1..].find('@')?;
            let (name, source) = locator.split_at(at);
            let is_own = source.starts_with("@workspace:");
            (!is_own).then(|| format!("{name}@{}", row["children"]["Version"].as_str().unwrap()))
        })
        .collect()
    }
}

impl Root for Node {
    fn archive(&self) -> Vec<u8> {
        root::archive(&self.content())
    }

    fn compression(&self) -> Compression {
        if self.manager == Manager::Npm {
            Compression::None
        } else {
            Compression::Gzip
        }
    }

    fn compare(&self, found: &[&Value]) {
        // What a package brings inside of itself is there, but nobody lists it, nor the application as its own package.
        let npm: BTreeSet<_> = of_kind(found, "npm")
            .filter(|(file, package)| {
                if self.manager == Manager::YarnPnp {
                    is_archive_of(file, &text(&package["name"]))
                } else {
                    is_installed(file)
                }
            })
            .map(|(file, package)| {
                let (name, version) = name_and_version(package);
                (file.to_owned(), format!("{name}@{version}"))
            })
            .collect();
        assert!(npm.len() > 50, "{}", npm.len());
        let packages: BTreeSet<_> = npm.iter().map(|(_, package)| package.clone()).collect();
        match self.manager {
            Manager::Npm | Manager::Pnpm => assert_eq!(npm, self.list_of_paths()),
            Manager::Yarn => assert_eq!(packages, self.yarn_list()),
            Manager::YarnPnp => assert_eq!(packages, self.yarn_info()),
        }
    }
}

/// Whether a manager put a package there: folders of packages only, below the application's.
fn is_installed(file: &str) -> bool {
    let Some((_, mut rest)) = file.split_once('/') else {
        return false;
    };
    while let Some(below) = rest.strip_prefix("node_modules/") {
        let parts = if below.starts_with('@') || below.starts_with(".pnpm/") {
            2
        } else {
            1
        };
        let Some(package) = below.splitn(parts + 1, '/').nth(parts) else {
            return false;
        };
        if package == "package.json" {
            return true;
        }
        rest = package;
    }
    false
}

/// Whether a file of Yarn 4's cache is the archive of a package, and not of one that has it inside of itself.
fn is_archive_of(file: &str, name: &str) -> bool {
    let archive = file.rsplit_once("/.yarn/cache/").map(|(_, archive)| archive);
    archive.is_some_and(|archive| archive.starts_with(&format!("{}-", name.replace('/', "-"))))
}
