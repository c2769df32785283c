//! What the ecosystems' own tools say about the same files. A tool that is missing is named on a line `not run: …`.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use portwarden_catalog::{Compression, cyclonedx, spdx};
use serde_json::{Value, json};

use crate::{
    blob::{Blob, catalog, image},
    cyclonedx::{sample, subject},
};

/// Runs a tool and returns what it prints; says so and returns nothing if there is no such tool.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = match command.stderr(Stdio::inherit()).output() {
        Ok(output) => output,
        Err(error) => {
            println!("not run: {tool} ({error})");
            return None;
        }
    };
    assert!(output.status.success(), "{tool} failed: {}", output.status);
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Catalogues a folder as if it were a layer, and lists files, names and versions.
pub(crate) fn packages_below(folder: &Path) -> Vec<(String, String, String)> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all("", folder).unwrap();
    let packages = image(&[catalog(&tar.into_inner().unwrap(), Compression::None)]).packages;
    packages
        .into_iter()
        .map(|package| (package.file, package.name, package.version.unwrap()))
        .collect()
}

#[test]
fn dpkg_query_lists_the_same() {
    let format =
        "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n";
    let Some(listed) = output_of(Command::new("dpkg-query").args(["-W", "-f", format])) else {
        return;
    };
    let unpacked = [
        "installed",
        "triggers-pending",
        "triggers-awaited",
        "half-configured",
        "unpacked",
    ];
    let listed: BTreeSet<String> = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(state, _)| unpacked.contains(state))
        .map(|(_, package)| package.to_owned())
        .collect();
    let status = fs::read("/var/lib/dpkg/status").unwrap();
    let packages = image(&[Blob::new().file("var/lib/dpkg/status", status).catalog()]).packages;
    let found: BTreeSet<String> = packages
        .into_iter()
        .map(|package| {
            let (name, version) = (package.name, package.version.unwrap());
            let source = package.source.as_ref().map_or(&name, |source| &source.name);
            let source_version = package
                .source
                .as_ref()
                .and_then(|source| source.version.as_ref())
                .unwrap_or(&version);
            format!(
                "{name} {version} {} {source} {source_version}",
                package.architecture.unwrap()
            )
        })
        .collect();
    assert!(
        found.len() > 50,
        "a Debian machine has more than {} packages",
        found.len()
    );
    assert_eq!(found, listed);
}

#[test]
fn pip_lists_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let venv = folder.path().join("venv");
    if output_of(Command::new("python3").args(["-m", "venv"]).arg(&venv)).is_none() {
        return;
    }
    let list = [
        "-m",
        "pip",
        "list",
        "--format",
        "json",
        "--disable-pip-version-check",
    ];
    let listed = output_of(Command::new(venv.join("bin/python")).args(list)).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed: BTreeSet<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (text(&p["name"]), text(&p["version"])))
        .collect();
    let found: BTreeSet<_> = packages_below(&venv)
        .into_iter()
        // What a package brings inside of itself is there, but pip does not list it.
        .filter(|(file, ..)| {
            file.split("site-packages/")
                .nth(1)
                .is_some_and(|rest| rest.matches('/').count() == 1)
        })
        .map(|(_, name, version)| (name, version))
        .collect();
    assert!(found.iter().any(|(name, _)| name == "pip"), "{found:?}");
    assert_eq!(found, listed);
}

