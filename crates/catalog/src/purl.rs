use std::str::FromStr as _;

use packageurl::PackageUrl;

use crate::{
    OsRelease,
    facts::{Declared, PackageKind},
    npm, path, python,
};

/// Names a package by its package URL; nothing if its name is not one of its kind, which cataloguers refuse.
///
/// Sources: the package-url specification's type definitions; for `upstream`, what the peers' matchers read.
pub(crate) fn purl(package: &Declared, os: Option<&OsRelease>) -> Option<String> {
    let purl = try_purl(package, os).ok().flatten()?;
    // What a reader would take for another package names none.
    let is_read_as_written = PackageUrl::from_str(&purl).is_ok_and(|read| read.to_string() == purl);
    is_read_as_written.then_some(purl)
}

fn try_purl(package: &Declared, os: Option<&OsRelease>) -> packageurl::Result<Option<String>> {
    let mut purl = match package.kind {
        PackageKind::Apk | PackageKind::Deb => {
            let mut purl = PackageUrl::new(package.kind.as_str(), package.name.as_str())?;
            if let Some(os) = os {
                purl.with_namespace(os.id.as_str())?
                    .add_qualifier("distro", os.distro())?;
            }
            if let Some(architecture) = &package.architecture {
                purl.add_qualifier("arch", architecture.as_str())?;
            }
            if let Some(source) = &package.source {
                let upstream = match &source.version {
                    Some(version) => format!("{}@{version}", source.name),
                    None => source.name.clone(),
                };
                purl.add_qualifier("upstream", upstream)?;
            }
            purl
        }
        PackageKind::Rpm => {
            let mut purl = PackageUrl::new("rpm", package.name.as_str())?;
            if let Some(os) = os {
                purl.with_namespace(vendor(&os.id))?
                    .add_qualifier("distro", os.distro())?;
            }
            if let Some(architecture) = &package.architecture {
                purl.add_qualifier("arch", architecture.as_str())?;
            }
            if let Some(source) = &package.source {
                let version = source.version.iter().map(|version| format!("-{version}"));
                let file = format!("{}{}.src.rpm", source.name, version.collect::<String>());
                purl.add_qualifier("upstream", file)?;
            }
            let version = package
                .version
                .as_deref()
                .map(|version| match version.split_once(':') {
                    Some((epoch, version)) if epoch.parse::<u32>().is_ok() => (Some(epoch), version),
                    _ => (None, version),
                });
            if let Some((epoch, version)) = version {
                purl.with_version(version)?;
                if let Some(epoch) = epoch {
                    purl.add_qualifier("epoch", epoch)?;
                }
            }
            return qualified(purl, package).map(Some);
        }
        PackageKind::Golang | PackageKind::Composer => {
            let (namespace, name) = path::split(&package.name);
            let mut purl = PackageUrl::new(package.kind.as_str(), name)?;
            if !namespace.is_empty() {
                purl.with_namespace(namespace)?;
            }
            purl
        }
        PackageKind::Cargo
        | PackageKind::Conda
        | PackageKind::Gem
        | PackageKind::Generic
        | PackageKind::Nuget => PackageUrl::new(package.kind.as_str(), package.name.as_str())?,
        PackageKind::Maven => match package.name.split_once(':') {
            Some((group, artifact)) => {
                let mut purl = PackageUrl::new("maven", artifact)?;
                purl.with_namespace(group)?;
                purl
            }
            None => PackageUrl::new("maven", package.name.as_str())?,
        },
        PackageKind::Npm => {
            let Some((scope, name)) = npm::split_scope(&package.name) else {
                return Ok(None);
            };
            let mut purl = PackageUrl::new("npm", name)?;
            if let Some(scope) = scope {
                purl.with_namespace(scope)?;
            }
            purl
        }
        PackageKind::Pypi => PackageUrl::new("pypi", python::normalise_name(&package.name))?,
    };
    if let Some(version) = &package.version {
        purl.with_version(version.as_str())?;
    }
    qualified(purl, package).map(Some)
}

fn qualified<'p>(mut purl: PackageUrl<'p>, package: &'p Declared) -> packageurl::Result<String> {
    for (name, value) in &package.qualifiers {
        purl.add_qualifier(name.as_str(), value.as_str())?;
    }
    Ok(purl.to_string())
}

