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
    says: Says,
}

/// How a program says its version.
enum Says {
    /// Between two texts; a zero byte is where a text of the program starts or ends.
    Between(&'static [u8], &'static [u8]),
    /// At the start of the text that Redis computes its build's id from.
    RedisBuild,
}

use Says::{Between, RedisBuild};

static KNOWN: [Known; 18] = [
    Known {
        name: "node",
        is_file: |file| file == "node" || file.starts_with("libnode.so"),
        says: Between(b"node.js/v", b""),
    },
    Known {
        name: "busybox",
        is_file: |file| file.starts_with("busybox"),
        says: Between(b"BusyBox v", b""),
    },
    Known {
        name: "nginx",
        is_file: |file| file.starts_with("nginx"),
        says: Between(b"nginx version: nginx/", b""),
    },
    Known {
        name: "openresty",
        is_file: |file| file == "nginx" || file == "openresty",
        says: Between(b"nginx version: openresty/", b""),
    },
    Known {
        name: "openssl",
        is_file: |file| file == "openssl" || file.starts_with("libcrypto.so"),
        says: Between(b"OpenSSL ", b""),
    },
    Known {
        name: "postgresql",
        is_file: |file| file == "postgres",
        says: Between(b"postgres (PostgreSQL) ", b""),
    },
    Known {
        name: "redis",
        is_file: |file| file.starts_with("redis-"),
        says: RedisBuild,
    },
    Known {
        name: "valkey",
        is_file: |file| file.starts_with("valkey-"),
        says: RedisBuild,
    },
    Known {
        name: "memcached",
        is_file: |file| file == "memcached",
        says: Between(b"\0memcached ", b""),
    },
    Known {
        name: "mariadb",
        is_file: |file| ["mariadbd", "mariadb", "mysqld", "mysql"].contains(&file),
        says: Between(b"\0", b"-MariaDB"),
    },
    Known {
        name: "httpd",
        is_file: |file| file == "httpd" || file == "apache2",
        says: Between(b"Apache/", b""),
    },
    Known {
        name: "curl",
        is_file: |file| file.starts_with("libcurl.so") || file.starts_with("libcurl-gnutls.so"),
        says: Between(b"libcurl/", b""),
    },
    Known {
        name: "lighttpd",
        is_file: |file| file == "lighttpd",
        says: Between(b"\0lighttpd/", b""),
    },
    Known {
        name: "haproxy",
        is_file: |file| file == "haproxy",
        says: Between(b" version ", b", released "),
    },
    Known {
        name: "php",
        is_file: |file| file.starts_with("php") || file.starts_with("libphp"),
        says: Between(b"X-Powered-By: PHP/", b""),
    },
    Known {
        name: "ruby",
        is_file: |file| file.starts_with("ruby") || file.starts_with("libruby"),
        says: Between(b"\0ruby ", b" ("),
    },
    Known {
        name: "perl",
        is_file: |file| file.starts_with("perl") || file.starts_with("libperl.so"),
        says: Between(b"\0v", b"\0"),
    },
    Known {
        name: "bash",
        is_file: |file| file == "bash",
        says: Between(b"@(#)Bash version ", b"("),
    },
];

/// Looks for the version of a program that its file's name says to be well known.
pub(super) struct Version {
    known: Vec<&'static Known>,
    python: Option<String>,
    /// A name and a version.
    found: Option<(&'static str, String)>,
}

impl Version {
    pub(super) fn of(file: &str) -> Self {
        Self {
            known: KNOWN.iter().filter(|known| (known.is_file)(file)).collect(),
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
        self.found = self.known.iter().find_map(|known| {
            let version = match known.says {
                Between(before, behind) => between(bytes, count, before, behind),
                RedisBuild => redis_build(bytes, count),
            }?;
            Some((known.name, version.to_owned()))
        });
        if let Some(start) = &self.python {
            // A text of its own, which Python shows as its version.
            let text = [b"\0", start.as_bytes()].concat();
            let mut places = memchr::memmem::find_iter(bytes, &text).take_while(|&at| at < count);
            let version = places.find_map(|at| {
                let version = version(&bytes[at + 1..])?;
                (bytes.get(at + 1 + version.len()) == Some(&0)).then_some(version)
            });
            self.found = version.map(|version| ("python", version.to_owned()));
        }
    }

    fn finish(self: Box<Self>) -> (Vec<Declared>, Option<PartialCode>) {
        let package = self
            .found
            .and_then(|(name, version)| Declared::new(PackageKind::Generic, name, Some(&version)));
        (package.into_iter().collect(), None)
    }
}

/// Finds the first version that stands between two texts, the first of which starts in the first `count` bytes.
fn between<'b>(bytes: &'b [u8], count: usize, before: &[u8], behind: &[u8]) -> Option<&'b str> {
    let mut places = memchr::memmem::find_iter(bytes, before).take_while(|&at| at < count);
    places.find_map(|at| {
        let rest = &bytes[at + before.len()..];
        // Some texts before are found everywhere, and what follows decides.
        rest.first().filter(|byte| byte.is_ascii_digit())?;
        if behind.is_empty() {
            return version(rest);
        }
        let rest = &rest[..rest.len().min(MAX_VERSION + behind.len())];
        let text = &rest[..memchr::memmem::find(rest, behind)?];
        std::str::from_utf8(text).ok().filter(|text| is_version(text))
    })
}

