//! Alpine's apk: one database of installed packages, in lines of one letter, a colon and a value.
//!
//! Source: apk-tools, `apk-package(5)` and the wiki's "Apk spec", "Installed database".

use crate::{
    PartialCode, SourcePackage,
    cataloguer::{Cataloguer, Reading, may_show_packages, text},
    facts::{Declared, PackageKind, word},
    path::normalise,
};

pub(crate) struct Apk;

impl Cataloguer for Apk {
    fn homes(&self) -> &'static [&'static str] {
        // The second one is that of Alpine 3.23 and newer, whether or not `lib` is a link.
        &["lib/apk/db/installed", "usr/lib/apk/db/installed"]
    }

    fn wants(&self, path: &str) -> bool {
        path.strip_suffix("apk/db/installed")
            .is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
    }

    fn read(&self, _path: &str, content: &[u8]) -> Reading {
        let (text, is_replaced) = text(content);
        let mut packages = Vec::new();
        let mut is_malformed = false;
        let mut block = Block::default();
        for line in text.lines().map(str::trim_end).chain([""]) {
            if line.is_empty() {
                let block = std::mem::take(&mut block);
                if block.is_begun {
                    match block.declare() {
                        Some(package) => packages.push(package),
                        None => is_malformed = true,
                    }
                }
            } else if let Some((key, value)) = line.split_once(':').filter(|(key, _)| key.len() == 1) {
                block.add(key, value);
            } else {
                is_malformed = true;
            }
        }
        Reading::of_packages(packages)
            .with_flaw(PartialCode::Malformed, is_malformed)
            .with_flaw(PartialCode::Encoding, is_replaced)
    }
}

#[derive(Default)]
struct Block<'a> {
    is_begun: bool,
    name: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    origin: Option<&'a str>,
    license: Option<&'a str>,
    folder: &'a str,
    owns: Vec<String>,
}

impl<'a> Block<'a> {
    fn add(&mut self, key: &str, value: &'a str) {
        self.is_begun = true;
        match key {
            "P" => self.name = Some(value),
            "V" => self.version = Some(value),
            "A" => self.architecture = Some(value),
            "o" => self.origin = Some(value),
            "L" => self.license = Some(value),
            // A folder, and the files in it.
            "F" => self.folder = value,
            "R" => self.own(value),
            _ => {}
        }
    }

    /// Keeps a file that can show packages: only of these it matters who owns them.
    fn own(&mut self, name: &str) {
        let path = format!("{}/{name}", self.folder);
        self.owns.extend(
            normalise(path.as_bytes())
                .filter(|path| may_show_packages(path))
                .map(std::borrow::Cow::into_owned),
        );
    }

    fn declare(self) -> Option<Declared> {
        let mut package = Declared::new(PackageKind::Apk, self.name?, self.version)?;
        package.architecture = self.architecture.and_then(word).map(str::to_owned);
        package.source = self
            .origin
            .and_then(word)
            .filter(|origin| *origin != package.name)
            .map(|origin| SourcePackage {
                name: origin.to_owned(),
                version: None,
            });
        if let Some(license) = self.license {
            package.add_license(license);
        }
        package.owns = self.owns;
        Some(package)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Facts;

    const PATH: &str = "lib/apk/db/installed";
    const INSTALLED: &str = "\
C:Q1hdUpqRv5mYgJEqW52UmVsvmeysE=
P:libcrypto3
V:3.1.4-r5
A:x86_64
S:1
L:Apache-2.0
o:openssl
F:lib
R:libcrypto.so.3
a:0:0:755
Z:Q1j2
F:etc

P:py3-six
V:1.16.0-r9
A:noarch
L:MIT
o:py3-six
F:usr/lib/python3.11/site-packages/six-1.16.0.dist-info
R:METADATA
R:RECORD
";

    fn packages(reading: Reading) -> Vec<Declared> {
        match reading.facts {
            Some(Facts::Packages(packages)) => packages,
            _ => Vec::new(),
        }
    }

    #[test]
    fn fields_are_told_by_their_letter_and_its_case() {
        let reading = Apk.read(PATH, INSTALLED.as_bytes());
        assert_eq!(reading.flaws, []);
        let packages = packages(reading);
        let mut libcrypto = Declared::new(PackageKind::Apk, "libcrypto3", Some("3.1.4-r5")).unwrap();
        libcrypto.architecture = Some("x86_64".into());
        libcrypto.source = Some(SourcePackage {
            name: "openssl".into(),
            version: None,
        });
        libcrypto.add_license("Apache-2.0");
        libcrypto.owns = vec!["lib/libcrypto.so.3".into()];
        assert_eq!(packages[0], libcrypto);
        assert_eq!(packages[1].source, None);
        assert_eq!(
            packages[1].owns,
            ["usr/lib/python3.11/site-packages/six-1.16.0.dist-info/METADATA"]
        );
        let windows = INSTALLED.replace('\n', "\r\n");
        assert_eq!(
            Apk.read(PATH, windows.as_bytes()).facts,
            Some(Facts::Packages(packages))
        );
    }

    #[test]
    fn garbage_gives_no_packages_and_says_so() {
        let reading = Apk.read(PATH, b"\x00\x01\xffgarbage\n\nV:1\n");
        assert_eq!(reading.facts, None);
        assert_eq!(reading.flaws, [PartialCode::Malformed, PartialCode::Encoding]);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>) {
            Apk.read(PATH, &content);
        }

        #[test]
        fn mutated_databases_can_be_read(at in 0..INSTALLED.len(), byte: u8) {
            let mut content = INSTALLED.as_bytes().to_vec();
            content[at] = byte;
            prop_assert!(packages(Apk.read(PATH, &content)).len() <= 3);
        }
    }
}
