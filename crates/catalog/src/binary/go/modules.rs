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
            Some("mod") if module.version == Some(DEVELOPMENT) => modules.push(Module {
                version: linked_version(path, list),
                ..module
            }),
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
        let version = self.version.filter(|version| *version != DEVELOPMENT);
        // What a linker was given may lack the letter that versions of modules have.
        let version = version.map(|version| format!("v{}", version.strip_prefix('v').unwrap_or(version)));
        Declared::new(PackageKind::Golang, self.path, version.as_deref())
    }
}

/// The version of what a program was built from at its developer's.
const DEVELOPMENT: &str = "(devel)";

/// Finds the version that whoever built a program gave to it: `-X PACKAGE.NAME=VERSION` sets a variable, which by its
/// package is the program's own and by its name a version. Source: Go, `cmd/link`.
fn linked_version<'l>(module: &str, list: &'l str) -> Option<&'l str> {
    let flags = list
        .lines()
        .find_map(|line| line.strip_prefix("build\t-ldflags="))?;
    let settings = flags.split("-X").skip(1).filter_map(|rest| {
        let rest = rest.trim_start_matches([' ', '=', '\'', '"', '\\']);
        let (variable, value) = rest.split_once('=')?;
        let (package, name) = variable.rsplit_once('.')?;
        let within = package.strip_prefix(module);
        let is_own = package == "main" || within.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_version = ["version", "ver", "buildversion", "appversion", "gitversion"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known));
        let end = value.find([' ', '\'', '"', '\\']).unwrap_or(value.len());
        (is_own && is_version).then_some(&value[..end])
    });
    let mut versions = settings.filter(|value| {
        let number = value.strip_prefix('v').unwrap_or(value);
        number.starts_with(|c: char| c.is_ascii_digit()) && number.split('.').count() >= 3
    });
    versions.next()
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
    fn a_version_that_the_linker_was_given_is_the_programs() {
        for (flags, expected) in [
            (
                r#""-s -w -extldflags '-static' -X a.example/pkg/app.ver=0.59.1""#,
                Some("v0.59.1"),
            ),
            (
                r#""-X main.commit=abc -X main.Version=v1.2.3-rc.1 -X main.date=2026""#,
                Some("v1.2.3-rc.1"),
            ),
            (r#""-X 'main.version=1.2.3' -w""#, Some("v1.2.3")),
            (r#""-X=main.version=1.2.3""#, Some("v1.2.3")),
            (r#""-X \"main.version=1.2.3\"""#, Some("v1.2.3")),
            (r#""-X b.example/lib.Version=1.2.3""#, None),
            (r#""-X a.example.Version=1.2.3""#, Some("v1.2.3")),
            (r#""-X a.example2/lib.Version=1.2.3""#, None),
            (r#""-X main.version=dev""#, None),
            (r#""-X main.goversion=1.21.5""#, None),
            (r#""-X main.version""#, None),
        ] {
            let list = format!("mod\ta.example\t(devel)\t\nbuild\t-ldflags={flags}\n");
            let expected = [row("a.example", expected), row("stdlib", Some("1.21.5"))];
            assert_eq!(declared("go1.21.5", &list), expected, "{flags}");
        }
        let list = "mod\ta.example\tv1.0.0\t\nbuild\t-ldflags=\"-X main.version=2.0.0\"\n";
        assert_eq!(declared("go1.21.5", list)[0], row("a.example", Some("v1.0.0")));
    }

    #[test]
    fn without_modules_there_is_the_standard_library() {
        assert_eq!(declared("devel go1.23-abc", ""), [row("stdlib", None)]);
        assert_eq!(declared("go1.4.1", "=>\nmod\n"), [row("stdlib", Some("1.4.1"))]);
    }
}
