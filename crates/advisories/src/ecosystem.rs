//! The ecosystems of OSV, and which of them speak of a distribution's packages.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::Scheme;

/// A distribution and its release, as `os-release` or the `distro` of a package URL names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Distribution {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `VERSION_ID`, such as `12`.
    pub version: Option<String>,
}

/// Returns the order of versions of an ecosystem such as `Debian:12`; nothing for one that we do not know.
///
/// Source: the OSV schema's list of ecosystems.
pub(crate) fn scheme(ecosystem: &str) -> Option<Scheme> {
    Some(match family(ecosystem) {
        "Alpaquita" | "Alpine" | "BellSoft Hardened Containers" | "Chainguard" | "MinimOS" | "Wolfi" => {
            Scheme::Apk
        }
        "Debian" | "Echo" | "Ubuntu" => Scheme::Dpkg,
        "AlmaLinux" | "Azure Linux" | "Mageia" | "Photon OS" | "Red Hat" | "Rocky Linux" | "SUSE"
        | "openEuler" | "openSUSE" => Scheme::Rpm,
        "crates.io" | "Go" | "npm" => Scheme::SemVer,
        "Maven" => Scheme::Maven,
        "NuGet" => Scheme::NuGet,
        "Packagist" => Scheme::Packagist,
        "PyPI" => Scheme::Pep440,
        "RubyGems" => Scheme::RubyGems,
        _ => return None,
    })
}

/// Returns an ecosystem without its release.
pub(crate) fn family(ecosystem: &str) -> &str {
    ecosystem.split_once(':').map_or(ecosystem, |(family, _)| family)
}

/// Writes an ecosystem without what a distribution's release is made of: the parts of Red Hat's, the products of SUSE's.
pub(crate) fn release(ecosystem: &str) -> Cow<'_, str> {
    match ecosystem.split_once(':') {
        Some(("Red Hat", _)) => Cow::Borrowed(
            ecosystem
                .split_once("::")
                .map_or(ecosystem, |(release, _)| release),
        ),
        Some(("SUSE", product)) => {
            let known = SUSE
                .iter()
                .find_map(|name| product.strip_prefix(name)?.strip_prefix(' '));
            known.map_or(Cow::Borrowed(ecosystem), |release| {
                Cow::Owned(format!("SUSE:{release}"))
            })
        }
        _ => Cow::Borrowed(ecosystem),
    }
}

/// Writes a package's name as the ecosystem compares it.
pub(crate) fn normalise_name<'a>(ecosystem: &str, name: &'a str) -> Cow<'a, str> {
    match family(ecosystem) {
        // PEP 503.
        "PyPI" => {
            let mut plain = String::with_capacity(name.len());
            for c in name.chars() {
                match c {
                    '-' | '_' | '.' if plain.ends_with('-') => {}
                    '-' | '_' | '.' => plain.push('-'),
                    other => plain.extend(other.to_lowercase()),
                }
            }
            Cow::Owned(plain)
        }
        // Package URLs of Go are written in lower case, whatever the module's name is.
        "Go" | "NuGet" | "Packagist" => Cow::Owned(name.to_lowercase()),
        _ => Cow::Borrowed(name),
    }
}

