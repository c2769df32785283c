//! A real root file system, made of Debian's packages, wheels and npm's packages, against what the tools that made it
//! say of it, and against other scanners. A tool that is missing is named on a line `not run: …`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod image;
mod peers;

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use self::image::RealImage;

/// Runs a tool and returns what it prints; says so and returns nothing if there is no such tool.
fn output_of(command: &mut Command) -> Option<String> {
    let tool = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).stderr(Stdio::inherit()).output() {
        Ok(output) => {
            assert!(output.status.success(), "{tool} failed: {}", output.status);
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            let tool = Path::new(&tool).file_name().unwrap().display();
            println!("not run: {tool} ({error})");
            None
        }
    }
}

/// Scans an image with the program, and returns the report of its one platform.
fn scan(image: &RealImage) -> Value {
    let test_program = std::env::current_exe().unwrap();
    let program = test_program.ancestors().nth(2).unwrap().join("portwarden");
    let name = format!("oci:{}", image.layout().display());
    let report = output_of(Command::new(program).args(["scan", &name, "--format", "json"])).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["partial"], false);
    report["platforms"][0].clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Lists the packages of one kind, each with the file that shows it.
fn found<'r>(report: &'r Value, kind: &'r str) -> impl Iterator<Item = (&'r str, &'r Value)> {
    let packages = report["packages"].as_array().unwrap().iter();
    packages
        .filter(move |package| package["kind"] == kind)
        .map(|package| (package["file"].as_str().unwrap(), package))
}

fn name_and_version(package: &Value) -> (String, String) {
    (text(&package["name"]), text(&package["version"]))
}

/// One test, since the image takes a while.
#[test]
fn a_real_image_holds_what_its_tools_and_other_scanners_say() {
    let Some(image) = RealImage::make() else {
        return;
    };
    let report = scan(&image);
    compare_with_tools(&image, &report);
    peers::compare(&image, &report);
}

fn compare_with_tools(image: &RealImage, report: &Value) {
    assert_eq!(report["os"]["id"], "debian");

    let debian: BTreeSet<_> = found(report, "deb")
        .map(|(_, package)| {
            let (name, version) = name_and_version(package);
            (name, version, text(&package["architecture"]))
        })
        .collect();
    assert!(debian.len() > 80, "{}", debian.len());
    assert_eq!(debian, image.dpkg_query());

    // What a distribution brings inside of itself is there, but pip does not list it.
    let is_installed = |file: &str| {
        let below = file.split_once("site-packages/").map(|(_, below)| below);
        below.is_some_and(|below| below.matches('/').count() == 1)
    };
    let python: BTreeSet<_> = found(report, "pypi")
        .filter(|(file, _)| is_installed(file))
        .map(|(_, package)| name_and_version(package))
        .collect();
    assert!(python.len() > 8, "{python:?}");
    assert_eq!(python, image.pip_list());

    // npm does not list what a package brings inside of itself, nor the application as its own package.
    let listed = image.npm_ls();
    let npm: BTreeSet<_> = found(report, "npm")
        .map(|(file, package)| {
            let (name, version) = name_and_version(package);
            (file.to_owned(), format!("{name}@{version}"))
        })
        .collect();
    assert!(listed.len() > 50, "{}", listed.len());
    assert_eq!(listed.difference(&npm).collect::<Vec<_>>(), [] as [&_; 0]);
    for (file, package) in npm.difference(&listed) {
        let is_inside = listed.iter().any(|(outer, _)| {
            let folder = outer.trim_end_matches("package.json");
            let rest = file.strip_prefix(folder);
            rest.is_some_and(|rest| !rest.starts_with("node_modules/") && rest != "package.json")
        });
        assert!(is_inside || file == "app/package.json", "{package} in {file}");
    }

    // Each package came with the layer that has its files.
    for (kind, layer) in [("deb", 0), ("pypi", 1), ("npm", 2)] {
        assert!(
            found(report, kind).all(|(_, package)| package["layer"]["index"] == layer),
            "{kind}"
        );
    }
}
