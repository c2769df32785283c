//! npm, and the package managers that lay packages out as it does (Yarn, pnpm).
//!
//! A package is a folder with a `package.json` that has a name and a version. Package managers put such folders into
//! `node_modules`; elsewhere they are applications themselves, packages of distributions (`usr/share/nodejs`), programs
//! that were unpacked by hand (`opt/yarn-v1.22.22`), and what other packages bundle. Nothing tells bundled code that runs
//! from samples that do not, so all of it is listed; but only where a package manager installs, a file that cannot be
//! read is a flaw. Source: npm's `package.json(5)` and `folders(5)`.

mod cache;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    PartialCode,
    cataloguer::{Cataloguer, Reading},
    facts::{Declared, PackageKind},
};

pub(crate) use self::cache::YarnCache;

pub(crate) struct Npm;

impl Cataloguer for Npm {
    fn wants(&self, path: &str) -> bool {
        path.strip_suffix("package.json")
            .is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
    }

    fn read(&self, path: &str, content: &[u8]) -> Reading {
        let is_installed = path.strip_suffix("/package.json").is_some_and(is_package_folder);
        let malformed = || Reading::default().with_flaw(PartialCode::Malformed, is_installed);
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let Ok(json) = serde_json::from_slice::<PackageJson>(content) else {
            return malformed();
        };
        let (Some(Value::String(name)), Some(Value::String(version))) =
            (short(json.name), short(json.version))
        else {
            // Not a package, but a folder of one that sets options, such as the kind of modules in it.
            return Reading::default();
        };
        let package = split_scope(&name).and_then(|_| Declared::new(PackageKind::Npm, &name, Some(&version)));
        match package {
            Some(mut package) => {
                let (license, licenses) = (short(json.license), short(json.licenses));
                let listed = licenses.iter().filter_map(Value::as_array).flatten();
                for license in license.iter().chain(&licenses).chain(listed) {
                    if let Some(text) = license.as_str().or_else(|| license.get("type")?.as_str()) {
                        package.add_license(text);
                    }
                }
                Reading::of_packages(vec![package])
            }
            None => malformed(),
        }
    }
}

/// The fields that are used; each may hold anything, and is not looked into before it is known to be short.
#[derive(Deserialize)]
struct PackageJson<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    license: Option<&'a RawValue>,
    #[serde(borrow)]
    licenses: Option<&'a RawValue>,
}

fn short(field: Option<&RawValue>) -> Option<Value> {
    let text = field?.get();
    (text.len() <= MAX_FIELD).then(|| serde_json::from_str(text).ok())?
}

const MAX_FIELD: usize = 4 << 10;

/// Splits a name into its scope, with the `@`, and the rest; nothing if it cannot be a package's name.
pub(crate) fn split_scope(name: &str) -> Option<(Option<&str>, &str)> {
    let (scope, rest) = match name.split_once('/') {
        Some((scope, rest)) if scope.len() > 1 && scope.starts_with('@') => (Some(scope), rest),
        Some(_) => return None,
        None => (None, name),
    };
    (!rest.is_empty() && !rest.contains('/')).then_some((scope, rest))
}

