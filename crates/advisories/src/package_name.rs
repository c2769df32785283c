//! Where advisories and packages meet: a name in an ecosystem, or in a release of a distribution.

use serde::{Deserialize, Serialize};

use crate::{Package, ecosystem};

/// A package without its version, as advisories and SBOMs both name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageName {
    /// The ecosystem, with the release of a distribution: `Debian:12`, `npm`.
    pub ecosystem: String,
    /// The name, as the ecosystem compares names.
    pub name: String,
}

impl PackageName {
    /// Names an advisory's package.
    pub fn of(ecosystem: &str, name: &str) -> Self {
        Self {
            ecosystem: ecosystem::release(ecosystem).into_owned(),
            name: name.to_owned(),
        }
    }
}

impl Package {
    /// Names the package as advisories about it do; none if nobody publishes any, and none for what a
    /// distribution's package installed, which its advisories do not speak of.
    pub fn package_name(&self) -> Option<PackageName> {
        if self.is_owned {
            return None;
        }
        let lookup = self.lookup()?;
        Some(PackageName::of(lookup.ecosystems.first()?, &lookup.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_where_each_of_its_advisories_is() {
        for (purl, ecosystems) in [
            (
                "pkg:deb/debian/libssl3@3?distro=debian-12&upstream=openssl",
                vec!["Debian:12"],
            ),
            ("pkg:npm/a@1", vec!["npm"]),
            (
                "pkg:rpm/redhat/openssl@3?distro=rhel-9.2",
                vec![
                    "Red Hat:enterprise_linux:9::appstream",
                    "Red Hat:enterprise_linux:9::baseos",
                    "Red Hat:enterprise_linux:9::crb",
                ],
            ),
            (
                "pkg:rpm/sles/openssl@3?distro=sles-15.5",
                vec![
                    "SUSE:Linux Enterprise Server 15 SP5",
                    "SUSE:Linux Enterprise Module for Basesystem 15 SP5",
                    "SUSE:Linux Enterprise Module for Development Tools 15 SP5",
                ],
            ),
        ] {
            let package = Package::new(purl);
            let name = package.package_name().unwrap();
            for ecosystem in ecosystems {
                assert_eq!(PackageName::of(ecosystem, &name.name), name, "{purl}");
            }
            let owned = Package {
                is_owned: true,
                ..package
            };
            assert_eq!(owned.package_name(), None, "{purl}");
        }
        assert_eq!(Package::new("pkg:generic/a@1").package_name(), None);
        assert_ne!(
            PackageName::of("Debian:12", "a"),
            PackageName::of("Debian:11", "a")
        );
    }
}
