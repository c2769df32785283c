//! PHP's packages as Composer installs them: `vendor/composer/installed.json`.
//!
//! Composer 2 writes an object with the list in it, Composer 1 wrote the list. Source: Composer, `InstalledFilesystemRepository`.
#![allow(clippy::doc_markdown, reason = "names of classes")]

use serde::Deserialize;
use serde_json::Value;

use crate::{
    PartialCode,
    cataloguer::{Cataloguer, Reading},
    facts::{Declared, PackageKind},
    path::split,
};

pub(crate) struct Php;

impl Cataloguer for Php {
    fn wants(&self, path: &str) -> bool {
        split(path).1 == "installed.json"
    }

    fn read(&self, path: &str, content: &[u8]) -> Reading {
        // Elsewhere other programs may have files of this name.
        let is_composers = split(split(path).0).1 == "composer";
        let Ok(Installed::Now { packages: installed } | Installed::Before(installed)) =
            serde_json::from_slice(content)
        else {
            return Reading::default().with_flaw(PartialCode::Malformed, is_composers);
        };
        let count = installed.len();
        let packages: Vec<Declared> = installed.into_iter().filter_map(declare).collect();
        let is_malformed = is_composers && packages.len() < count;
        Reading::of_packages(packages).with_flaw(PartialCode::Malformed, is_malformed)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Installed {
    Now { packages: Vec<Installation> },
    Before(Vec<Installation>),
}

#[derive(Deserialize)]
struct Installation {
    name: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    license: Value,
}

fn declare(installation: Installation) -> Option<Declared> {
    let name = installation.name;
    let (vendor, package) = name.split_once('/')?;
    if vendor.is_empty() || package.is_empty() || package.contains('/') {
        return None;
    }
    let mut package = Declared::new(PackageKind::Composer, &name, installation.version.as_deref())?;
    let listed = installation
        .license
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for license in [&installation.license].into_iter().chain(listed) {
        if let Some(text) = license.as_str() {
            package.add_license(text);
        }
    }
    Some(package)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Facts;

    fn read(content: &str) -> (Vec<String>, Vec<PartialCode>) {
        let reading = Php.read("vendor/composer/installed.json", content.as_bytes());
        let text = |package: &Declared| {
            let version = package.version.as_deref().unwrap_or("?");
            format!("{} {version} {}", package.name, package.licenses.join("+"))
        };
        match reading.facts {
            Some(Facts::Packages(packages)) => (packages.iter().map(text).collect(), reading.flaws),
            _ => (Vec::new(), reading.flaws),
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let list = r#"[{"name":"psr/log","version":"3.0.0","license":["MIT"],"x":{}},{"name":"a/b","license":"ISC"}]"#;
        let expected = (vec!["psr/log 3.0.0 MIT".into(), "a/b ? ISC".into()], vec![]);
        assert_eq!(read(list), expected);
        assert_eq!(read(&format!(r#"{{"packages":{list},"dev":false}}"#)), expected);
    }

    #[test]
    fn what_is_broken_is_told() {
        let malformed = |packages: &[&str]| {
            let packages = packages.iter().map(|&text| text.to_owned()).collect();
            (packages, vec![PartialCode::Malformed])
        };
        assert_eq!(read("{}"), malformed(&[]));
        assert_eq!(read(&"[".repeat(100_000)), malformed(&[]));
        assert_eq!(
            read(r#"[{"name":"nobody"},{"name":"a/b"}]"#),
            malformed(&["a/b ? "])
        );
        assert!(Php.wants("vendor/composer/installed.json") && !Php.wants("composer/xinstalled.json"));
        assert_eq!(Php.read("app/installed.json", b"{}"), Reading::default());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, at in 0usize..40, byte: u8) {
            Php.read("", &content);
            let mut content = br#"[{"name":"a/b","version":"1","license":["MIT"]}]"#.to_vec();
            content[at] = byte;
            Php.read("", &content);
        }
    }
}