/// Tells whether a folder is where a package manager installs a package.
fn is_package_folder(folder: &str) -> bool {
    // The common case is decided here: some folder that has nothing to do with npm.
    let Some(modules) = memchr::memmem::find(folder.as_bytes(), b"node_modules/") else {
        return false;
    };
    if modules > 0 && folder.as_bytes()[modules - 1] != b'/' {
        return false;
    }
    let mut components = folder[modules..].split('/');
    loop {
        if components.next() != Some("node_modules") {
            return false;
        }
        let Some(first) = components.next() else {
            return false;
        };
        // A scope, and the stores of pnpm and Yarn, are one folder more.
        let is_nested = first.starts_with(['@', '.']);
        if is_nested && components.next().is_none() {
            return false;
        }
        if components.clone().next().is_none() {
            return !first.starts_with('.');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Facts;

    #[test]
    fn package_managers_install_into_some_folders_only() {
        for folder in [
            "node_modules/a",
            "usr/local/lib/node_modules/npm",
            "usr/local/lib/node_modules/npm/node_modules/@npmcli/fs",
            "app/node_modules/@scope/a/node_modules/b",
            "app/node_modules/.pnpm/a@1.0.0/node_modules/a",
            "app/node_modules/.pnpm/a@1.0.0/node_modules/@s/a",
        ] {
            assert!(is_package_folder(folder), "{folder}");
        }
        for folder in [
            "",
            "app",
            "node_modules",
            "node_modules/@scope",
            "node_modules/a/test",
            "node_modules/a/test/fixtures/node_modules/b",
            "node_modules/a/dist/esm",
            "node_modules/.cache/x",
            "app/not_node_modules/a",
        ] {
            assert!(!is_package_folder(folder), "{folder}");
        }
    }

    #[test]
    fn packages_are_wanted_wherever_they_lie() {
        for path in [
            "package.json",
            "opt/yarn-v1.22.22/package.json",
            "node_modules/a/package.json",
        ] {
            assert!(Npm.wants(path), "{path}");
        }
        for path in ["a/package.json.bak", "a/my-package.json", "a/package.json/b"] {
            assert!(!Npm.wants(path), "{path}");
        }
        let found = Npm.read(
            "opt/yarn-v1.22.22/package.json",
            br#"{"name":"yarn","version":"1.22.22"}"#,
        );
        let yarn = Declared::new(PackageKind::Npm, "yarn", Some("1.22.22"));
        assert_eq!(found, Reading::of_packages(yarn.into_iter().collect()));
        let sample = "node_modules/resolve/test/malformed/package.json";
        assert_eq!(Npm.read(sample, b"{"), Reading::default());
    }

    fn read(content: &str) -> Reading {
        Npm.read("node_modules/a/package.json", content.as_bytes())
    }

    #[test]
    fn licences_come_in_every_shape() {
        let mut package = Declared::new(PackageKind::Npm, "@s/a", Some("1.0.0")).unwrap();
        for (json, licenses) in [
            (r#""license":"MIT""#, vec!["MIT"]),
            (r#""license":{"type":"ISC","url":"x"}"#, vec!["ISC"]),
            (
                r#""licenses":[{"type":"MIT"},{"type":"Apache-2.0"},{"type":"MIT"},7]"#,
                vec!["MIT", "Apache-2.0"],
            ),
            (&format!(r#""license":[{}0]"#, "0,".repeat(10_000)), vec![]),
            (r#""license":[],"x":{"y":[null]}"#, vec![]),
        ] {
            package.licenses = licenses.into_iter().map(str::to_owned).collect();
            let reading = read(&format!(
                "\u{feff}{{\"name\":\"@s/a\",\"version\":\"1.0.0\",{json}}}\r\n"
            ));
            assert_eq!(
                reading,
                Reading::of(Facts::Packages(vec![package.clone()])),
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_no_package_is_told_from_what_is_broken() {
        for content in [
            "{}",
            r#"{"type":"module"}"#,
            r#"{"name":"a"}"#,
            r#"{"name":"a","version":null}"#,
        ] {
            assert_eq!(read(content), Reading::default(), "{content}");
        }
        let deep = "[".repeat(100_000);
        for content in [
            "",
            "[]x",
            "\u{0}",
            r#"{"name":"","version":"1"}"#,
            r#"{"name":"@s/","version":"1"}"#,
            r#"{"name":"a/b","version":"1"}"#,
            deep.as_str(),
        ] {
            assert_eq!(read(content).flaws, [PartialCode::Malformed], "{content:.20}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>) {
            Npm.read("node_modules/a/package.json", &content);
        }

        #[test]
        fn mutated_files_can_be_read(at in 0usize..46, byte: u8) {
            let mut content = br#"{"name":"@s/a","version":"1.0","license":"MIT"}"#.to_vec();
            content[at] = byte;
            Npm.read("node_modules/a/package.json", &content);
        }

        #[test]
        fn any_folder_is_a_packages_or_not(folder in "(/|node_modules|@s|a|\\.pnpm|){0,12}") {
            if is_package_folder(&folder) {
                prop_assert!(folder.contains("node_modules/"));
            }
        }
    }
}
