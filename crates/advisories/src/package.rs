//! What is matched: packages as package URLs name them.

use std::str::FromStr as _;

use packageurl::PackageUrl;
use serde::{Deserialize, Serialize};

use crate::{Distribution, ecosystem::normalise_name};

/// A package to look up, whoever found it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Package {
    /// The package URL.
    pub purl: String,
    /// The distribution, where the package URL does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// The source package's name and version, where the package URL does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<(String, Option<String>)>,
    /// Whether a distribution's package installed it, whose version says what is patched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_owned: bool,
}

/// Where to look a package up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// The ecosystems, with their releases.
    pub(crate) ecosystems: Vec<String>,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// Whether the version's epoch is not known, and advisories' epochs count for nothing.
    pub(crate) is_without_epoch: bool,
}

impl Package {
    /// Takes a package by its package URL alone.
    pub fn new(purl: impl Into<String>) -> Self {
        Self {
            purl: purl.into(),
            distribution: None,
            source: None,
            is_owned: false,
        }
    }

    /// Returns the version as advisories about the package count it; none if it has none.
    pub fn version(&self) -> Option<String> {
        self.lookup()?.version
    }

    /// Finds out where to look; nothing if the package URL is none or nobody publishes advisories for such packages.
    pub(crate) fn lookup(&self) -> Option<Lookup> {
        let purl = PackageUrl::from_str(&self.purl).ok()?;
        let name = |separator: &str| match purl.namespace() {
            Some(namespace) => format!("{namespace}{separator}{}", purl.name()),
            None => purl.name().to_owned(),
        };
        let version = purl.version().map(str::to_owned);
        let (ecosystem, name, version) = match purl.ty() {
            "deb" | "apk" | "rpm" => return self.distribution_lookup(&purl),
            "npm" => ("npm", name("/"), version),
            "pypi" => ("PyPI", name("/"), version),
            "golang" => ("Go", name("/"), version.map(|version| go_version(&version))),
            "cargo" => ("crates.io", name("/"), version),
            "maven" => ("Maven", name(":"), version),
            "gem" => ("RubyGems", name("/"), version),
            "composer" => ("Packagist", name("/"), version),
            "nuget" => ("NuGet", name("/"), version),
            _ => return None,
        };
        Some(Lookup {
            name: normalise_name(ecosystem, &name).into_owned(),
            ecosystems: vec![ecosystem.to_owned()],
            version,
            is_without_epoch: false,
        })
    }

    fn distribution_lookup(&self, purl: &PackageUrl<'_>) -> Option<Lookup> {
        let qualifier = |key: &str| purl.qualifiers().get(key).map(AsRef::<str>::as_ref);
        let named = match (qualifier("distro"), purl.namespace()) {
            // Some tools write the release alone.
            (Some(distro), Some(id)) if distro.starts_with(|c: char| c.is_ascii_digit()) => {
                Some(Distribution {
                    id: id.to_owned(),
                    version: Some(distro.to_owned()),
                })
            }
            (Some(distro), _) => Some(Distribution::parse(distro)),
            (None, _) => None,
        };
        // Some distributions have no releases, so that their package URLs need not name one.
        let unreleased = purl.namespace().map(|id| Distribution {
            id: id.to_owned(),
            version: None,
        });
        let ecosystems = [named.as_ref(), self.distribution.as_ref(), unreleased.as_ref()]
            .into_iter()
            .flatten()
            .map(Distribution::ecosystems)
            .find(|ecosystems| !ecosystems.is_empty())?;
        let with_epoch = |version: &str| match qualifier("epoch") {
            Some(epoch) if !version.contains(':') => format!("{epoch}:{version}"),
            _ => version.to_owned(),
        };
        let version = purl.version().map(with_epoch);
        let source = self.source.clone().or_else(|| qualifier("upstream").map(source));
        Some(match source {
            Some((name, source_version)) if ecosystems.iter().any(|e| Distribution::speaks_of_sources(e)) => {
                // The name of a source's file, from which rpm's databases tell the source, has no epoch; nor need the
                // package's own be the source's.
                let has_no_epoch = source_version
                    .as_ref()
                    .is_some_and(|version| !version.contains(':'));
                Lookup {
                    ecosystems,
                    name,
                    version: source_version.or(version),
                    is_without_epoch: has_no_epoch && purl.ty() == "rpm",
                }
            }
            _ => Lookup {
                ecosystems,
                name: purl.name().to_owned(),
                version,
                is_without_epoch: false,
            },
        })
    }
}

/// Reads a source as package URLs name it: `openssl`, `openssl@3.0.11-1`, or `openssl-3.0.7-24.el9.src.rpm`.
fn source(upstream: &str) -> (String, Option<String>) {
    let file = upstream
        .strip_suffix(".src.rpm")
        .or_else(|| upstream.strip_suffix(".nosrc.rpm"));
    let of_file = file.and_then(|file| {
        let (rest, release) = file.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        Some((name.to_owned(), Some(format!("{version}-{release}"))))
    });
    of_file.unwrap_or_else(|| match upstream.split_once('@') {
        Some((name, version)) => (name.to_owned(), Some(version.to_owned())),
        None => (upstream.to_owned(), None),
    })
}

