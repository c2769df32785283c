//! Python's installed distributions, whoever installed them (pip, uv, Poetry, setuptools, a distribution's package).
//!
//! `*.dist-info/METADATA` and, from older tools, `*.egg-info/PKG-INFO`, `*.egg-info` as a file and
//! `*.egg/EGG-INFO/PKG-INFO`. Sources: "Recording installed projects" and "Core metadata specifications" of the Python
//! packaging user guide; setuptools, "The internal structure of Python eggs".

mod metadata;

use crate::{
    cataloguer::{Cataloguer, Reading},
    path::split,
};

pub(crate) struct Python;

impl Cataloguer for Python {
    fn wants(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        match name {
            "METADATA" => folder.ends_with(".dist-info"),
            "PKG-INFO" => folder.ends_with(".egg-info") || folder.ends_with(".egg/EGG-INFO"),
            name => name.len() > ".egg-info".len() && name.ends_with(".egg-info"),
        }
    }

    fn read(&self, path: &str, content: &[u8]) -> Reading {
        metadata::read(content, label(path))
    }
}

/// Returns the part of the path that has name and version in it, such as `six-1.16.0`.
fn label(path: &str) -> &str {
    path.rsplit('/')
        .find_map(|component| {
            [".dist-info", ".egg-info", ".egg"]
                .into_iter()
                .find_map(|suffix| component.strip_suffix(suffix))
        })
        .unwrap_or_default()
}

/// Brings a name into the form in which names are compared.
///
/// Source: PEP 503, "Normalized names".
pub(crate) fn normalise_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.extend(other.to_lowercase()),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_each_form_of_metadata() {
        for (path, expected) in [
            (
                "usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA",
                "six-1.16.0",
            ),
            (
                "usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO",
                "six-1.16.0",
            ),
            ("usr/lib/python3/dist-packages/six-1.16.0.egg-info", "six-1.16.0"),
            ("opt/six-1.16.0-py3.9.egg/EGG-INFO/PKG-INFO", "six-1.16.0-py3.9"),
        ] {
            assert!(Python.wants(path), "{path}");
            assert_eq!(label(path), expected);
        }
        for path in [
            "METADATA",
            "a/METADATA",
            "six.dist-info/RECORD",
            "a.egg-info/requires.txt",
            ".egg-info",
            "PKG-INFO",
        ] {
            assert!(!Python.wants(path), "{path}");
        }
    }

    #[test]
    fn names_are_normalised_as_pep_503_says() {
        for (name, normal) in [
            ("Flask", "flask"),
            ("zope.interface", "zope-interface"),
            ("a-_.b__C", "a-b-c"),
        ] {
            assert_eq!(normalise_name(name), normal);
        }
    }
}
