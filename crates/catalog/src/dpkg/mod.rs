//! Debian's dpkg and its derivatives.
//!
//! `var/lib/dpkg/status` holds a stanza for each package that dpkg knows; images without dpkg itself (distroless) have
//! one file for each package in `var/lib/dpkg/status.d`. `var/lib/dpkg/info/*.list` names the files of each package.
//!
//! A package counts when its files are unpacked, whether or not they have been configured: states `installed`,
//! `triggers-pending`, `triggers-awaited`, `half-configured` and `unpacked`. It does not count as `not-installed`,
//! `config-files` or `half-installed`. Source: `dpkg(1)`, "Package states".

mod list;
mod status;

use crate::cataloguer::{Cataloguer, Reading};

pub(crate) struct Dpkg;

const STATUS_FOLDER: &str = "var/lib/dpkg/status.d/";
const INFO_FOLDER: &str = "var/lib/dpkg/info/";
const MD5SUMS: &str = ".md5sums";

enum Role<'a> {
    /// The database.
    Status,
    /// The database entry of one package.
    StatusPart,
    /// The files of a package, `name` or `name:architecture`.
    List(&'a str),
    /// The files of a package with their checksums.
    Checksums(&'a str),
}

fn role(path: &str) -> Option<Role<'_>> {
    let below = path.strip_prefix("var/lib/dpkg/")?;
    if below == "status" {
        Some(Role::Status)
    } else if let Some(name) = path.strip_prefix(STATUS_FOLDER) {
        match name.strip_suffix(MD5SUMS) {
            _ if name.contains('/') => None,
            Some(package) => Some(Role::Checksums(package)),
            None => Some(Role::StatusPart),
        }
    } else {
        let name = path.strip_prefix(INFO_FOLDER)?.strip_suffix(".list")?;
        (!name.contains('/')).then_some(Role::List(name))
    }
}

impl Cataloguer for Dpkg {
    fn wants(&self, path: &str) -> bool {
        role(path).is_some()
    }

    fn read(&self, path: &str, content: &[u8]) -> Reading {
        match role(path) {
            Some(Role::Status) => status::read(content, status::Missing::IsNotInstalled),
            Some(Role::StatusPart) => status::read(content, status::Missing::IsInstalled),
            Some(Role::List(package)) => list::read_list(package, content),
            Some(Role::Checksums(package)) => list::read_checksums(package, content),
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
            "rootfs/var/lib/dpkg/status",
        ] {
            assert!(!Dpkg.wants(path), "{path}");
        }
    }
}