/// Finds the version that starts the text of which Redis, or what came of it, computes its build's id.
///
/// The parts of that text follow each other without a gap: the version, `HOST-` (nothing in a reproducible build), the
/// time in seconds, and, in a release, a zero for no changes and eight for no commit. A host that is a container has a
/// name of twelve hexadecimal digits; of any other its first letter ends the version. Source: Redis, `release.c` and
/// `mkreleasehdr.sh`.
fn redis_build(bytes: &[u8], count: usize) -> Option<&str> {
    const NO_COMMIT: &[u8] = b"000000000\0";
    const TIME: usize = 10;
    const CONTAINER: usize = 12;
    memchr::memmem::find_iter(bytes, NO_COMMIT).find_map(|end| {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let start = bytes[..end]
            .iter()
            .rposition(|byte| !is_part(byte))
            .map_or(0, |at| at + 1);
        let (rest, time) = bytes[start..end].split_last_chunk::<TIME>()?;
        if start >= count || !time.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let rest = rest.strip_suffix(b"-").unwrap_or(rest);
        let rest = match rest.split_last_chunk::<CONTAINER>() {
            Some((rest, host)) if host.iter().all(u8::is_ascii_hexdigit) => rest,
            _ => rest,
        };
        // What stands before the text may look as if it belonged to it.
        let from = rest.iter().position(u8::is_ascii_digit)?;
        let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        let text = rest[from..].split(|byte| !is_number(byte)).next()?;
        let text = std::str::from_utf8(text).ok()?;
        (is_version(text) && text.matches('.').count() == 2).then_some(text)
    })
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
    is_version(text).then_some(text)
}

fn is_version(text: &str) -> bool {
    text.split_once('.').is_some_and(|(major, minor)| {
        !major.is_empty()
            && major.bytes().all(|byte| byte.is_ascii_digit())
            && minor.starts_with(|c: char| c.is_ascii_digit())
            && !minor.contains(|c: char| c.is_control() || c.is_whitespace())
    })
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
            (
                "postgres",
                "before upgrading to PostgreSQL 9.1.\0postgres (PostgreSQL) 16.1 (Debian)\n\0",
                Some("postgresql 16.1"),
            ),
            (
                "haproxy",
                "not supported any more since HAProxy version 2.5.\0 version 2.6.12-1+deb12u4, released 2026/10/17\0",
                Some("haproxy 2.6.12-1+deb12u4"),
            ),
            (
                "libcurl.so.4",
                "\0User-Agent: %s\0libcurl/7.88.1\0",
                Some("curl 7.88.1"),
            ),
            ("lighttpd", "\0lighttpd/1.4.69\0", Some("lighttpd 1.4.69")),
            (
                "nginx",
                "nginx version: openresty/1.25.3.1\0",
                Some("openresty 1.25.3.1"),
            ),
            (
                "mariadbd",
                "\x005.7.31\x0010.11.6-MariaDB\0",
                Some("mariadb 10.11.6"),
            ),
            ("mysqld", "\x005.7.31\0", None),
            (
                "ruby",
                "\0ruby 3.1.7p261 (2025-03-26 revision 0a3704f218)\0",
                Some("ruby 3.1.7p261"),
            ),
            ("libperl.so.5.36", "\0v%vd\0v5.36.0\0", Some("perl 5.36.0")),
            (
                "bash",
                "@(#)Bash version 5.2.15(1) release GNU\0",
                Some("bash 5.2.15"),
            ),
            ("memcached", "\0memcached 1.6.18\n\0", Some("memcached 1.6.18")),
            // As Debian builds it, with bytes before that belong to a number; by a builder; in a container.
            (
                "redis-server",
                "\x007.0.3\0\x01A7.0.151790282056000000000\0",
                Some("redis 7.0.15"),
            ),
            (
                "redis-cli",
                "\x007.2.4buildkitsandbox-1704826547000000000\0",
                Some("redis 7.2.4"),
            ),
            (
                "redis-server",
                "\x006.0.163f2a5b6c7d8e-1704826547000000000\0",
                Some("redis 6.0.16"),
            ),
            (
                "valkey-server",
                "\0valkey8.0.1builder-1704826547000000000\0",
                Some("valkey 8.0.1"),
            ),
            ("redis-server", "\x00100000000000000000000\x007.0.15\0", None),
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
