use crate::{
    PartialCode,
    cataloguer::{Reading, text},
    facts::{Declared, PackageKind},
    fields::{Line, lines},
};

/// Reads a distribution's metadata; what it lacks is taken from `label`, the name of its folder.
pub(super) fn read(content: &[u8], label: &str) -> Reading {
    let (text, is_replaced) = text(content);
    let header = Header::read(&text);
    let (label_name, label_version) = split_label(label);
    let is_malformed = header.name.is_none() || header.version.is_none();
    let declared = header
        .name
        .and_then(|name| Declared::new(PackageKind::Pypi, name, header.version.or(label_version)))
        .or_else(|| Declared::new(PackageKind::Pypi, label_name, header.version.or(label_version)));
    let packages = declared.map(|mut package| {
        header.licenses().for_each(|license| package.add_license(license));
        package
    });
    Reading::of_packages(packages.into_iter().collect())
        .with_flaw(PartialCode::Malformed, is_malformed)
        .with_flaw(PartialCode::Encoding, is_replaced)
}

#[derive(Default)]
struct Header<'a> {
    name: Option<&'a str>,
    version: Option<&'a str>,
    license_expression: Option<&'a str>,
    license: Option<&'a str>,
    license_classifiers: Vec<&'a str>,
}

impl<'a> Header<'a> {
    /// Reads up to the first empty line behind a field; a description follows it.
    fn read(text: &'a str) -> Self {
        let mut header = Self::default();
        let mut is_begun = false;
        for line in lines(text) {
            match line {
                Line::Field(key, value) => {
                    is_begun = true;
                    header.add(key, value);
                }
                Line::Blank if is_begun => break,
                Line::Blank | Line::Continuation(_) | Line::Junk => {}
            }
        }
        header
    }

    fn add(&mut self, key: &str, value: &'a str) {
        let field = match key.to_ascii_lowercase().as_str() {
            "name" => &mut self.name,
            "version" => &mut self.version,
            "license-expression" => &mut self.license_expression,
            "license" => &mut self.license,
            "classifier" => {
                self.license_classifiers.extend(
                    value
                        .strip_prefix("License ::")
                        .and_then(|rest| rest.rsplit("::").next()),
                );
                return;
            }
            _ => return,
        };
        if field.is_none() && !value.is_empty() {
            *field = Some(value);
        }
    }

    /// The expression says it all; else there is free text, and classifiers.
    fn licenses(&self) -> impl Iterator<Item = &'a str> {
        let free: &[&str] = if self.license_expression.is_none() {
            &self.license_classifiers
        } else {
            &[]
        };
        self.license_expression
            .or(self.license)
            .into_iter()
            .chain(free.to_vec())
    }
}

/// Splits `name-version` or `name-version-py3.9`; a version starts with a digit.
fn split_label(label: &str) -> (&str, Option<&str>) {
    let is_start = |at: &usize| label.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit);
    match label.match_indices('-').map(|(at, _)| at).find(is_start) {
        Some(at) => (&label[..at], label[at + 1..].split('-').next()),
        None => (label, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Facts;

    const METADATA: &str = "\
Metadata-Version: 2.1
Name: Zope.Interface
Version: 6.1
License: ZPL 2.1
Classifier: License :: OSI Approved :: Zope Public License
Classifier: Programming Language :: Python
Description-Content-Type: text/x-rst

Name: the description
";

    fn package(name: &str, version: Option<&str>, licenses: &[&str]) -> Facts {
        let mut package = Declared::new(PackageKind::Pypi, name, version).unwrap();
        package.licenses = licenses.iter().map(|&text| text.to_owned()).collect();
        Facts::Packages(vec![package])
    }

    #[test]
    fn the_name_stays_as_written_and_the_description_is_not_read() {
        let expected = package("Zope.Interface", Some("6.1"), &["ZPL 2.1", "Zope Public License"]);
        assert_eq!(read(METADATA.as_bytes(), ""), Reading::of(expected.clone()));
        assert_eq!(
            read(METADATA.replace('\n', "\r\n").as_bytes(), ""),
            Reading::of(expected)
        );
    }

    #[test]
    fn an_expression_counts_before_older_fields() {
        let content = b"Name: a\nVersion: 1\nLicense: x\nLicense-Expression: MIT OR Apache-2.0\nClassifier: License :: y\n";
        assert_eq!(
            read(content, ""),
            Reading::of(package("a", Some("1"), &["MIT OR Apache-2.0"]))
        );
    }

    #[test]
    fn a_flood_of_licences_is_cut_off() {
        let mut content = "Name: a\nVersion: 1\n".to_owned();
        content.extend((0..100_000).map(|n| format!("Classifier: License :: {n}\n")));
        let expected: Vec<String> = (0..16).map(|n| n.to_string()).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!(
            read(content.as_bytes(), ""),
            Reading::of(package("a", Some("1"), &expected))
        );
    }

    #[test]
    fn what_is_missing_comes_from_the_folder_and_is_noted() {
        for (content, label, expected) in [
            (&b""[..], "six-1.16.0", package("six", Some("1.16.0"), &[])),
            (
                b"\xff\xfe\x00",
                "six-1.16.0-py3.9",
                package("six", Some("1.16.0"), &[]),
            ),
            (b"Name: Six\n", "six-1.16.0", package("Six", Some("1.16.0"), &[])),
            (b"Name: Six\n", "six", package("Six", None, &[])),
            (
                b"Name: no-version\n",
                "no-version-py3.8",
                package("no-version", None, &[]),
            ),
        ] {
            let reading = read(content, label);
            assert_eq!(reading.facts, Some(expected));
            assert!(reading.flaws.contains(&PartialCode::Malformed), "{label}");
        }
        assert_eq!(read(b"nonsense", "").facts, None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, label: String) {
            read(&content, &label);
        }

        #[test]
        fn mutated_files_can_be_read(at in 0..METADATA.len(), byte: u8) {
            let mut content = METADATA.as_bytes().to_vec();
            content[at] = byte;
            // A folder's name is enough, whatever happens to the file.
            prop_assert!(read(&content, "zope.interface-6.1").facts.is_some());
        }
    }
}