/// The vendor of a distribution with rpm, which is the namespace of its packages: one for several distributions, where
/// one vendor has them.
fn vendor(distribution: &str) -> &str {
    match distribution {
        "rhel" => "redhat",
        suse if suse.starts_with("opensuse") => "opensuse",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourcePackage;

    fn os(id: &str, version: &str) -> OsRelease {
        OsRelease {
            id: id.into(),
            version_id: Some(version.into()),
            version_codename: None,
            pretty_name: None,
        }
    }

    fn package(kind: PackageKind, name: &str, version: &str) -> Declared {
        Declared::new(kind, name, Some(version)).unwrap()
    }

    #[test]
    fn distributions_packages_say_where_they_belong() {
        let mut openssl = package(PackageKind::Deb, "openssl", "3.0.11-1~deb12u2");
        openssl.architecture = Some("amd64".into());
        assert_eq!(
            purl(&openssl, Some(&os("debian", "12"))).unwrap(),
            "pkg:deb/debian/openssl@3.0.11-1~deb12u2?arch=amd64&distro=debian-12"
        );
        let mut libgcc = package(PackageKind::Deb, "libgcc-s1", "1:12.2.0-14+b1");
        libgcc.source = Some(SourcePackage {
            name: "gcc-12".into(),
            version: Some("12.2.0-14".into()),
        });
        assert_eq!(
            purl(&libgcc, None).unwrap(),
            "pkg:deb/libgcc-s1@1:12.2.0-14%2Bb1?upstream=gcc-12%4012.2.0-14"
        );
        let mut musl = package(PackageKind::Apk, "musl", "1.2.4-r2");
        musl.architecture = Some("x86_64".into());
        assert_eq!(
            purl(&musl, Some(&os("alpine", "3.18.4"))).unwrap(),
            "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.18.4"
        );
    }

    #[test]
    fn an_rpm_has_its_epoch_and_its_module_apart() {
        let mut node = package(PackageKind::Rpm, "nodejs", "1:18.17.1-1.module+el8");
        node.architecture = Some("x86_64".into());
        node.qualify("rpmmod", Some("nodejs:18:8080:63b34585"));
        node.source = Some(SourcePackage {
            name: "nodejs".into(),
            version: Some("18.17.1-1.module+el8".into()),
        });
        assert_eq!(
            purl(&node, Some(&os("rhel", "8.8"))).unwrap(),
            "pkg:rpm/redhat/nodejs@18.17.1-1.module%2Bel8?arch=x86_64&distro=rhel-8.8&epoch=1&rpmmod=nodejs:18:8080:63b34585&upstream=nodejs-18.17.1-1.module%2Bel8.src.rpm"
        );
        // What is no number is no epoch.
        for version in [":1", "a:1", "-1:1"] {
            let odd = package(PackageKind::Rpm, "a", version);
            let named = purl(&odd, None).unwrap();
            let read = PackageUrl::from_str(&named).unwrap();
            assert_eq!((read.version(), read.qualifiers().len()), (Some(version), 0));
        }
        let leap = package(PackageKind::Rpm, "a", "1");
        assert_eq!(
            purl(&leap, Some(&os("opensuse-leap", "15.6"))).unwrap(),
            "pkg:rpm/opensuse/a@1?distro=opensuse-leap-15.6"
        );
    }

    #[test]
    fn language_packages_do_not_depend_on_the_distribution() {
        let debian = os("debian", "12");
        for (package, expected) in [
            (
                package(PackageKind::Pypi, "Zope.Interface", "6.1"),
                "pkg:pypi/zope-interface@6.1",
            ),
            (
                package(PackageKind::Npm, "@scope/name", "1.0.0"),
                "pkg:npm/%40scope/name@1.0.0",
            ),
            (
                package(PackageKind::Npm, "left-pad", "1.3.0"),
                "pkg:npm/left-pad@1.3.0",
            ),
            (
                package(PackageKind::Golang, "github.com/BurntSushi/toml", "v1.3.2"),
                "pkg:golang/github.com/burntsushi/toml@v1.3.2",
            ),
            (
                package(PackageKind::Golang, "stdlib", "1.21.5"),
                "pkg:golang/stdlib@1.21.5",
            ),
            (
                package(PackageKind::Cargo, "serde", "1.0.188"),
                "pkg:cargo/serde@1.0.188",
            ),
        ] {
            assert_eq!(purl(&package, Some(&debian)).unwrap(), expected);
            assert_eq!(purl(&package, None).unwrap(), expected);
        }
        // A reader of `pkg:pypi/six@1/openssl@3` would take it for another package.
        let forged = package(PackageKind::Pypi, "six", "1/openssl@3");
        assert_eq!(purl(&forged, None).unwrap(), "pkg:pypi/six");
        let unversioned = Declared::new(PackageKind::Pypi, "six", None).unwrap();
        assert_eq!(purl(&unversioned, None).unwrap(), "pkg:pypi/six");
    }
}
