//! What the repository says of itself is held to what is there: the README and `docs/attacks.md` name the tests that hold
//! each line, `docs/first-deploy.md` what the templates have, and `Cargo.toml` how programs are released.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod first_deploy;
mod release;

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names in code marks in the second column of the table of invariants, without those of crates and modules.
fn named_tests(document: &str) -> Vec<String> {
    let rows = document
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

fn read_sources(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "py")
        {
            sources.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let readme = read("README.md");
    let section = readme.split("## What is always true").nth(1).unwrap();
    let invariants = named_tests(section.split("\n## ").next().unwrap());
    let attacks = named_tests(&read("docs/attacks.md"));
    assert!(attacks.len() > 15, "the table is read: {attacks:?}");
    let mut sources = String::new();
    for directory in [
        "crates",
        "tests/tests",
        "tests/simulation/tests",
        "tests/template",
    ] {
        read_sources(&root().join(directory), &mut sources);
    }
    assert!(invariants.len() > 20, "the table is read: {invariants:?}");
    let missing: Vec<_> = invariants
        .iter()
        .chain(&attacks)
        .filter(|name| {
            !["fn", "def"]
                .iter()
                .any(|word| sources.contains(&format!("{word} {name}(")))
        })
        .collect();
    assert_eq!(missing, [""; 0]);
}
