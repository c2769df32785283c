use crate::facts::{Declared, PackageKind, word};

/// Reads the artifact that Maven says to have packed.
pub(super) fn pom_properties(text: &str) -> Option<Declared> {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(['=', ':'])?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let group = value("groupId")?;
    let artifact = value("artifactId").filter(|artifact| !artifact.is_empty())?;
    Declared::new(
        PackageKind::Maven,
        &format!("{group}:{artifact}"),
        value("version"),
    )
}

/// What a manifest says of its archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    group: Option<String>,
    name: Option<String>,
    version: Option<String>,
    license: Option<String>,
}

impl Manifest {
    /// Reads a manifest; a name with spaces in it is a title for people.
    pub(super) fn read(text: &str) -> Self {
        let attributes = main_attributes(text);
        let value = |keys: &[&str]| {
            keys.iter().find_map(|key| {
                let (_, value) = attributes
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(key))?;
                // A symbolic name can have directives behind it.
                let value = value.split(';').next()?.trim();
                (!value.is_empty() && !value.starts_with("${")).then_some(value)
            })
        };
        let word_of = |keys: &[&str]| value(keys).and_then(word).map(str::to_owned);
        // Behind a version there may be when it was built.
        let number = |keys: &[&str]| {
            let first = value(keys)?.split_whitespace().next()?;
            let is_number = first.starts_with(|c: char| c.is_ascii_digit());
            is_number.then(|| word(first)).flatten().map(str::to_owned)
        };
        let version = [
            "Implementation-Version",
            "Bundle-Version",
            "Specification-Version",
        ];
        Self {
            group: word_of(&["Implementation-Vendor-Id"]),
            name: word_of(&[
                "Bundle-SymbolicName",
                "Automatic-Module-Name",
                "Implementation-Title",
                "Specification-Title",
            ]),
            version: version
                .iter()
                .find_map(|key| word_of(&[key]).or_else(|| number(&[key]))),
            license: value(&["Bundle-License"]).map(str::to_owned),
        }
    }

    /// Declares the archive, given what its file's name says. That name is the artifact's where it has a version, and
    /// where the manifest has no name.
    pub(super) fn declare(self, file: &str, file_version: Option<&str>) -> Option<Declared> {
        let own = self.name.filter(|_| file_version.is_none());
        let version = file_version.or(self.version.as_deref());
        let name = own.as_deref().unwrap_or(file);
        let full = match self.group {
            Some(group) if !name.starts_with(&group) => format!("{group}:{name}"),
            _ => name.to_owned(),
        };
        let mut package = Declared::new(PackageKind::Maven, &full, version)?;
        if let Some(license) = self.license {
            package.add_license(&license);
        }
        Some(package)
    }
}

/// Reads the attributes of the archive as a whole, which end with an empty line; a line that starts with a space goes on
/// with the value before it.
fn main_attributes(text: &str) -> Vec<(&str, String)> {
    let mut attributes: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix(' ') {
            if let Some((_, value)) = attributes.last_mut() {
                value.push_str(rest);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            attributes.push((name, value.to_owned()));
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_archive_in_several_ways() {
        for (text, file, expected) in [
            (
                "Bundle-SymbolicName: org.x.a; singleton:=true\nBundle-Version: 1\nBundle-License: MIT\n",
                ("a", None),
                ("org.x.a", Some("1")),
            ),
            (
                "Implementation-Title: core\nImplementation-Vendor-Id: org.x\nImplementation-Version: 2\n",
                ("a", None),
                ("org.x:core", Some("2")),
            ),
            (
                "Implementation-Title: core\nImplementation-Vendor-Id: org.x\nImplementation-Version: 2\n",
                ("x-core", Some("2.1")),
                ("org.x:x-core", Some("2.1")),
            ),
            (
                "Implementation-Title: ${name}\nSpecification-Title: b\n",
                ("a", None),
                ("b", None),
            ),
            (
                "Implementation-Title: Java Runtime Environment\nImplementation-Version: 17.0.21.1\n",
                ("jrt-fs", None),
                ("jrt-fs", Some("17.0.21.1")),
            ),
            (
                "Implementation-Version: 1.3 2244 October 5 2005\n",
                ("a", None),
                ("a", Some("1.3")),
            ),
            (
                "Implementation-Version: unknown build\nSpecification-Version: 2\n",
                ("a", None),
                ("a", Some("2")),
            ),
            (
                "Manifest-Version: 1.0\n\nImplementation-Title: of a section\n",
                ("a", None),
                ("a", None),
            ),
        ] {
            let declared = Manifest::read(text).declare(file.0, file.1).unwrap();
            let found = (declared.name.as_str(), declared.version.as_deref());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn properties_need_a_group_and_an_artifact() {
        assert_eq!(pom_properties("artifactId=a\nversion=1"), None);
        assert_eq!(
            pom_properties("groupId = g\nartifactId: a\n"),
            Declared::new(PackageKind::Maven, "g:a", None)
        );
    }
}
