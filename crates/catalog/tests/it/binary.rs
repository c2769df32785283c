//! Real programs, against what Go's own tool says of them, and what `cargo auditable` was given.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portwarden_catalog::Package;

use crate::{
    blob::{Blob, image},
    peers::output_of,
};

fn packages_of(program: &Path) -> Vec<Package> {
    let layer = Blob::new()
        .file("usr/bin/program", fs::read(program).unwrap())
        .catalog();
    assert_eq!(layer.partial(), [], "{}", program.display());
    image(&[layer]).packages
}

/// Name and version of each package.
fn found(program: &Path, kind: &str) -> BTreeSet<(String, Option<String>)> {
    packages_of(program)
        .into_iter()
        .filter(|package| package.kind.as_str() == kind)
        .map(|package| (package.name, package.version))
        .collect()
}

/// What `go version -m` says: the version of Go, and a line for each module. A program that was built from its developer's
/// folder has no version there, and the flags of its linker are looked into.
fn listed(program: &Path) -> Option<BTreeSet<(String, Option<String>)>> {
    let text = output_of(Command::new("go").args(["version", "-m"]).arg(program))?;
    let (first, lines) = text.split_once('\n').unwrap();
    // `go1.21.5`, `go1.21.5 X:boringcrypto`, `go1.21.5-vendor`, but also `devel go1.23-0123abc`.
    let version = first.rsplit_once(": ").unwrap().1.strip_prefix("go");
    let version = version.map(|version| version.split([' ', '-']).next().unwrap().to_owned());
    let mut modules = Vec::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let module = |path: &str| {
            let version = fields
                .get(3)
                .filter(|version| !version.is_empty() && **version != "(devel)");
            (path.to_owned(), version.map(|version| (*version).to_owned()))
        };
        match fields[..] {
            ["", "mod", path, "(devel)", ..] => modules.push((path.to_owned(), linked(path, lines))),
            ["", "mod" | "dep", path, ..] => modules.push(module(path)),
            ["", "=>", path, ..] => {
                let replaced = modules.pop().unwrap();
                modules.push(if path.starts_with('.') {
                    (replaced.0, None)
                } else {
                    module(path)
                });
            }
            _ => {}
        }
    }
    modules.push(("stdlib".to_owned(), version));
    Some(modules.into_iter().collect())
}

/// The version that the linker was told to set in a package of a module's, as the only one.
fn linked(module: &str, lines: &str) -> Option<String> {
    let flags = lines
        .lines()
        .find_map(|line| line.strip_prefix("\tbuild\t-ldflags="))?;
    let words: Vec<&str> = flags.split([' ', '"', '\'', '\\']).collect();
    let versions: BTreeSet<String> = words
        .iter()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(variable, value)| Some((variable.rsplit_once('.')?, value)))
        .filter(|((package, _), _)| {
            *package == "main" || format!("{package}/").starts_with(&format!("{module}/"))
        })
        .filter(|((_, name), _)| ["ver", "version"].contains(&name.to_lowercase().as_str()))
        .map(|(_, value)| format!("v{}", value.trim_start_matches('v')))
        .collect();
    assert!(versions.len() < 2, "{module}: which of {versions:?}?");
    versions.into_iter().next()
}

/// A program with a module that is replaced by a folder, in each way that the linker can write it.
#[test]
fn go_lists_the_same_of_programs_that_it_builds() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write(
        "go.mod",
        "module r.example/app\ngo 1.18\nrequire r.example/Lib v1.2.3\nreplace r.example/Lib => ./lib\n",
    );
    write(
        "main.go",
        "package main\nimport \"r.example/Lib\"\nfunc main() { lib.Say() }\n",
    );
    write("lib/go.mod", "module r.example/Lib\n");
    write("lib/lib.go", "package lib\nfunc Say() { println(\"x\") }\n");
    for (name, argument, system, architecture, version) in [
        ("plain", "-v=false", "linux", "amd64", None),
        ("stripped", "-ldflags=-s -w -buildid=", "linux", "amd64", None),
        ("pie", "-buildmode=pie", "linux", "amd64", None),
        ("big", "-v=false", "linux", "s390x", None),
        ("windows", "-v=false", "windows", "amd64", None),
        ("macos", "-v=false", "darwin", "arm64", None),
        (
            "named",
            "-ldflags=-s -X main.version=1.2.3 -X 'r.example/app.commit=4.5.6'",
            "linux",
            "amd64",
            Some("v1.2.3"),
        ),
        (
            "foreign",
            "-ldflags=-X r.example/Lib.Version=4.5.6 -X r.example/application.version=7.8.9",
            "linux",
            "amd64",
            None,
        ),
    ] {
        let program = folder.path().join(name);
        let mut go = Command::new("go");
        go.current_dir(folder.path())
            .args(["build", argument])
            .arg("-o")
            .arg(&program);
        go.env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=mod")
            .env("GOPROXY", "off");
        go.env("GOCACHE", folder.path().join("cache"));
        if output_of(go.env("GOOS", system).env("GOARCH", architecture)).is_none() {
            return;
        }
        let found = found(&program, "golang");
        assert_eq!(found.len(), 3, "{name}: {found:?}");
        let app = ("r.example/app".to_owned(), version.map(str::to_owned));
        assert!(found.contains(&app), "{name}: {found:?}");
        assert_eq!(Some(found), listed(&program), "{name}");
    }
}

