//! Red Hat's rpm and its derivatives: one database of packages, in one of three formats.
//!
//! `SQLite` (`rpmdb.sqlite`, since rpm 4.16), ndb (`Packages.db`, of SUSE) and Berkeley DB (`Packages`, before). In each
//! of them a package is a blob that holds its header. The database is the one thing that must be in memory as a whole,
//! since its parts lie in any order; it has a budget of its own, [`Limits::rpm_bytes`]. Images without rpm itself may
//! have a list in its place.

mod bdb;
mod header;
mod manifest;
mod ndb;
mod sqlite;

use crate::{
    Limits, PartialCode,
    cataloguer::{Cataloguer, Reading},
};

pub(crate) struct Rpm;

/// The list of packages that images of Azure Linux have.
const MANIFEST: &str = "rpmmanifest/container-manifest-2";

/// Something in the database is not as its format says; what could be read of it counts.
#[derive(Debug, PartialEq, Eq)]
struct Broken;

impl Cataloguer for Rpm {
    fn homes(&self) -> &'static [&'static str] {
        &[
            "var/lib/rpm/rpmdb.sqlite",
            "var/lib/rpm/Packages.db",
            "var/lib/rpm/Packages",
            "usr/lib/sysimage/rpm/rpmdb.sqlite",
            "usr/lib/sysimage/rpm/Packages.db",
            "usr/lib/sysimage/rpm/Packages",
            "usr/share/rpm/rpmdb.sqlite",
            "usr/share/rpm/Packages",
            "var/lib/rpmmanifest/container-manifest-2",
        ]
    }

    fn wants(&self, path: &str) -> bool {
        ["rpm/rpmdb.sqlite", "rpm/Packages.db", "rpm/Packages", MANIFEST]
            .into_iter()
            .filter_map(|end| path.strip_suffix(end))
            .any(|folder| folder.is_empty() || folder.ends_with('/'))
    }

    fn budget(&self, limits: &Limits) -> u64 {
        limits.rpm_bytes
    }

    fn read(&self, path: &str, content: &[u8]) -> Reading {
        if content.is_empty() {
            // rpm leaves an empty file behind when it moves to another format.
            return Reading::default();
        }
        if path.ends_with(MANIFEST) {
            return manifest::read(content);
        }
        let mut packages = Vec::new();
        let mut is_malformed = false;
        let mut add = |blob: &[u8]| match header::read(blob) {
            Some(package) => packages.push(package),
            None => is_malformed = true,
        };
        let walked = if sqlite::is(content) {
            sqlite::each_blob(content, &mut add)
        } else if ndb::is(content) {
            ndb::each_blob(content, &mut add)
        } else {
            bdb::each_blob(content, &mut add)
        };
        Reading::of_packages(packages)
            .with_flaw(PartialCode::Malformed, is_malformed || walked == Err(Broken))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wants_each_database_and_nothing_beside_it() {
        for home in Rpm.homes() {
            assert!(Rpm.wants(home), "{home}");
        }
        for path in [
            "var/lib/rpm/Name",
            "var/lib/rpm/rpmdb.sqlite-shm",
            "var/lib/xrpm/Packages",
            "Packages",
        ] {
            assert!(!Rpm.wants(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>) {
            for home in Rpm.homes() {
                Rpm.read(home, &content);
            }
        }
    }
}
