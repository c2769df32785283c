use super::{Evidence, window::Window};
use crate::{
    PartialCode,
    facts::{Declared, PackageKind},
};

/// A well-known program that no package manager installed, and the text in it that says its version.
///
/// The texts are what the programs print or send as their own version, read in their sources.
struct Known {
    name: &'static str,
    is_file: fn(&str) -> bool,
    /// What stands before the version.
    before: &'static [u8],
}

static KNOWN: [Known; 8] = [
    Known {
        name: "node",
        is_file: |file| file == "node" || file.starts_with("libnode.so"),
        before: b"node.js/v",
    },
    Known {
        name: "busybox",
        is_file: |file| file.starts_with("busybox"),
        before: b"BusyBox v",
    },
    Known {
        name: "nginx",
        is_file: |file| file == "nginx",
        before: b"nginx version: nginx/",
    },
    Known {
        name: "openssl",
        is_file: |file| file == "openssl" || file.starts_with("libcrypto.so"),
        before: b"OpenSSL ",
    },
    Known {
        name: "postgresql",
        is_file: |file| file == "postgres",
        before: b"PostgreSQL ",
    },
    Known {
        name: "httpd",
        is_file: |file| file == "httpd" || file == "apache2",
        before: b"Apache/",
    },
    Known {
        name: "haproxy",
        is_file: |file| file == "haproxy",
        before: b"HAProxy version ",
    },
    Known {
        name: "php",
        is_file: |file| file == "php" || file.starts_with("php-fpm") || file.starts_with("libphp"),
        before: b"X-Powered-By: PHP/",
    },
];

/// Looks for the version of a program that its file's name says to be well known.
pub(super) struct Version {
    known: Option<&'static Known>,
    python: Option<String>,
    found: Option<String>,
}

impl Version {
    pub(super) fn of(file: &str) -> Self {
        Self {
            known: KNOWN.iter().find(|known| (known.is_file)(file)),
            python: python(file),
            found: None,
        }
    }
}

/// Returns the start of the version of a Python that a file holds: `3.11.` for `libpython3.11.so.1.0` or `python3.11`.
fn python(file: &str) -> Option<String> {
    let rest = file.strip_prefix("lib").unwrap_or(file).strip_prefix("python")?;
    let rest = rest.split(".so").next()?;
    let (major, minor) = rest.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(major) && is_number(minor)).then(|| format!("{major}.{minor}."))
}

/// Longer than any version.
const MAX_VERSION: usize = 32;

impl Evidence for Version {
    fn look(&mut self, window: &mut Window<'_>, count: usize) {
        if self.found.is_some() {
            return;
        }
        let bytes = window.bytes();
        if let Some(known) = self.known {
            let places = memchr::memmem::find_iter(bytes, known.before);
            let mut versions = places
                .take_while(|&at| at < count)
                .filter_map(|at| version(&bytes[at + known.before.len()..]));
            self.found = versions.next().map(str::to_owned);
        }
        if let Some(start) = &self.python {
            // A text of its own, which Python shows as its version.
            let text = [b"\0", start.as_bytes()].concat();
            let places = memchr::memmem::find_iter(bytes, &text);
            let mut versions = places.take_while(|&at| at < count).filter_map(|at| {
                let version = version(&bytes[at + 1..])?;
                (bytes.get(at + 1 + version.len()) == Some(&0)).then_some(version)
            });
            self.found = versions.next().map(str::to_owned);
        }
    }

    fn finish(self: Box<Self>) -> (Vec<Declared>, Option<PartialCode>) {
        let name = if self.python.is_some() {
            Some("python")
        } else {
            self.known.map(|known| known.name)
        };
        let package = name
            .zip(self.found)
            .and_then(|(name, version)| Declared::new(PackageKind::Generic, name, Some(&version)));
        (package.into_iter().collect(), None)
    }
}

/// Reads a version: digits, a dot, more digits, and what belongs to them.
fn version(bytes: &[u8]) -> Option<&str> {
    let bytes = &bytes[..bytes.len().min(MAX_VERSION + 1)];
    let is_part =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'~' | b'_');
    let end = bytes.iter().position(|byte| !is_part(byte))?;
    let text = std::str::from_utf8(&bytes[..end])
        .ok()?
        .trim_end_matches(['.', '-']);
    let (major, minor) = text.split_once('.')?;
    let is_version = !major.is_empty()
        && major.bytes().all(|byte| byte.is_ascii_digit())
        && minor.starts_with(|c: char| c.is_ascii_digit());
    is_version.then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::binary::{PIECE, look_through};

    fn found(file: &str, program: &[u8]) -> Vec<String> {
        let mut evidence: [Box<dyn Evidence>; 1] = [Box::new(Version::of(file))];
        look_through(&mut { program }, &mut evidence, 1 << 20);
        let [version] = evidence;
        let (packages, flaw) = version.finish();
        assert_eq!(flaw, None);
        packages
            .into_iter()
            .map(|package| format!("{} {}", package.name, package.version.unwrap()))
            .collect()
    }

    #[test]
    fn programs_say_their_versions_in_their_own_ways() {
        for (file, text, expected) in [
            ("node", "\0node.js/v%s\0node.js/v18.17.1\0", Some("node 18.17.1")),
            (
                "busybox",
                "BusyBox v1.36.1 (2023-11-07 18:53:09 UTC)\0",
                Some("busybox 1.36.1"),
            ),
            ("nginx", "nginx version: nginx/1.25.3\0", Some("nginx 1.25.3")),
            (
                "libcrypto.so.3",
                "OpenSSL %s\0OpenSSL 3.0.11 19 Sep 2023\0",
                Some("openssl 3.0.11"),
            ),
            (
                "libcrypto.so.1.1",
                "OpenSSL 1.1.1w  11 Sep 2023\0",
                Some("openssl 1.1.1w"),
            ),
            ("postgres", "PostgreSQL 16.1 (Debian)\0", Some("postgresql 16.1")),
            (
                "libpython3.11.so.1.0",
                "\x003.11.\x003.11.4\0",
                Some("python 3.11.4"),
            ),
            ("python3.11", "\x003.11.0rc1+\0", Some("python 3.11.0rc1+")),
            ("python3", "\x003.11.4\0", None),
            ("other", "node.js/v18.17.1\0", None),
            ("node", "node.js/v18", None),
        ] {
            for before in [0, PIECE - 5] {
                let program = [&vec![1; before], text.as_bytes()].concat();
                let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
                assert_eq!(found(file, &program), expected, "{file} {text:?} {before}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_through(program: Vec<u8>, text in "OpenSSL [0-9.a-z ]{0,40}") {
            found("openssl", &program);
            found("openssl", text.as_bytes());
            found("python3.1", text.as_bytes());
        }
    }
}