impl Distribution {
    /// Reads the `distro` of a package URL, such as `debian-12` or `ubuntu-22.04`.
    pub fn parse(distro: &str) -> Self {
        match distro.rsplit_once('-') {
            Some((id, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => Self {
                id: id.to_owned(),
                version: Some(version.to_owned()),
            },
            _ => Self {
                id: distro.to_owned(),
                version: None,
            },
        }
    }

    /// Returns the ecosystems whose advisories speak of this release; none if there are no such advisories.
    pub(crate) fn ecosystems(&self) -> Vec<String> {
        let version = self.version.as_deref().unwrap_or("");
        let major = version.split('.').next().unwrap_or("");
        let of = |family: &str, release: &str| match release {
            "" => Vec::new(),
            release => vec![format!("{family}:{release}")],
        };
        match self.id.as_str() {
            // Up to Debian 6.0 the release had two numbers.
            "debian" if major.parse().is_ok_and(|major: u32| major < 7) => of("Debian", version),
            "debian" => of("Debian", major),
            "ubuntu" => ubuntu(version).into_iter().collect(),
            "alpine" => {
                let minor = version.splitn(3, '.').take(2).collect::<Vec<_>>();
                match minor[..] {
                    [major, minor] => vec![format!("Alpine:v{major}.{minor}")],
                    _ => Vec::new(),
                }
            }
            "wolfi" => vec!["Wolfi".to_owned()],
            "chainguard" => vec!["Chainguard".to_owned()],
            "minimos" => vec!["MinimOS".to_owned()],
            "echo" => vec!["Echo".to_owned()],
            "alpaquita" => of("Alpaquita", version),
            // The second name, here and below, is Trivy's.
            "almalinux" | "alma" => of("AlmaLinux", major),
            "rocky" => of("Rocky Linux", major),
            "mageia" => of("Mageia", major),
            "photon" => of("Photon OS", version),
            "azurelinux" | "mariner" | "cbl-mariner" => of("Azure Linux", major),
            "rhel" | "redhat" if !major.is_empty() => RED_HAT
                .iter()
                .map(|part| format!("Red Hat:enterprise_linux:{major}::{part}"))
                .collect(),
            "opensuse-leap" | "opensuse.leap" => of("openSUSE", &format!("Leap {version}")),
            "opensuse-tumbleweed" | "opensuse.tumbleweed" => vec!["openSUSE:Tumbleweed".to_owned()],
            "sles" | "sled" | "sle_hpc" if !major.is_empty() => {
                let release = match version.split_once('.') {
                    Some((major, pack)) => format!("{major} SP{pack}"),
                    None => major.to_owned(),
                };
                SUSE.iter()
                    .map(|product| format!("SUSE:{product} {release}"))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Tells whether advisories speak of source packages.
    ///
    /// Source: the OSV schema's list of ecosystems; `AlmaLinux` says so there, too, and its records name binary packages.
    pub(crate) fn speaks_of_sources(ecosystem: &str) -> bool {
        matches!(scheme(ecosystem), Some(Scheme::Apk | Scheme::Dpkg))
            || matches!(
                family(ecosystem),
                "Mageia" | "Rocky Linux" | "SUSE" | "openEuler" | "openSUSE"
            )
    }
}

/// The parts of Red Hat Enterprise Linux, which has advisories for each.
const RED_HAT: [&str; 8] = [
    "appstream",
    "baseos",
    "crb",
    "highavailability",
    "nfv",
    "realtime",
    "resilientstorage",
    "supplementary",
];

/// The products of SUSE that a container image is made of.
const SUSE: [&str; 4] = [
    "Linux Enterprise Server",
    "Linux Enterprise Module for Basesystem",
    "Linux Enterprise Module for Development Tools",
    "Linux Enterprise Module for Server Applications",
];

/// Every second April there is a release with long-term support.
fn ubuntu(version: &str) -> Option<String> {
    let (year, month) = version.split_once('.')?;
    let is_long_term = month.starts_with("04") && year.parse::<u32>().ok()?.is_multiple_of(2);
    let support = if is_long_term { ":LTS" } else { "" };
    Some(format!("Ubuntu:{year}.{}{support}", month.get(..2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found_as_advisories_name_them() {
        for (distro, ecosystem) in [
            ("debian-12", "Debian:12"),
            ("debian-12.5", "Debian:12"),
            ("debian-6.0", "Debian:6.0"),
            ("ubuntu-22.04", "Ubuntu:22.04:LTS"),
            ("ubuntu-23.04", "Ubuntu:23.04"),
            ("ubuntu-25.10", "Ubuntu:25.10"),
            ("alpine-3.18.4", "Alpine:v3.18"),
            ("alpine-3.19", "Alpine:v3.19"),
            ("wolfi-20230201", "Wolfi"),
            ("almalinux-9.3", "AlmaLinux:9"),
            ("alma-8.10", "AlmaLinux:8"),
            ("cbl-mariner-2.0", "Azure Linux:2"),
            ("photon-4.0", "Photon OS:4.0"),
            ("mageia-9", "Mageia:9"),
            ("echo-1", "Echo"),
            ("minimos-20240101", "MinimOS"),
            ("alpaquita-23", "Alpaquita:23"),
            ("chainguard-20230214", "Chainguard"),
            ("opensuse-tumbleweed-20240101", "openSUSE:Tumbleweed"),
            ("opensuse.leap-15.4", "openSUSE:Leap 15.4"),
            ("sles-15", "SUSE:Linux Enterprise Server 15"),
            ("rocky-8.10", "Rocky Linux:8"),
            ("opensuse-leap-15.5", "openSUSE:Leap 15.5"),
            ("sles-15.5", "SUSE:Linux Enterprise Server 15 SP5"),
            ("rhel-9.2", "Red Hat:enterprise_linux:9::appstream"),
            ("azurelinux-3.0", "Azure Linux:3"),
        ] {
            let ecosystems = Distribution::parse(distro).ecosystems();
            assert_eq!(
                ecosystems.first().map(String::as_str),
                Some(ecosystem),
                "{distro}"
            );
            assert!(scheme(ecosystem).is_some(), "{ecosystem}");
        }
    }

    #[test]
    fn a_release_that_is_not_known_has_no_advisories() {
        for distro in [
            "debian-sid",
            "debian",
            "alpine-edge",
            "amzn-2023",
            "arch",
            "ubuntu-x.y",
            "",
        ] {
            assert_eq!(
                Distribution::parse(distro).ecosystems(),
                Vec::<String>::new(),
                "{distro}"
            );
        }
    }
}
