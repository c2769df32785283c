//! Java archives: jars, and what is packed like them, with the archives within them at any depth.
//!
//! What an archive is stands in `META-INF/maven/*/*/pom.properties`, one for each artifact that was packed (several, if
//! it was shaded); else in `META-INF/MANIFEST.MF`, and at last in its name. Archives are read as they pass by, from one
//! local header to the next, those within them too, so that none is ever held.
//! Sources: Maven, "Maven Archiver"; JAR file specification; `OSGi` core, 3.2 "Bundles".

pub(crate) mod archive;
mod manifest;
mod runtime;

use std::io::{BufRead, Read as _};

use self::{
    archive::{Archive, Member},
    manifest::Manifest,
};
use crate::{
    Limits, PartialCode,
    cataloguer::{Inspector, Reading},
    facts::{Declared, word},
    path::split,
};

pub(crate) use self::runtime::JavaRuntime;

pub(crate) struct Java;

impl Inspector for Java {
    fn wants(&self, path: &str, start: &[u8]) -> bool {
        // A program that starts the archive may stand before it.
        is_archive(path) && (start.starts_with(b"PK\x03\x04") || start.starts_with(b"#!"))
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, limits: &Limits) -> Reading {
        let mut reader = Reader {
            limits,
            bytes: limits.nested_bytes,
            entries: limits.nested_entries,
            packages: Vec::new(),
            flaws: Vec::new(),
        };
        reader.read(path, content, 0);
        let Reader { packages, flaws, .. } = reader;
        Reading {
            flaws,
            ..Reading::of_packages(packages)
        }
    }
}

/// Tells whether a file is packed as a jar is, from its name.
pub(crate) fn is_archive(path: &str) -> bool {
    let (_, name) = split(path);
    name.rsplit_once('.').is_some_and(|(_, kind)| {
        [
            "jar", "war", "ear", "sar", "par", "jpi", "hpi", "kar", "rar", "nar", "far", "lpkg",
        ]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
    })
}

/// Reads an archive and all within it, which share what may be unpacked.
struct Reader<'l> {
    limits: &'l Limits,
    bytes: u64,
    entries: u64,
    packages: Vec<Declared>,
    flaws: Vec<PartialCode>,
}

/// What an archive says of itself.
#[derive(Default)]
struct Found {
    artifacts: Vec<Declared>,
    manifest: Option<Manifest>,
}

impl Reader<'_> {
    fn read(&mut self, name: &str, content: &mut dyn BufRead, depth: usize) {
        let mut found = Found::default();
        let mut archive = Archive::new(content);
        loop {
            let passed = match archive.next_member() {
                Ok(Some(_)) if self.entries == 0 || self.bytes == 0 => {
                    self.flaw(PartialCode::Nested);
                    break;
                }
                Ok(Some(mut member)) => {
                    self.entries -= 1;
                    self.read_member(&mut member, &mut found, depth);
                    member.finish(self.bytes)
                }
                Ok(None) => break,
                Err(broken) => Err(broken),
            };
            match passed {
                Ok(passed) if passed > self.bytes => {
                    self.flaw(PartialCode::Nested);
                    break;
                }
                Ok(passed) => self.bytes -= passed,
                Err(archive::Broken) => {
                    self.flaw(PartialCode::Malformed);
                    break;
                }
            }
        }
        self.packages.extend(found.choose(name));
    }

    fn read_member(&mut self, member: &mut Member<'_>, found: &mut Found, depth: usize) {
        let name = member.name().to_owned();
        if is_archive(&name) {
            if depth < self.limits.nested_depth {
                let before = self.bytes;
                let mut limited = member.take(before);
                self.read(&name, &mut limited, depth + 1);
                let left = limited.limit();
                if left == 0 {
                    self.flaw(PartialCode::Nested);
                }
                self.bytes = self.bytes.saturating_sub(before - left);
            } else {
                self.flaw(PartialCode::Nested);
            }
        } else if name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties") {
            if let Some(text) = self.text(member) {
                found.artifacts.extend(manifest::pom_properties(&text));
            }
        } else if name.eq_ignore_ascii_case("META-INF/MANIFEST.MF")
            && let Some(text) = self.text(member)
        {
            found.manifest = Some(Manifest::read(&text));
        }
    }

    /// Reads a member as text, unless it is too long.
    fn text(&mut self, member: &mut Member<'_>) -> Option<String> {
        let most = self.limits.record_bytes as u64;
        let mut bytes = Vec::new();
        if member.take(most + 1).read_to_end(&mut bytes).is_err() {
            self.flaw(PartialCode::Malformed);
        }
        let is_short = bytes.len() as u64 <= most;
        if !is_short {
            self.flaw(PartialCode::RecordBytes);
        }
        is_short.then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn flaw(&mut self, code: PartialCode) {
        if !self.flaws.contains(&code) {
            self.flaws.push(code);
        }
    }
}

