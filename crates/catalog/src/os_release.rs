use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    PartialCode,
    cataloguer::{Cataloguer, Reading, text},
    facts::{Facts, word},
};

/// The distribution of an image, as its `os-release` says.
///
/// Source: systemd, `os-release(5)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OsRelease {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `VERSION_ID`, such as `12`; missing for rolling releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// `VERSION_CODENAME`, such as `bookworm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_codename: Option<String>,
    /// `PRETTY_NAME`, such as `Debian GNU/Linux 12 (bookworm)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretty_name: Option<String>,
}

impl OsRelease {
    /// The places to look at, the one that counts first; the last ones say least.
    pub(crate) const PATHS: [&str; 7] = [
        "etc/os-release",
        "usr/lib/os-release",
        "etc/centos-release",
        "etc/redhat-release",
        "etc/system-release",
        "etc/alpine-release",
        "etc/debian_version",
    ];

    fn of(id: &str, version: &str) -> Option<Self> {
        Some(Self {
            id: id.to_owned(),
            version_id: Some(word(version)?.to_owned()),
            version_codename: None,
            pretty_name: None,
        })
    }

    /// Returns the distribution and its release in one word, such as `debian-12`.
    pub fn distro(&self) -> String {
        match self.version_id.as_ref().or(self.version_codename.as_ref()) {
            Some(version) => format!("{}-{version}", self.id),
            None => self.id.clone(),
        }
    }
}

/// Reads `os-release`.
pub(crate) struct OsReleaseFiles;

impl Cataloguer for OsReleaseFiles {
    fn homes(&self) -> &'static [&'static str] {
        &OsRelease::PATHS
    }

    fn wants(&self, path: &str) -> bool {
        OsRelease::PATHS.contains(&path) || path.ends_with("/os-release")
    }

    fn read(&self, path: &str, content: &[u8]) -> Reading {
        let (text, is_replaced) = text(content);
        let os = match path {
            "etc/alpine-release" => OsRelease::of("alpine", text.trim()),
            "etc/debian_version" => OsRelease::of("debian", text.trim()),
            "etc/centos-release" | "etc/redhat-release" | "etc/system-release" => sentence(text.trim()),
            _ => assignments(&text),
        };
        match os {
            Some(os) => Reading::of(Facts::Os(os)).with_flaw(PartialCode::Encoding, is_replaced),
            None => Reading::default().with_flaw(PartialCode::Malformed, true),
        }
    }
}

/// Reads what is written as a shell's assignments.
fn assignments(text: &str) -> Option<OsRelease> {
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.trim().split_once('='))
            .rfind(|(name, _)| *name == key)
            .map(|(_, value)| unquote(value))
    };
    let short = |key: &str| value(key).and_then(|value| word(&value).map(str::to_owned));
    Some(OsRelease {
        id: short("ID").filter(|id| is_id(id))?,
        version_id: short("VERSION_ID"),
        version_codename: short("VERSION_CODENAME"),
        pretty_name: value("PRETTY_NAME").filter(|name| name.len() <= 256),
    })
}

/// Tells a distribution's id by its characters (`os-release(5)`); with others every package URL would be a wrong one.
fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.bytes().all(is_plain) && !text.starts_with('.')
}

/// Reads what Red Hat and its relatives wrote before there was `os-release`: `CentOS release 6.10 (Final)`.
fn sentence(text: &str) -> Option<OsRelease> {
    let (name, rest) = text.lines().next()?.split_once(" release ")?;
    let id = match name.split(' ').next()? {
        "Red" => "rhel",
        "Amazon" => "amzn",
        "CentOS" => "centos",
        "Fedora" => "fedora",
        "Oracle" => "ol",
        "Rocky" => "rocky",
        "AlmaLinux" => "almalinux",
        _ => return None,
    };
    let os = OsRelease::of(id, rest.split(' ').next()?)?;
    Some(OsRelease {
        pretty_name: Some(text.to_owned()).filter(|text| text.len() <= 256),
        ..os
    })
}

/// Takes off a shell's quotes and backslashes.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value);
    let mut characters = inner.chars();
    let mut plain = String::with_capacity(inner.len());
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(content: &str) -> Reading {
        OsReleaseFiles.read("etc/os-release", content.as_bytes())
    }

    #[test]
    fn quotes_and_line_ends_do_not_matter() {
        let debian = "PRETTY_NAME=\"Debian \\\"GNU\\\"/Linux 12\"\r\nID='debian'\r\nVERSION_ID=\"12\"\r\n";
        let expected = OsRelease {
            id: "debian".into(),
            version_id: Some("12".into()),
            version_codename: None,
            pretty_name: Some("Debian \"GNU\"/Linux 12".into()),
        };
        assert_eq!(expected.distro(), "debian-12");
        assert_eq!(read(debian), Reading::of(Facts::Os(expected)));
    }

    #[test]
    fn a_rolling_release_has_no_number() {
        let Some(Facts::Os(sid)) = read("ID=debian\nVERSION_CODENAME=sid\n").facts else {
            panic!("no distribution");
        };
        assert_eq!(sid.distro(), "debian-sid");
        let Some(Facts::Os(arch)) = read("ID=arch\n").facts else {
            panic!("no distribution");
        };
        assert_eq!(arch.distro(), "arch");
    }

    #[test]
    fn without_an_id_it_is_malformed() {
        for content in ["", "NAME=x", "ID=", "ID=\"\"", "ID=..", "ID=a/b", "\u{0}\u{1}"] {
            let reading = read(content);
            assert_eq!(
                (reading.facts, reading.flaws),
                (None, vec![PartialCode::Malformed]),
                "{content:?}"
            );
        }
    }

    #[test]
    fn older_files_say_it_in_their_own_ways() {
        for (path, content, expected) in [
            (
                "etc/redhat-release",
                "CentOS release 6.10 (Final)\n",
                Some("centos-6.10"),
            ),
            (
                "etc/redhat-release",
                "Red Hat Enterprise Linux Server release 6.9 (Santiago)\n",
                Some("rhel-6.9"),
            ),
            (
                "etc/system-release",
                "Amazon Linux AMI release 2018.03\n",
                Some("amzn-2018.03"),
            ),
            ("etc/alpine-release", "3.2.3\n", Some("alpine-3.2.3")),
            ("etc/debian_version", "7.11\n", Some("debian-7.11")),
            ("etc/redhat-release", "something else\n", None),
        ] {
            let distro = match OsReleaseFiles.read(path, content.as_bytes()).facts {
                Some(Facts::Os(os)) => Some(os.distro()),
                _ => None,
            };
            assert_eq!(distro.as_deref(), expected, "{content}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, mutated in "(ID|VERSION_ID|PRETTY_NAME)?=?[\"'\\\\a\n]{0,20}") {
            OsReleaseFiles.read("etc/os-release", &content);
            read(&mutated);
        }
    }
}
