//! Debian's dpkg and its derivatives.
//!
//! `var/lib/dpkg/status` holds a stanza for each package that dpkg knows; images without dpkg itself (distroless) have
//! one file for each package in `var/lib/dpkg/status.d`. `var/lib/dpkg/info/*.list` names the files of each package, and
//! `usr/share/doc/*/copyright` its licences.
//!
//! A package counts when its files are unpacked, whether or not they have been configured: states `installed`,
//! `triggers-pending`, `triggers-awaited`, `half-configured` and `unpacked`. It does not count as `not-installed`,
//! `config-files` or `half-installed`. Source: `dpkg(1)`, "Package states".

mod copyright;
mod list;
mod status;

use crate::{
    cataloguer::{Cataloguer, Reading},
    path::split,
};

pub(crate) struct Dpkg;

enum Role<'a> {
    /// The database.
    Status,
    /// The database entry of one package.
    StatusPart,
    /// The files of a package, `name` or `name:architecture`.
    List(&'a str),
    /// The files of a package with their checksums.
    Checksums(&'a str),
    /// The licences of a package.
    Copyright,
}

/// Tells what a file is from its name and that of the folders that it lies in.
fn role(path: &str) -> Option<Role<'_>> {
    let (folder, name) = split(path);
    match (folder, name) {
        (folder, "status") if ends_with(folder, "dpkg") => Some(Role::Status),
        (folder, "copyright") if is_doc_folder(folder) => Some(Role::Copyright),
        (folder, name) if ends_with(folder, "dpkg/info") => Some(Role::List(name.strip_suffix(".list")?)),
        (folder, name) if ends_with(folder, "dpkg/status.d") => match name.strip_suffix(".md5sums") {
            Some(package) => Some(Role::Checksums(package)),
            None => Some(Role::StatusPart),
        },
        _ => None,
    }
}

/// Tells whether a folder's last components are these.
fn ends_with(folder: &str, end: &str) -> bool {
    folder
        .strip_suffix(end)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

const DOC: &str = "usr/share/doc/";

/// Tells whether a folder has one package's documents in it.
pub(crate) fn is_doc_folder(path: &str) -> bool {
    path.strip_prefix(DOC)
        .is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// Returns where a package's licences are looked for.
pub(crate) fn copyright_of(package: &str) -> String {
    format!("{DOC}{package}/copyright")
}

impl Cataloguer for Dpkg {
    fn homes(&self) -> &'static [&'static str] {
        &[
            "var/lib/dpkg/status",
            "var/lib/dpkg/status.d",
            "var/lib/dpkg/info",
            "usr/share/doc",
        ]
    }

    fn wants(&self, path: &str) -> bool {
        role(path).is_some()
    }

    fn read(&self, path: &str, content: &[u8]) -> Reading {
        match role(path) {
            Some(Role::Status) => status::read(content, status::Missing::IsNotInstalled),
            Some(Role::StatusPart) => status::read(content, status::Missing::IsInstalled),
            Some(Role::List(package)) => list::read_list(package, content),
            Some(Role::Checksums(package)) => list::read_checksums(package, content),
            Some(Role::Copyright) => copyright::read(content),
            None => Reading::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_its_database_and_nothing_beside_it() {
        for path in [
            "var/lib/dpkg/status",
            "var/lib/dpkg/status.d/base-files",
            "var/lib/dpkg/status.d/base-files.md5sums",
            "var/lib/dpkg/info/libc6:amd64.list",
            "usr/share/doc/libc6/copyright",
            // It counts only if a link leads here.
            "srv/dpkg/status",
        ] {
            assert!(Dpkg.wants(path), "{path}");
        }
        for path in [
            "var/lib/dpkg/status-old",
            "var/lib/dpkg/status/x",
            "var/lib/dpkg/status.d",
            "var/lib/dpkg/status.d/a/b",
            "var/lib/dpkg/info/libc6:amd64.md5sums",
            "var/lib/dpkg/info/a/b.list",
            "var/lib/xdpkg/status",
            "usr/share/doc/libc6/examples/copyright",
        ] {
            assert!(!Dpkg.wants(path), "{path}");
        }
    }
}