/// Programs of this machine: of distributions, which build without modules, and of others.
#[test]
fn go_lists_the_same_of_programs_that_are_here() {
    let mut compared = 0;
    for name in ["go", "gofmt", "skopeo", "docker-registry", "syft", "trivy"] {
        let Some(program) = on_path(name) else {
            continue;
        };
        let Some(listed) = listed(&program) else { return };
        assert_eq!(found(&program, "golang"), listed, "{name}");
        compared += 1;
    }
    if compared == 0 {
        println!("not run: go (no program of its own to compare)");
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find_map(|file| fs::canonicalize(file).ok())
        // Python's packages start programs by scripts.
        .filter(|file| fs::read(file).is_ok_and(|content| content.starts_with(b"\x7fELF")))
}

#[test]
fn what_cargo_auditable_was_given_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let package = |name: &str, version: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n")
    };
    let app = "[workspace]\n[dependencies]\nused = { path = \"used\" }\n[build-dependencies]\nbuilding = { path = \"building\" }\n";
    write("Cargo.toml", &(package("app", "0.3.0") + app));
    write("src/main.rs", "fn main() { used::say() }\n");
    write("build.rs", "fn main() {}\n");
    for (name, version) in [("used", "1.2.3-rc.1"), ("building", "9.9.9")] {
        write(&format!("{name}/Cargo.toml"), &package(name, version));
        write(
            &format!("{name}/src/lib.rs"),
            "pub fn say() { println!(\"x\") }\n",
        );
    }
    let expected = [("app", "0.3.0"), ("used", "1.2.3-rc.1")]
        .map(|(name, version)| (name.to_owned(), Some(version.to_owned())));
    if Command::new("cargo-auditable").output().is_err() {
        return println!("not run: cargo-auditable (it is not installed: cargo install cargo-auditable)");
    }
    for strip in ["none", "symbols"] {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(folder.path())
            .args(["auditable", "build", "--offline", "--quiet"]);
        cargo.args(["--config", &format!("profile.dev.strip=\"{strip}\"")]);
        cargo.env("CARGO_TARGET_DIR", folder.path().join("target"));
        output_of(&mut cargo).unwrap();
        let program = folder.path().join("target/debug/app");
        assert_eq!(
            found(&program, "cargo"),
            BTreeSet::from(expected.clone()),
            "{strip}"
        );
    }
}

#[test]
fn a_program_that_a_distribution_installed_is_marked_with_its_owner() {
    let program = [
        b"\x7fELF".as_slice(),
        &[0; 12],
        b"\xff Go buildinf:\x08\x02",
        &[0; 16],
        b"\x08go1.22.1\x00",
    ]
    .concat();
    let folded = image(&[Blob::new()
        .link(tar::EntryType::Symlink, "bin", "usr/bin")
        .file("var/lib/dpkg/status", crate::blob::dpkg_status(&[("tool", "1")]))
        .file(
            "var/lib/dpkg/info/tool.list",
            "/.\n/bin/tool\n/bin/tool1.2\n/usr/lib/libtool.so.3\n",
        )
        .file("usr/bin/tool", &program)
        .file("usr/bin/tool1.2", &program)
        .file("usr/lib/libtool.so.3", &program)
        .file("opt/tool", &program)
        .catalog()]);
    let found: Vec<_> = folded
        .packages
        .iter()
        .map(|package| {
            (
                package.name.as_str(),
                package.file.as_str(),
                package.owned_by.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("tool", "var/lib/dpkg/status", None),
            ("stdlib", "opt/tool", None),
            ("stdlib", "usr/bin/tool", Some("pkg:deb/tool@1?arch=amd64")),
            ("stdlib", "usr/bin/tool1.2", Some("pkg:deb/tool@1?arch=amd64")),
            (
                "stdlib",
                "usr/lib/libtool.so.3",
                Some("pkg:deb/tool@1?arch=amd64")
            ),
        ]
    );
}
