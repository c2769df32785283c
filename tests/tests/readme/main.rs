//! The README names the tests that hold each invariant; this holds the README.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod first_deploy;

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names in code marks in the second column of the table of invariants, without those of crates and modules.
fn named_tests(readme: &str) -> Vec<String> {
    let section = readme.split("## What is always true").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'));
    let columns = rows.map(|row| row.trim_end_matches('|').rsplit('|').next().unwrap());
    columns
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .filter_map(|code| code.rsplit("::").next())
        .filter(|name| name.matches('_').count() > 2 && !name.contains('/'))
        .map(str::to_owned)
        .collect()
}

fn rust_sources(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_readme_names_is_there() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut sources = String::new();
    rust_sources(&root().join("crates"), &mut sources);
    rust_sources(&root().join("tests/tests"), &mut sources);
    rust_sources(&root().join("tests/simulation/tests"), &mut sources);
    let names = named_tests(&readme);
    assert!(names.len() > 20, "the table is read: {names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !sources.contains(&format!("fn {name}(")))
        .collect();
    assert_eq!(missing, [""; 0]);
}
