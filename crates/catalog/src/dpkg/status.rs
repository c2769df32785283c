use crate::{
    PartialCode, SourcePackage,
    cataloguer::{Reading, text},
    facts::{Declared, PackageKind, word},
    fields::{Line, lines},
};

/// What a stanza without a `Status` field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    IsInstalled,
    IsNotInstalled,
}

/// Reads dpkg's database.
///
/// Sources: Debian policy, 5 "Control files and their fields"; `dpkg(1)`, "Package states".
pub(super) fn read(content: &[u8], missing_status: Missing) -> Reading {
    let (text, is_replaced) = text(content);
    let mut packages = Vec::new();
    let mut stanza = Stanza::default();
    let mut is_malformed = false;
    for line in lines(&text).chain([Line::Blank]) {
        match line {
            Line::Field(key, value) => stanza.add(key, value),
            Line::Blank if stanza.is_begun => {
                let stanza = std::mem::take(&mut stanza);
                if stanza.is_unpacked(missing_status) {
                    match stanza.declare() {
                        Some(package) => packages.push(package),
                        None => is_malformed = true,
                    }
                }
            }
            Line::Blank | Line::Continuation(_) => {}
            Line::Junk => is_malformed = true,
        }
    }
    Reading::of_packages(packages)
        .with_flaw(PartialCode::Malformed, is_malformed)
        .with_flaw(PartialCode::Encoding, is_replaced)
}

#[derive(Default)]
struct Stanza<'a> {
    is_begun: bool,
    package: Option<&'a str>,
    status: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    source: Option<&'a str>,
}

impl<'a> Stanza<'a> {
    fn add(&mut self, key: &str, value: &'a str) {
        self.is_begun = true;
        let field = match key.len() {
            6 if key.eq_ignore_ascii_case("Status") => &mut self.status,
            6 if key.eq_ignore_ascii_case("Source") => &mut self.source,
            7 if key.eq_ignore_ascii_case("Package") => &mut self.package,
            7 if key.eq_ignore_ascii_case("Version") => &mut self.version,
            12 if key.eq_ignore_ascii_case("Architecture") => &mut self.architecture,
            _ => return,
        };
        *field = Some(value);
    }

    /// The status is what is wanted, an error flag, and the state.
    fn is_unpacked(&self, missing_status: Missing) -> bool {
        match self.status {
            Some(status) => matches!(
                status.split_ascii_whitespace().nth(2),
                Some("installed" | "triggers-pending" | "triggers-awaited" | "half-configured" | "unpacked")
            ),
            None => missing_status == Missing::IsInstalled || self.package.is_none(),
        }
    }

    fn declare(&self) -> Option<Declared> {
        let mut package = Declared::new(PackageKind::Deb, self.package?, self.version)?;
        package.architecture = self.architecture.and_then(word).map(str::to_owned);
        package.source = self
            .source
            .and_then(|source| source_package(source, &package.name));
        Some(package)
    }
}

/// Reads `name` or `name (version)`; nothing if that is the package itself.
fn source_package(field: &str, package: &str) -> Option<SourcePackage> {
    let (name, version) = match field.split_once('(') {
        Some((name, rest)) => (name, rest.trim_end().strip_suffix(')').and_then(word)),
        None => (field, None),
    };
    let name = word(name)?;
    (name != package || version.is_some()).then(|| SourcePackage {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Facts;

    const STATUS: &str = "\
Package: libssl3
Status: install ok installed
Priority: optional
Architecture: amd64
Multi-Arch: same
Source: openssl
Version: 3.0.11-1~deb12u2
Description: Secure Sockets Layer toolkit
 shared libraries
 .
 Package: not-a-package

Package: libgcc-s1
Status: install ok installed
Architecture: amd64
Source: gcc-12 (12.2.0-14)
Version: 12.2.0-14+b1

Package: gone
Status: deinstall ok config-files
Version: 1

Package: unconfigured
Status: install ok half-configured
Version: 1:2-3

Package: interrupted
Status: install reinstreq half-installed
Version: 1
";

    fn packages(reading: &Reading) -> Vec<(&str, Option<&str>)> {
        let Some(Facts::Packages(packages)) = &reading.facts else {
            return Vec::new();
        };
        packages
            .iter()
            .map(|package| (package.name.as_str(), package.version.as_deref()))
            .collect()
    }

    #[test]
    fn packages_with_their_files_on_disk_count() {
        let reading = read(STATUS.as_bytes(), Missing::IsNotInstalled);
        assert_eq!(
            packages(&reading),
            [
                ("libssl3", Some("3.0.11-1~deb12u2")),
                ("libgcc-s1", Some("12.2.0-14+b1")),
                ("unconfigured", Some("1:2-3"))
            ]
        );
        assert_eq!(reading.flaws, []);
        let Some(Facts::Packages(packages)) = reading.facts else {
            unreachable!()
        };
        let source = |name: &str, version: Option<&str>| {
            Some(SourcePackage {
                name: name.into(),
                version: version.map(str::to_owned),
            })
        };
        assert_eq!(packages[0].source, source("openssl", None));
        assert_eq!(packages[1].source, source("gcc-12", Some("12.2.0-14")));
        assert_eq!(packages[2].source, None);
        assert_eq!(packages[0].architecture.as_deref(), Some("amd64"));
    }

    #[test]
    fn line_ends_of_windows_do_not_matter() {
        let windows = STATUS.replace('\n', "\r\n");
        assert_eq!(
            read(windows.as_bytes(), Missing::IsNotInstalled),
            read(STATUS.as_bytes(), Missing::IsNotInstalled)
        );
    }

    #[test]
    fn a_package_without_a_version_is_kept() {
        let reading = read(
            b"Package: a\nStatus: install ok installed\n",
            Missing::IsNotInstalled,
        );
        assert_eq!(packages(&reading), [("a", None)]);
    }

    #[test]
    fn a_missing_status_means_installed_only_in_parts() {
        let part = b"Package: tzdata\nVersion: 2024a-0+deb12u1\n";
        assert_eq!(
            packages(&read(part, Missing::IsInstalled)),
            [("tzdata", Some("2024a-0+deb12u1"))]
        );
        assert_eq!(packages(&read(part, Missing::IsNotInstalled)), []);
    }

    #[test]
    fn garbage_gives_no_packages_and_says_so() {
        let reading = read(b"\x7fELF\x01\x02\xff\xfe", Missing::IsNotInstalled);
        assert_eq!(reading.facts, None);
        assert_eq!(reading.flaws, [PartialCode::Malformed, PartialCode::Encoding]);
        assert_eq!(read(b"", Missing::IsNotInstalled), Reading::default());
    }

    #[test]
    fn one_broken_stanza_does_not_hide_the_others() {
        let reading = read(
            b"Package: \xff\nStatus: install ok installed\n\nPackage: b\nStatus: install ok installed\nVersion: 1",
            Missing::IsNotInstalled,
        );
        assert_eq!(packages(&reading), [("b", Some("1"))]);
        assert_eq!(reading.flaws, [PartialCode::Malformed, PartialCode::Encoding]);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>) {
            read(&content, Missing::IsInstalled);
        }

        #[test]
        fn mutated_databases_can_be_read(at in 0..STATUS.len(), byte: u8, cut in 0..STATUS.len()) {
            let mut content = STATUS.as_bytes().to_vec();
            content[at] = byte;
            read(&content, Missing::IsNotInstalled);
            content.truncate(cut);
            let found = read(&content, Missing::IsNotInstalled);
            prop_assert!(packages(&found).len() <= 5);
        }
    }
}
