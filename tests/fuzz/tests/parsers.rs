//! The README lists what parses and which target tries it; this holds the README to the sources and to the targets.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// How a source file gives away that it parses.
const MARKS: [&str; 9] = [
    " FromStr for ",
    "fn parse(",
    "fn parse_",
    "serde_json::from_slice",
    "serde_json::from_str",
    "serde_json::from_value",
    "serde_yaml_ng::from_",
    "impl Cataloguer for ",
    "Decoder::new(",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

/// The rows of the README's two tables: the file, and the names in code marks in the second column.
fn rows() -> Vec<(String, Vec<String>)> {
    let readme = fs::read_to_string(root().join("tests/fuzz/README.md")).unwrap();
    let codes =
        |column: &str| -> Vec<String> { column.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('|'))
        .map(|(file, tried)| (file.trim_end().trim_end_matches('`').to_owned(), codes(tried)))
        .collect()
}

/// The files below `crates/*/src` that parse, in front of their own tests.
fn parsers() -> BTreeSet<String> {
    let crates = root().join("crates");
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(&crates)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("src"))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&crates).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                // As `tests.rs`, such a folder is compiled for tests alone.
                if !path.ends_with("tests") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !name.ends_with("tests.rs")
            {
                let source = fs::read_to_string(&path).unwrap();
                let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
                if MARKS.iter().any(|mark| source.contains(mark)) {
                    found.insert(name);
                }
            }
        }
    }
    found
}

#[test]
fn every_parser_is_listed() {
    let listed: BTreeSet<String> = rows().into_iter().map(|(file, _)| file).collect();
    let parsers = parsers();
    assert!(parsers.len() > 30, "the sources are read: {parsers:?}");
    let unlisted: Vec<_> = parsers.difference(&listed).collect();
    assert_eq!(unlisted, [""; 0], "add a row to tests/fuzz/README.md");
    let gone = listed
        .iter()
        .filter(|file| !root().join("crates").join(file).is_file());
    assert_eq!(
        gone.collect::<Vec<_>>(),
        [""; 0],
        "the README lists files that are not there"
    );
}

#[cfg(feature = "functions")]
#[test]
fn every_target_is_listed_and_has_seeds() {
    use portwarden_fuzz::targets;

    let names: BTreeSet<&str> = targets().map(|target| target.name).collect();
    assert_eq!(names.len(), targets().count(), "a name is given twice");
    let rows = rows();
    let tried = rows.iter().flat_map(|(_, targets)| targets).map(String::as_str);
    assert_eq!(tried.collect::<BTreeSet<_>>(), names);
    let folders = fs::read_dir(root().join("tests/fuzz/seeds")).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders.iter().map(String::as_str).collect::<BTreeSet<_>>(), names);
}
