use std::{fmt::Write as _, iter};

use super::{Package, PackageKind, noise, tree::Tree};
use crate::image::{Compression, Layer};

/// Facts about packages of Debian 12, one a line: the layer that installs it, then dpkg's fields.
const TABLE: &str = include_str!("debian.tsv");

struct DebianPackage {
    layer: &'static str,
    name: &'static str,
    version: &'static str,
    source: &'static str,
    architecture: &'static str,
    multi_arch: &'static str,
    essential: bool,
    priority: &'static str,
    section: &'static str,
    installed_size: &'static str,
    pre_depends: &'static str,
    depends: &'static str,
    synopsis: &'static str,
}

pub(super) fn packages() -> impl Iterator<Item = Package> {
    table().map(|package| Package::new(PackageKind::Deb, package.name, package.version))
}

/// The base system.
pub(super) fn base_layer() -> Layer {
    let mut tree = Tree::default();
    for name in ["bin", "lib", "lib64", "sbin"] {
        tree.symlink(name, &format!("usr/{name}"));
    }
    tree.file("etc/debian_version", "12.11\n");
    tree.file("usr/lib/os-release", OS_RELEASE);
    tree.symlink("etc/os-release", "../usr/lib/os-release");
    tree.file("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    tree.file("var/lib/dpkg/lock", "");
    tree.file("var/lib/dpkg/available", "");
    // Says that the names in this directory may carry an architecture.
    tree.file("var/lib/dpkg/info/format", "1\n");
    tree.file("var/lib/dpkg/status", base_status());
    for package in table().filter(|package| package.layer == "base") {
        package.install(&mut tree);
    }
    tree.finish(Compression::Gzip)
}

/// Libraries that the service needs. As dpkg does, it writes the whole database anew and keeps the old one beside it.
pub(super) fn runtime_layer() -> Layer {
    let mut tree = Tree::default();
    for package in table().filter(|package| package.layer == "apt") {
        package.install(&mut tree);
    }
    tree.file("var/lib/dpkg/status", status(table()));
    tree.file("var/lib/dpkg/status-old", base_status());
    tree.finish(Compression::Gzip)
}

const OS_RELEASE: &str = r#"PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
SUPPORT_URL="https://www.debian.org/support"
BUG_REPORT_URL="https://bugs.debian.org/"
"#;

/// A package that was removed and left its configuration: it stands in the database and is not installed.
const REMOVED: &str = "\
Package: ifupdown
Status: deinstall ok config-files
Priority: important
Section: admin
Installed-Size: 199
Maintainer: ifupdown maintainers <ifupdown@example.org>
Architecture: amd64
Version: 0.8.41
Conffiles:
 /etc/network/interfaces.d/README 0b5ab9b1ca2d7fe0da1b5eb2ab4d9cd7
Description: configures network interfaces

";

fn base_status() -> String {
    status(table().filter(|package| package.layer == "base"))
}

fn status(packages: impl Iterator<Item = DebianPackage>) -> String {
    packages
        .map(|package| package.stanza())
        .chain(iter::once(REMOVED.to_owned()))
        .collect()
}

fn table() -> impl Iterator<Item = DebianPackage> {
    TABLE.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        DebianPackage {
            layer: next(),
            name: next(),
            version: next(),
            source: next(),
            architecture: next(),
            multi_arch: next(),
            essential: next() == "essential",
            priority: next(),
            section: next(),
            installed_size: next(),
            pre_depends: next(),
            depends: next(),
            synopsis: next(),
        }
    })
}

impl DebianPackage {
    /// Writes the fields in dpkg's order (dpkg, `lib/dpkg/parse.c`).
    fn stanza(&self) -> String {
        let source_name = self.source.split(' ').next().unwrap_or_default();
        let source_name = if source_name.is_empty() {
            self.name
        } else {
            source_name
        };
        let maintainer = format!("{source_name} maintainers <{source_name}@example.org>");
        let conffiles = self.conffile().map(|path| {
            let sum = noise::bytes(&path, 16);
            let sum: String = sum.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            format!("\n /{path} {sum}")
        });
        let description = format!(
            "{}\n This stands in for the package's own description, which has several\n lines.\n .\n An empty \
             line is written as a dot.",
            self.synopsis
        );
        let fields = [
            ("Package", self.name),
            ("Essential", if self.essential { "yes" } else { "" }),
            ("Status", "install ok installed"),
            ("Priority", self.priority),
            ("Section", self.section),
            ("Installed-Size", self.installed_size),
            ("Maintainer", &maintainer),
            ("Architecture", self.architecture),
            ("Multi-Arch", self.multi_arch),
            ("Source", self.source),
            ("Version", self.version),
            ("Depends", self.depends),
            ("Pre-Depends", self.pre_depends),
            ("Conffiles", conffiles.as_deref().unwrap_or_default()),
            ("Description", &description),
            ("Homepage", &format!("https://example.org/{source_name}/")),
        ];
        let mut stanza = String::new();
        for (name, value) in fields {
            if !value.is_empty() {
                let space = if value.starts_with('\n') { "" } else { " " };
                let _ = writeln!(stanza, "{name}:{space}{value}");
            }
        }
        stanza.push('\n');
        stanza
    }

    fn install(&self, tree: &mut Tree) {
        let mut paths = vec![
            format!("usr/share/doc/{}/changelog.Debian.gz", self.name),
            format!("usr/share/doc/{}/copyright", self.name),
        ];
        tree.file(&paths[0], noise::bytes(&paths[0], 900));
        tree.file(
            &paths[1],
            format!("Files: *\nCopyright: the authors of {}\n", self.name),
        );
        if let Some(path) = self.conffile() {
            tree.file(&path, format!("# settings of {}\n", self.name));
            paths.push(path);
        }
        // A tenth of what is installed stands in for all of it.
        let size = self.installed_size.parse::<usize>().unwrap_or_default() * 1024 / 10;
        let payload = if self.section == "libs" {
            format!("usr/lib/x86_64-linux-gnu/{}.so", self.name)
        } else {
            format!("usr/bin/{}", self.name)
        };
        tree.program(&payload, noise::bytes(&payload, size));
        paths.push(payload);
        tree.file(&self.list_path(), file_list(&paths));
    }

    /// Packages of which several architectures can be installed at once carry theirs in the file names.
    fn list_path(&self) -> String {
        let architecture = if self.multi_arch == "same" {
            format!(":{}", self.architecture)
        } else {
            String::new()
        };
        format!("var/lib/dpkg/info/{}{architecture}.list", self.name)
    }

    fn conffile(&self) -> Option<String> {
        (self.section == "admin").then(|| format!("etc/default/{}", self.name))
    }
}

/// Lists directories before what is in them, each path once, as dpkg does.
fn file_list(paths: &[String]) -> String {
    let mut lines = vec!["/.".to_owned()];
    for path in paths {
        let directories = path
            .match_indices('/')
            .map(|(end, _)| format!("/{}", &path[..end]));
        for line in directories.chain([format!("/{path}")]) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines.join("\n") + "\n"
}