/// Writes versions of Go itself (`go1.21rc2`) as advisories do (`1.21.0-rc.2`).
fn go_version(version: &str) -> String {
    let Some(toolchain) = version.strip_prefix("go") else {
        return version.to_owned();
    };
    let toolchain = toolchain.split(['-', ' ', '+']).next().unwrap_or(toolchain);
    for word in ["rc", "beta"] {
        if let Some((numbers, number)) = toolchain.split_once(word) {
            return format!("{numbers}.0-{word}.{number}");
        }
    }
    toolchain.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(purl: &str) -> (String, String, String) {
        let found = Package::new(purl).lookup().unwrap();
        (
            found.ecosystems[0].clone(),
            found.name,
            found.version.unwrap_or_default(),
        )
    }

    #[test]
    fn packages_are_looked_up_where_their_advisories_are() {
        for (purl, ecosystem, name, version) in [
            (
                "pkg:deb/debian/libssl3@3.0.11-1?distro=debian-12&upstream=openssl%403.0.11-1%2Bx",
                "Debian:12",
                "openssl",
                "3.0.11-1+x",
            ),
            (
                "pkg:deb/ubuntu/zlib1g@1.2.11?epoch=1&distro=ubuntu-22.04&upstream=zlib",
                "Ubuntu:22.04:LTS",
                "zlib",
                "1:1.2.11",
            ),
            (
                "pkg:apk/alpine/libcrypto3@3.1.4-r0?distro=3.18.4&upstream=openssl",
                "Alpine:v3.18",
                "openssl",
                "3.1.4-r0",
            ),
            (
                "pkg:rpm/almalinux/openssl-libs@3.0.7-24.el9?epoch=1&distro=almalinux-9.3&upstream=openssl-3.0.7-24.el9.src.rpm",
                "AlmaLinux:9",
                "openssl-libs",
                "1:3.0.7-24.el9",
            ),
            (
                "pkg:rpm/rocky/openssl-libs@3.0.7-24.el9?epoch=1&distro=rocky-9.3&upstream=openssl-3.0.7-24.el9.src.rpm",
                "Rocky Linux:9",
                "openssl",
                "3.0.7-24.el9",
            ),
            (
                "pkg:rpm/opensuse/libopenssl1_1@1.1.1d-1?distro=opensuse-leap-15.5&upstream=openssl-1_1-1.1.1d-1.src.rpm",
                "openSUSE:Leap 15.5",
                "openssl-1_1",
                "1.1.1d-1",
            ),
            (
                "pkg:rpm/sles/zypper@1-2?distro=sles-15.5",
                "SUSE:Linux Enterprise Server 15 SP5",
                "zypper",
                "1-2",
            ),
            (
                "pkg:apk/wolfi/curl@8.6.0-r0?arch=x86_64",
                "Wolfi",
                "curl",
                "8.6.0-r0",
            ),
            (
                "pkg:apk/chainguard/curl@8.6.0-r0?distro=20230214",
                "Chainguard",
                "curl",
                "8.6.0-r0",
            ),
            ("pkg:npm/%40angular/core@1.0.0", "npm", "@angular/core", "1.0.0"),
            ("pkg:pypi/Zope.Interface@1", "PyPI", "zope-interface", "1"),
            (
                "pkg:golang/github.com/gin-gonic/gin@v1.9.0",
                "Go",
                "github.com/gin-gonic/gin",
                "v1.9.0",
            ),
            ("pkg:golang/stdlib@go1.21rc2", "Go", "stdlib", "1.21.0-rc.2"),
            (
                "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
                "Maven",
                "org.apache.logging.log4j:log4j-core",
                "2.14.1",
            ),
            ("pkg:cargo/smallvec@1.6.0", "crates.io", "smallvec", "1.6.0"),
            (
                "pkg:composer/Monolog/Monolog@1.0",
                "Packagist",
                "monolog/monolog",
                "1.0",
            ),
            ("pkg:nuget/Newtonsoft.Json@12", "NuGet", "newtonsoft.json", "12"),
        ] {
            assert_eq!(
                lookup(purl),
                (ecosystem.to_owned(), name.to_owned(), version.to_owned()),
                "{purl}"
            );
        }
    }

    #[test]
    fn what_has_no_advisories_is_not_looked_up() {
        for purl in [
            "",
            "not a purl",
            "pkg:deb/debian/a@1",
            "pkg:deb/debian-12/a@1?distro=debian-sid",
            "pkg:deb/debian/a@1?distro=debian-sid",
            "pkg:generic/a@1",
        ] {
            assert_eq!(Package::new(purl).lookup(), None, "{purl}");
        }
        let package = Package {
            distribution: Some(Distribution::parse("debian-11")),
            ..Package::new("pkg:deb/debian/a@1")
        };
        assert_eq!(package.lookup().unwrap().ecosystems, ["Debian:11"]);
    }
}
