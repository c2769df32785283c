use crate::{
    cataloguer::{Cataloguer, Reading, text},
    facts::{Declared, PackageKind},
    path::split,
};

/// A Java runtime that was unpacked into an image: its file `release` says the version.
///
/// Source: JEP 223, "New Version-String Scheme".
pub(crate) struct JavaRuntime;

impl Cataloguer for JavaRuntime {
    fn wants(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        name == "release" && !folder.is_empty()
    }

    fn read(&self, _path: &str, content: &[u8]) -> Reading {
        let (text, _) = text(content);
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("JAVA_VERSION="))
            .map(|value| value.trim().trim_matches('"'));
        let package =
            version.and_then(|version| Declared::new(PackageKind::Generic, "openjdk", Some(version)));
        Reading::of_packages(package.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_says_its_version_and_other_releases_nothing() {
        let release = "IMPLEMENTOR=\"Eclipse Adoptium\"\r\nJAVA_VERSION=\"17.0.8.1\"\r\n";
        let openjdk = Declared::new(PackageKind::Generic, "openjdk", Some("17.0.8.1")).unwrap();
        assert_eq!(
            JavaRuntime.read("opt/java/openjdk/release", release.as_bytes()),
            Reading::of_packages(vec![openjdk])
        );
        for content in ["", "VERSION=1"] {
            assert_eq!(
                JavaRuntime.read("a/release", content.as_bytes()),
                Reading::default()
            );
        }
        assert!(JavaRuntime.wants("opt/java/openjdk/release") && !JavaRuntime.wants("release"));
    }
}
