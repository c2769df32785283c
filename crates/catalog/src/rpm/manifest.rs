use crate::{
    PartialCode,
    cataloguer::{Reading, text},
    facts::{Declared, PackageKind, word},
};

/// Reads the list that images of Azure Linux have in the place of a database: a line for each package, with tabs between
/// name, version and release, two times, vendor, epoch, size, architecture, epoch again, and source package.
///
/// Source: Microsoft, CBL-Mariner, `toolkit/docs/how_it_works/5_misc.md`.
pub(super) fn read(content: &[u8]) -> Reading {
    let (text, is_replaced) = text(content);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let packages: Vec<Declared> = lines.iter().filter_map(|line| declare(line)).collect();
    let is_malformed = packages.len() < lines.len();
    Reading::of_packages(packages)
        .with_flaw(PartialCode::Malformed, is_malformed)
        .with_flaw(PartialCode::Encoding, is_replaced)
}

fn declare(line: &str) -> Option<Declared> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, version, _, _, _, _, _, architecture, epoch, source, ..] = fields[..] else {
        return None;
    };
    let number = epoch.trim().parse::<u32>().ok().filter(|epoch| *epoch != 0);
    let epoch = number.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let mut package = Declared::new(PackageKind::Rpm, name, Some(&format!("{epoch}{version}")))?;
    package.architecture = word(architecture)
        .filter(|architecture| *architecture != "(none)")
        .map(str::to_owned);
    package.source = super::header::source_package(source.trim());
    Some(package)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{SourcePackage, facts::Facts};

    const LIST: &str = "\
filesystem\t1.1-9.cm2\t1653816591\t1653628924\tMicrosoft Corporation\t0\t7596\tx86_64\t0\tfilesystem-1.1-9.cm2.src.rpm
openssl-libs\t1.1.1k-15.cm2\t1653816591\t1653628955\tMicrosoft Corporation\t(none)\t5\tx86_64\t2\topenssl-1.1.1k-15.cm2.src.rpm
gpg-pubkey\t3135ce90-5e6fda74\t1\t1\t(none)\t(none)\t0\t(none)\t0\t(none)
";

    #[test]
    fn a_line_says_what_a_header_says() {
        let filesystem = |name: &str, version: &str, source: Option<(&str, &str)>| {
            let mut package = Declared::new(PackageKind::Rpm, name, Some(version)).unwrap();
            if let Some((name, version)) = source {
                package.architecture = Some("x86_64".into());
                package.source = Some(SourcePackage {
                    name: name.into(),
                    version: Some(version.into()),
                });
            }
            package
        };
        let expected = vec![
            filesystem("filesystem", "1.1-9.cm2", Some(("filesystem", "1.1-9.cm2"))),
            filesystem(
                "openssl-libs",
                "2:1.1.1k-15.cm2",
                Some(("openssl", "1.1.1k-15.cm2")),
            ),
            filesystem("gpg-pubkey", "3135ce90-5e6fda74", None),
        ];
        assert_eq!(
            read(LIST.as_bytes()),
            Reading::of(Facts::Packages(expected.clone()))
        );
        let broken = format!("a\t1\r\n{}", LIST.replace('\n', "\r\n"));
        let reading = read(broken.as_bytes());
        assert_eq!(reading.facts, Some(Facts::Packages(expected)));
        assert_eq!(reading.flaws, [PartialCode::Malformed]);
        assert_eq!(read(b"\n"), Reading::default());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, at in 0..LIST.len(), byte in 0u8..0x80) {
            read(&content);
            let mut content = LIST.as_bytes().to_vec();
            content[at] = byte;
            read(&content);
        }
    }
}
