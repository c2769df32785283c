use crate::facts::{Declared, PackageKind};

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

/// Reads what a manifest says of the archive.
pub(super) fn manifest(text: &str) -> Option<Declared> {
    let attributes = main_attributes(text);
    let value = |keys: &[&str]| {
        keys.iter().find_map(|key| {
            let (_, value) = attributes
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))?;
            Some(value.trim()).filter(|value| !value.is_empty() && !value.starts_with("${"))
        })
    };
    let name = value(&[
        "Bundle-SymbolicName",
        "Automatic-Module-Name",
        "Implementation-Title",
        "Specification-Title",
    ])?;
    // A symbolic name can have directives behind it.
    let name = name.split(';').next()?.trim();
    let version = value(&[
        "Implementation-Version",
        "Bundle-Version",
        "Specification-Version",
    ]);
    let group = value(&["Implementation-Vendor-Id"]).filter(|group| !group.contains(char::is_whitespace));
    let full = match group {
        Some(group) if !name.starts_with(group) => format!("{group}:{name}"),
        _ => name.to_owned(),
    };
    let mut package = Declared::new(PackageKind::Maven, &full, version)?;
    if let Some(license) = value(&["Bundle-License"]) {
        package.add_license(license);
    }
    Some(package)
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
        for (text, expected) in [
            (
                "Bundle-SymbolicName: org.x.a; singleton:=true\nBundle-Version: 1\nBundle-License: MIT\n",
                Some(("org.x.a", Some("1"))),
            ),
            (
                "Implementation-Title: core\nImplementation-Vendor-Id: org.x\nImplementation-Version: 2\n",
                Some(("org.x:core", Some("2"))),
            ),
            (
                "Implementation-Title: ${name}\nSpecification-Title: b\n",
                Some(("b", None)),
            ),
            ("Implementation-Title: Some words\n", None),
            (
                "Manifest-Version: 1.0\n\nImplementation-Title: of a section\n",
                None,
            ),
        ] {
            let declared = manifest(text);
            let found = declared
                .as_ref()
                .map(|package| (package.name.as_str(), package.version.as_deref()));
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
