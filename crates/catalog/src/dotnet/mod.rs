//! .NET: `*.deps.json` beside a published application lists the packages that it was built with and runs on.
//!
//! Source: .NET SDK, "Runtime configuration files".

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    PartialCode,
    cataloguer::{Cataloguer, Reading},
    facts::{Declared, PackageKind},
};

pub(crate) struct DotNet;

impl Cataloguer for DotNet {
    fn wants(&self, path: &str) -> bool {
        path.ends_with(".deps.json")
    }

    fn read(&self, _path: &str, content: &[u8]) -> Reading {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let Ok(dependencies) = serde_json::from_slice::<Dependencies>(content) else {
            return Reading::default().with_flaw(PartialCode::Malformed, true);
        };
        let packages = dependencies.libraries.iter().filter_map(|(key, library)| {
            let (name, version) = key.split_once('/')?;
            match library.kind.as_str() {
                "package" => Declared::new(PackageKind::Nuget, name, Some(version)),
                "runtimepack" => {
                    let name = name.strip_prefix("runtimepack.").unwrap_or(name);
                    Declared::new(PackageKind::Nuget, name, Some(version))
                }
                // The application itself, and assemblies that were no packages.
                _ => None,
            }
        });
        Reading::of_packages(packages.collect())
    }
}

#[derive(Deserialize)]
struct Dependencies {
    libraries: BTreeMap<String, Library>,
}

#[derive(Deserialize)]
struct Library {
    #[serde(rename = "type", default)]
    kind: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Facts;

    const SHOP: &str = r#"{"runtimeTarget":{"name":".NETCoreApp,Version=v8.0"},"libraries":{
        "shop/1.0.0":{"type":"project","serviceable":false,"sha512":""},
        "Newtonsoft.Json/13.0.1":{"type":"package","serviceable":true},
        "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1":{"type":"runtimepack"}}}"#;

    #[test]
    fn packages_are_told_from_the_application() {
        let reading = DotNet.read("app/shop.deps.json", format!("\u{feff}{SHOP}").as_bytes());
        let Some(Facts::Packages(packages)) = reading.facts else {
            panic!("no packages");
        };
        let found: Vec<_> = packages
            .iter()
            .map(|package| (package.name.as_str(), package.version.as_deref()))
            .collect();
        assert_eq!(
            found,
            [
                ("Newtonsoft.Json", Some("13.0.1")),
                ("Microsoft.NETCore.App.Runtime.linux-x64", Some("8.0.1"))
            ]
        );
        assert_eq!(DotNet.read("", b"{}").flaws, [PartialCode::Malformed]);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, at in 0..SHOP.len(), byte: u8) {
            DotNet.read("", &content);
            let mut content = SHOP.as_bytes().to_vec();
            content[at] = byte;
            DotNet.read("", &content);
        }
    }
}
