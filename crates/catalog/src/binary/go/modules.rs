use crate::facts::{Declared, PackageKind};

/// Declares the modules of a program and the standard library that it was built with.
///
/// Source: Go's `runtime/debug`, `ParseBuildInfo`.
pub(super) fn declare(go_version: &str, list: &str) -> Vec<Declared> {
    let mut modules: Vec<Module<'_>> = Vec::new();
    for line in list.lines() {
        let mut fields = line.split('\t');
        let (kind, path, version) = (fields.next(), fields.next(), fields.next());
        let Some(path) = path else { continue };
        let module = Module { path, version };
        match kind {
            Some("mod" | "dep") => modules.push(module),
            // What stands before it was replaced by this.
            Some("=>") => {
                if let Some(replaced) = modules.pop() {
                    modules.push(module.in_place_of(&replaced));
                }
            }
            _ => {}
        }
    }
    modules
        .iter()
        .filter_map(Module::declare)
        .chain(standard_library(go_version))
        .collect()
}

struct Module<'a> {
    path: &'a str,
    version: Option<&'a str>,
}

impl Module<'_> {
    /// A folder of its developer's has no name of its own, and what is in it no version.
    fn in_place_of(self, replaced: &Self) -> Self {
        if self.path.starts_with(['.', '/']) {
            Self {
                path: replaced.path,
                version: None,
            }
        } else {
            self
        }
    }

    fn declare(&self) -> Option<Declared> {
        // What a program was built from at its developer's has no version.
        let version = self.version.filter(|version| *version != "(devel)");
        Declared::new(PackageKind::Golang, self.path, version)
    }
}

/// `go1.21.5`, or `go1.21.5 X:boringcrypto`.
fn standard_library(go_version: &str) -> Option<Declared> {
    let version = go_version
        .strip_prefix("go")
        .and_then(|version| version.split([' ', '-']).next());
    Declared::new(PackageKind::Golang, "stdlib", version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(go_version: &str, list: &str) -> Vec<(String, Option<String>)> {
        declare(go_version, list)
            .into_iter()
            .map(|package| (package.name, package.version))
            .collect()
    }

    fn row(name: &str, version: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), version.map(str::to_owned))
    }

    #[test]
    fn a_replaced_module_is_what_it_was_replaced_by() {
        let list = "path\ta.example/cmd/x\nmod\ta.example\t(devel)\t\ndep\tb.example\tv1.0.0\n=>\tfork.example/b\tv1.0.1\th1:x\ndep\tc.example\tv2.0.0\n=>\t./local\t\nbuild\t-compiler=gc\n";
        assert_eq!(
            declared("go1.21.5 X:boringcrypto", list),
            [
                row("a.example", None),
                row("fork.example/b", Some("v1.0.1")),
                row("c.example", None),
                row("stdlib", Some("1.21.5")),
            ]
        );
    }

    #[test]
    fn without_modules_there_is_the_standard_library() {
        assert_eq!(declared("devel go1.23-abc", ""), [row("stdlib", None)]);
        assert_eq!(declared("go1.4.1", "=>\nmod\n"), [row("stdlib", Some("1.4.1"))]);
    }
}