#[test]
fn npm_lists_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    // `b` needs an older `a` than the application, so that one `a` comes to lie below `b`.
    write(
        "a1/package.json",
        r#"{"name":"a","version":"1.0.0","license":"MIT"}"#,
    );
    write(
        "a1/test/node_modules/fixture/package.json",
        r#"{"name":"fixture","version":"6.6.6"}"#,
    );
    write(
        "a2/package.json",
        r#"{"name":"a","version":"2.0.0","license":"MIT"}"#,
    );
    write("a2/dist/package.json", r#"{"type":"module"}"#);
    let older = folder.path().join("a-1.0.0.tgz");
    let needs = json!({"name": "@s/b", "version": "0.1.0", "dependencies": {"a": format!("file:{}", older.display())}});
    write("b/package.json", &needs.to_string());
    write("app/package.json", r#"{"name":"app","version":"0.0.1"}"#);
    let npm = || {
        let mut npm = Command::new("npm");
        npm.current_dir(folder.path()).args([
            "--offline",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
        ]);
        npm.arg("--cache").arg(folder.path().join("cache"));
        npm
    };
    if output_of(npm().args(["pack", "./a1", "./a2", "./b"])).is_none() {
        return;
    }
    let app = folder.path().join("app");
    let install = ["install", "../a-2.0.0.tgz", "../s-b-0.1.0.tgz"];
    output_of(npm().args(install).current_dir(&app)).unwrap();
    let listed = output_of(
        npm()
            .args(["ls", "--all", "--parseable", "--long"])
            .current_dir(&app),
    )
    .unwrap();
    let root = format!("{}/", fs::canonicalize(&app).unwrap().display());
    let listed: BTreeSet<(String, String)> = listed
        .lines()
        .filter_map(|line| line.strip_prefix(&root)?.split_once(':'))
        .map(|(path, package)| {
            (
                format!("{path}/package.json"),
                package.split(':').next().unwrap().to_owned(),
            )
        })
        .collect();
    let mut found: BTreeSet<_> = packages_below(&app)
        .into_iter()
        .map(|(file, name, version)| (file, format!("{name}@{version}")))
        .collect();
    // npm lists neither the application as its own package nor what a package brings inside of itself.
    for (file, package) in [
        ("package.json", "app@0.0.1"),
        (
            "node_modules/@s/b/node_modules/a/test/node_modules/fixture/package.json",
            "fixture@6.6.6",
        ),
    ] {
        assert!(
            found.remove(&(file.to_owned(), package.to_owned())),
            "{file}: {found:?}"
        );
    }
    assert!(found.len() >= 3, "{found:?}");
    assert_eq!(found, listed);
}

#[test]
fn gem_lists_the_same() {
    const LIST: &str =
        "Gem::Specification.each { |gem| puts gem.full_name, gem.name, gem.version, gem.loaded_from }";
    let Some(text) = output_of(Command::new("ruby").args(["-e", LIST])) else {
        return;
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut blob = Blob::new();
    let mut listed = BTreeSet::new();
    for gem in lines.chunks_exact(4) {
        let file = gem[3].trim_start_matches('/');
        // Distributions put some specifications elsewhere and do not list them twice.
        blob = blob.file(file, fs::read(gem[3]).unwrap());
        listed.insert((file.to_owned(), gem[1].to_owned(), gem[2].to_owned()));
    }
    assert!(listed.len() > 20, "{listed:?}");
    let found: BTreeSet<_> = image(&[blob.catalog()])
        .packages
        .into_iter()
        .map(|package| (package.file, package.name, package.version.unwrap()))
        .collect();
    assert_eq!(found, listed);
}

/// Gives a document to a program of Python's that prints `valid`, what is wrong, or what it lacks to tell.
fn judge(program: &str, document: &[u8]) -> Option<String> {
    let python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut python = match python {
        Ok(python) => python,
        Err(error) => {
            println!("not run: python3 ({error})");
            return None;
        }
    };
    // A tool that lacks the module ends before it reads.
    let _ = python.stdin.take().unwrap().write_all(document);
    let output = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    match output.trim().strip_prefix("missing:") {
        Some(reason) => {
            println!("not run: {}", reason.trim());
            None
        }
        None => Some(output.trim().to_owned()),
    }
}

#[test]
fn the_official_schema_of_cyclonedx_accepts_the_sbom() {
    const VALIDATE: &str = "
import sys
try:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    validator.validate_str('{}')
except Exception as error:
    print(f'missing: cyclonedx-python-lib ({error})')
    sys.exit()
error = validator.validate_str(sys.stdin.read())
print(str(error.data)[:1000] if error else 'valid')
";
    if let Some(verdict) = judge(VALIDATE, &cyclonedx::write(&sample(), &subject())) {
        assert_eq!(verdict, "valid");
        let broken = judge(
            VALIDATE,
            br#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":1}]}"#,
        );
        assert_ne!(broken.unwrap(), "valid");
    }
}

#[test]
fn the_tools_of_spdx_accept_the_sbom() {
    const VALIDATE: &str = "
import json, sys
try:
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
except Exception as error:
    print(f'missing: spdx-tools ({error})')
    sys.exit()
try:
    document = JsonLikeDictParser().parse(json.load(sys.stdin))
    messages = validate_full_spdx_document(document, 'SPDX-2.3')
    print([message.validation_message for message in messages][:5] or 'valid')
except Exception as error:
    print(getattr(error, 'messages', error))
";
    if let Some(verdict) = judge(VALIDATE, &spdx::write(&sample(), &subject())) {
        assert_eq!(verdict, "valid");
        let document = String::from_utf8(spdx::write(&sample(), &subject())).unwrap();
        let broken = document.replace("CC0-1.0", "none");
        assert_ne!(judge(VALIDATE, broken.as_bytes()).unwrap(), "valid");
    }
}