impl Found {
    /// Chooses what says most: the artifacts that were packed, the manifest, the archive's name.
    fn choose(self, path: &str) -> Vec<Declared> {
        let (_, file) = split(path);
        let (stem, kind) = file.rsplit_once('.').unwrap_or((file, ""));
        if !self.artifacts.is_empty() {
            return self.artifacts;
        }
        let (name, version) = split_name(stem);
        let package = self.manifest.unwrap_or_default().declare(name, version);
        // The archive of an application that says no version is no package.
        let is_jar = kind.eq_ignore_ascii_case("jar");
        package
            .filter(|package| is_jar || package.version.is_some())
            .into_iter()
            .collect()
    }
}

/// Splits `name-1.2.3` where the version starts: at the first digit that follows a hyphen.
fn split_name(stem: &str) -> (&str, Option<&str>) {
    let is_start = |at: &usize| stem.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit);
    match stem.match_indices('-').map(|(at, _)| at).find(is_start) {
        Some(at) if at > 0 => (&stem[..at], word(&stem[at + 1..])),
        _ => (stem, None),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use proptest::prelude::*;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn zip(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in members {
            zip.start_file(*name, SimpleFileOptions::default().compression_method(method))
                .unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// As one is written to a pipe: sizes stand behind the content.
    fn streamed_zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new_stream(Vec::new());
        for (name, content) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn read(path: &str, content: &[u8], limits: &Limits) -> (Vec<String>, Vec<PartialCode>) {
        let reading = Java.read(path, &mut { content }, limits);
        let packages = match reading.facts {
            Some(crate::facts::Facts::Packages(packages)) => packages,
            _ => Vec::new(),
        };
        let text =
            |package: Declared| format!("{} {}", package.name, package.version.as_deref().unwrap_or("?"));
        (packages.into_iter().map(text).collect(), reading.flaws)
    }

    const POM: (&str, &[u8]) = (
        "META-INF/maven/org.x/lib/pom.properties",
        b"#Generated\r\nversion=1.0.0\r\ngroupId=org.x\r\nartifactId=lib\r\n",
    );

    #[test]
    fn each_source_counts_before_the_next() {
        let manifest: (&str, &[u8]) = (
            "META-INF/MANIFEST.MF",
            b"Manifest-Version: 1.0\r\nBundle-SymbolicName: org.y.bun\r\n dle;singleton:=true\r\nBundle-Version: 2.0.0\r\n\r\n",
        );
        for (path, members, expected) in [
            ("a/name-9.jar", vec![manifest, POM], vec!["org.x:lib 1.0.0"]),
            ("a/name.jar", vec![manifest], vec!["org.y.bundle 2.0.0"]),
            (
                "a/name-1.2.3-SNAPSHOT.jar",
                vec![manifest],
                vec!["name 1.2.3-SNAPSHOT"],
            ),
            (
                "a/commons-lang3-3.12.0.jar",
                vec![("x", &b""[..])],
                vec!["commons-lang3 3.12.0"],
            ),
            ("a/bare.jar", vec![("x", &b""[..])], vec!["bare ?"]),
            ("a/shop.war", vec![("x", &b""[..])], vec![]),
        ] {
            for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
                let (found, flaws) = read(path, &zip(&members, method), &Limits::default());
                assert_eq!(
                    (found, flaws),
                    (expected.iter().map(|&text| text.to_owned()).collect(), vec![]),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn archives_within_archives_are_read_however_they_are_packed() {
        let inner = zip(&[POM, ("big", &vec![7; 300_000])], CompressionMethod::Deflated);
        let war = [
            ("WEB-INF/lib/lib-1.0.0.jar", inner.as_slice()),
            (
                "WEB-INF/lib/other-2.jar",
                &zip(&[("x", b"")], CompressionMethod::Stored),
            ),
        ];
        let expected = vec!["org.x:lib 1.0.0".to_owned(), "other 2".to_owned()];
        for war in [
            zip(&war, CompressionMethod::Stored),
            zip(&war, CompressionMethod::Deflated),
            streamed_zip(&war),
        ] {
            assert_eq!(
                read("shop.war", &war, &Limits::default()),
                (expected.clone(), vec![])
            );
            let started = [b"#!/bin/sh\nexec java -jar $0\nPKPK\x03".as_slice(), &war].concat();
            assert_eq!(
                read("shop.war", &started, &Limits::default()),
                (expected.clone(), vec![])
            );
        }
    }

    #[test]
    fn a_shaded_archive_is_all_that_was_packed() {
        let other = (
            "META-INF/maven/org.z/dep/pom.properties",
            &b"groupId=org.z\nartifactId=dep\nversion=3\n"[..],
        );
        let (found, _) = read(
            "all.jar",
            &zip(&[POM, other], CompressionMethod::Deflated),
            &Limits::default(),
        );
        assert_eq!(found, ["org.x:lib 1.0.0", "org.z:dep 3"]);
    }

    #[test]
    fn what_is_too_deep_too_large_or_too_many_is_missed_with_notice() {
        let mut nested = zip(&[POM], CompressionMethod::Deflated);
        for _ in 0..3 {
            nested = zip(&[("inner.jar", &nested)], CompressionMethod::Deflated);
        }
        let limits = Limits::default();
        let outer = vec!["inner ?".to_owned(); 2];
        let deep = Limits {
            nested_depth: 2,
            ..limits.clone()
        };
        let (found, flaws) = read("a-1.jar", &nested, &deep);
        assert_eq!((found[..2].to_vec(), flaws), (outer, vec![PartialCode::Nested]));
        let zeroes = vec![0; 10 << 20];
        let bomb = [("zeroes", zeroes.as_slice()), POM];
        let small = Limits {
            nested_bytes: 1 << 20,
            ..limits.clone()
        };
        // Where it ends is known, so it is not unpacked.
        let closed = zip(&bomb, CompressionMethod::Deflated);
        assert_eq!(
            read("a-1.jar", &closed, &small),
            (vec!["org.x:lib 1.0.0".into()], vec![])
        );
        assert_eq!(
            read("a-1.jar", &streamed_zip(&bomb), &small),
            (vec!["a 1".into()], vec![PartialCode::Nested])
        );
        let within = zip(
            &[("b.jar", &zip(&bomb, CompressionMethod::Stored))],
            CompressionMethod::Deflated,
        );
        assert_eq!(
            read("a-1.jar", &within, &small).1,
            [PartialCode::Malformed, PartialCode::Nested]
        );
        let few = Limits {
            nested_entries: 1,
            ..limits.clone()
        };
        assert_eq!(
            read("a-1.jar", &closed, &few),
            (vec!["a 1".into()], vec![PartialCode::Nested])
        );
        let short = Limits {
            record_bytes: 10,
            ..limits
        };
        let (_, flaws) = read("a-1.jar", &zip(&[POM], CompressionMethod::Stored), &short);
        assert_eq!(flaws, [PartialCode::RecordBytes]);
    }

    #[test]
    fn an_archive_that_is_cut_off_keeps_its_name_and_says_so() {
        let whole = zip(&[("a", &[1; 5000]), POM], CompressionMethod::Deflated);
        let (found, flaws) = read("lib-1.jar", &whole[..40], &Limits::default());
        assert_eq!(
            (found, flaws),
            (vec!["lib 1".to_owned()], vec![PartialCode::Malformed])
        );
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>) {
            read("a-1.jar", &content, &Limits::default());
        }

        #[test]
        fn mutated_archives_can_be_read(at: prop::sample::Index, byte: u8, is_streamed: bool) {
            let inner = zip(&[POM], CompressionMethod::Deflated);
            let members = [("a", &b"text text text"[..]), ("b.jar", &inner)];
            let mut content = if is_streamed { streamed_zip(&members) } else { zip(&members, CompressionMethod::Deflated) };
            let at = at.index(content.len());
            content[at] = byte;
            prop_assert!(read("a-1.jar", &content, &Limits::default()).0.len() <= 3);
        }
    }
}
