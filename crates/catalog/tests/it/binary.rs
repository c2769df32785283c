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

/// What `go version -m` says: the version of Go, and a line for each module.
fn listed(program: &Path) -> Option<BTreeSet<(String, Option<String>)>> {
    let text = output_of(Command::new("go").args(["version", "-m"]).arg(program))?;
    let mut lines = text.lines();
    let version = lines.next()?.rsplit_once(": go").unwrap().1;
    let version = version.split(' ').next().unwrap();
    let mut modules = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let module = |path: &str| {
            let version = fields
                .get(3)
                .filter(|version| !version.is_empty() && **version != "(devel)");
            (path.to_owned(), version.map(|version| (*version).to_owned()))
        };
        match fields[..] {
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
    modules.push(("stdlib".to_owned(), Some(version.to_owned())));
    Some(modules.into_iter().collect())
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
    for (name, argument, system, architecture) in [
        ("plain", "-v=false", "linux", "amd64"),
        ("stripped", "-ldflags=-s -w -buildid=", "linux", "amd64"),
        ("pie", "-buildmode=pie", "linux", "amd64"),
        ("big", "-v=false", "linux", "s390x"),
        ("windows", "-v=false", "windows", "amd64"),
        ("macos", "-v=false", "darwin", "arm64"),
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
        .file("var/lib/dpkg/info/tool.list", "/.\n/bin/tool\n")
        .file("usr/bin/tool", &program)
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
        ]
    );
}
