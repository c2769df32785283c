//! Packages that Yarn runs from where they were downloaded to ("Plug'n'Play"): a zip archive for each.
//!
//! In an archive the package lies as it would in an application, below `node_modules`. Source: Yarn's documentation,
//! "Plug'n'Play" and `cacheFolder`.

use std::io::{BufRead, Read as _};

use super::Npm;
use crate::{
    Limits, PartialCode,
    cataloguer::{Cataloguer as _, Inspector, Reading},
    facts::Facts,
    java::archive::{Archive, Broken},
    path::split,
};

pub(crate) struct YarnCache;

impl Inspector for YarnCache {
    fn wants(&self, path: &str, start: &[u8]) -> bool {
        let (folder, name) = split(path);
        let is_cache = || folder.ends_with(".yarn/cache") || folder.ends_with(".yarn/berry/cache");
        let is_archive = matches!(name.rsplit_once('.'), Some((_, "zip")));
        is_archive && start.starts_with(b"PK\x03\x04") && is_cache()
    }

    fn read(&self, _path: &str, content: &mut dyn BufRead, limits: &Limits) -> Reading {
        let mut packages = Vec::new();
        let mut flaws = Vec::new();
        let mut flaw = |code| {
            if !flaws.contains(&code) {
                flaws.push(code);
            }
        };
        let mut archive = Archive::new(content);
        let mut bytes = limits.nested_bytes;
        for count in 0.. {
            let passed = match archive.next_member() {
                Ok(None) => break,
                Ok(Some(_)) if count == limits.nested_entries => Ok(u64::MAX),
                Ok(Some(mut member)) => {
                    let name = member.name().to_owned();
                    if Npm.wants(&name) {
                        let mut json = Vec::new();
                        let most = limits.record_bytes as u64;
                        let read = member.by_ref().take(most + 1).read_to_end(&mut json);
                        if json.len() as u64 > most {
                            flaw(PartialCode::RecordBytes);
                        } else if read.is_err() {
                            flaw(PartialCode::Malformed);
                        } else {
                            let reading = Npm.read(&name, &json);
                            reading.flaws.into_iter().for_each(&mut flaw);
                            if let Some(Facts::Packages(found)) = reading.facts {
                                packages.extend(found);
                            }
                        }
                    }
                    member.finish(bytes)
                }
                Err(broken) => Err(broken),
            };
            match passed {
                Ok(passed) if passed <= bytes => bytes -= passed,
                Ok(_) => {
                    flaw(PartialCode::Nested);
                    break;
                }
                Err(Broken) => {
                    flaw(PartialCode::Malformed);
                    break;
                }
            }
        }
        Reading {
            flaws,
            ..Reading::of_packages(packages)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use proptest::prelude::*;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::*;

    const LODASH: (&str, &str) = (
        "node_modules/@s/lodash/package.json",
        r#"{"name":"@s/lodash","version":"4.17.21","license":"MIT"}"#,
    );

    fn zip(members: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for (name, content) in members {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn read(content: &[u8], limits: &Limits) -> (Vec<String>, Vec<PartialCode>) {
        let reading = YarnCache.read("", &mut { content }, limits);
        let packages = match reading.facts {
            Some(Facts::Packages(packages)) => packages,
            _ => Vec::new(),
        };
        let text = |package: crate::facts::Declared| {
            format!("{} {}", package.name, package.version.unwrap_or_default())
        };
        (packages.into_iter().map(text).collect(), reading.flaws)
    }

    #[test]
    fn a_package_is_read_in_its_archive() {
        let bundled = (
            "node_modules/@s/lodash/node_modules/b/package.json",
            r#"{"name":"b","version":"1.0.0"}"#,
        );
        let content = zip(&[("node_modules/@s/lodash/a.js", "a"), LODASH, bundled]);
        let limits = Limits::default();
        assert_eq!(
            read(&content, &limits),
            (vec!["@s/lodash 4.17.21".into(), "b 1.0.0".into()], vec![])
        );
        let cut = read(&content[..content.len() / 2], &limits);
        assert_eq!(cut.1, [PartialCode::Malformed]);
        let broken = zip(&[("node_modules/a/package.json", "{")]);
        assert_eq!(read(&broken, &limits), (vec![], vec![PartialCode::Malformed]));
    }

    #[test]
    fn what_is_too_much_is_missed_with_notice() {
        let content = zip(&[LODASH, ("b", ""), ("c", "")]);
        let few = Limits {
            nested_entries: 2,
            ..Limits::default()
        };
        assert_eq!(
            read(&content, &few),
            (vec!["@s/lodash 4.17.21".into()], vec![PartialCode::Nested])
        );
        let short = Limits {
            record_bytes: 20,
            ..Limits::default()
        };
        assert_eq!(read(&content, &short), (vec![], vec![PartialCode::RecordBytes]));
    }

    #[test]
    fn archives_lie_in_yarns_folders() {
        for path in [
            "app/.yarn/cache/a-npm-1.zip",
            ".yarn/cache/a.zip",
            "root/.yarn/berry/cache/a.zip",
        ] {
            assert!(YarnCache.wants(path, b"PK\x03\x04"), "{path}");
        }
        assert!(
            !YarnCache.wants("app/.yarn/cache/a.zip", b"<html>") && !YarnCache.wants("a.zip", b"PK\x03\x04")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, at: prop::sample::Index, byte: u8) {
            read(&content, &Limits::default());
            let mut content = zip(&[LODASH]);
            let at = at.index(content.len());
            content[at] = byte;
            prop_assert!(read(&content, &Limits::default()).0.len() <= 1);
        }
    }
}
