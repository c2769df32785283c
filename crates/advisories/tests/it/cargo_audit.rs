//! What `cargo audit` finds in lock files by `RustSec`'s records, and what we find.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portwarden_advisories::{Advisory, Bound, Bulk, Database, Interval, Package, Scheme, build, parse};
use serde_json::Value;

use crate::feed;

/// A package of a lock file, and an advisory about it.
type Found = BTreeSet<(String, String, String)>;

/// `RustSec`'s own records; OSV has others' records of Rust, too.
fn advisories() -> Option<Vec<Advisory>> {
    let records = feed::records(&feed::directory()?, "crates.io");
    let parsed = records.iter().map(|(_, content)| parse(content).unwrap());
    Some(
        parsed
            .filter(|advisory| advisory.id.starts_with("RUSTSEC-"))
            .collect(),
    )
}

/// Writes an advisory as `RustSec` keeps it: what is not affected, instead of what is.
///
/// Source: `RustSec`, `advisory-db/README.md`, "Advisory Format".
fn as_markdown(advisory: &Advisory, name: &str, intervals: &[Interval]) -> String {
    let mut intervals = intervals.to_vec();
    // Where all versions up to a bound are affected, there is nothing to compare, and it comes first.
    intervals.sort_by(|a, b| {
        let order = Scheme::SemVer.compare(&a.introduced, &b.introduced);
        order.unwrap_or_else(|| a.introduced.cmp(&b.introduced))
    });
    let mut safe: Vec<String> = Vec::new();
    let mut after: Option<String> = None;
    for interval in &intervals {
        let before = Some(&interval.introduced).filter(|version| !version.is_empty());
        match (&after, before) {
            (None, Some(before)) => safe.push(format!("< {before}")),
            (Some(after), Some(before)) => safe.push(format!(">= {after}, < {before}")),
            _ => {}
        }
        after = match &interval.until {
            Bound::Fixed(version) => Some(version.clone()),
            Bound::Never => None,
            other => panic!("RustSec has no {other:?}"),
        };
    }
    safe.extend(after.map(|after| format!(">= {after}")));
    format!(
        "```toml\n[advisory]\nid = {:?}\npackage = {name:?}\ndate = \"{}\"\n[versions]\npatched = {safe:?}\n```\n\n# A flaw\n\nWords.\n",
        advisory.id,
        advisory.published.unwrap().strftime("%F"),
    )
}

/// Keeps the advisories as `cargo audit` wants them; leaves out those that were withdrawn, as both sides do.
fn keep(advisories: &[Advisory], directory: &Path) {
    for advisory in advisories.iter().filter(|advisory| !advisory.is_withdrawn) {
        for affected in &advisory.affected {
            let folder = directory.join("crates").join(&affected.name);
            fs::create_dir_all(&folder).unwrap();
            let text = as_markdown(advisory, &affected.name, &affected.intervals);
            fs::write(folder.join(format!("{}.md", advisory.id)), text).unwrap();
        }
    }
}

/// Versions at, just below and just above a bound.
fn around(bound: &str) -> Vec<String> {
    let core = bound.split(['-', '+']).next().unwrap();
    let numbers: Vec<u64> = core.split('.').map(|number| number.parse().unwrap()).collect();
    let [major, minor, patch] = numbers[..] else {
        panic!("{bound} is no version");
    };
    let mut versions = vec![
        bound.to_owned(),
        core.to_owned(),
        format!("{core}-alpha.1"),
        format!("{core}-rc.2"),
        format!("{major}.{minor}.{}", patch + 1),
        format!("{major}.{}.0", minor + 1),
        format!("{}.0.0-beta", major + 1),
        format!("{}.0.0", major + 1),
    ];
    versions.extend(
        patch
            .checked_sub(1)
            .map(|patch| format!("{major}.{minor}.{patch}")),
    );
    versions.extend(minor.checked_sub(1).map(|minor| format!("{major}.{minor}.99")));
    versions.extend(major.checked_sub(1).map(|major| format!("{major}.99.99")));
    versions
}

fn lock_file(packages: &BTreeSet<(String, String)>) -> String {
    let mut text = "version = 3\n".to_owned();
    for (name, version) in packages {
        let source = "registry+https://github.com/rust-lang/crates.io-index";
        write!(
            text,
            "\n[[package]]\nname = {name:?}\nversion = {version:?}\nsource = {source:?}\n"
        )
        .unwrap();
    }
    text
}

/// Reads the packages of a lock file that come from crates.io.
fn locked(text: &str) -> BTreeSet<(String, String)> {
    let value = |entry: &str, key: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_matches([' ', '=', '"']).to_owned())
    };
    text.split("[[package]]")
        .filter(|entry| value(entry, "source").is_some_and(|source| source.starts_with("registry+")))
        .map(|entry| (value(entry, "name").unwrap(), value(entry, "version").unwrap()))
        .collect()
}

/// Reads the packages of all lock files that lie in the sources of crates, as Cargo keeps them: old and new, of strangers.
fn of_dependencies() -> BTreeSet<(String, String)> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let list = |folder: PathBuf| {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let registries = home.into_iter().flat_map(|home| list(home.join("registry/src")));
    let locks: Vec<String> = registries
        .flat_map(list)
        .filter_map(|source| fs::read_to_string(source.join("Cargo.lock")).ok())
        .collect();
    let packages = locks.iter().flat_map(|text| locked(text)).collect();
    println!("{} lock files of crates", locks.len());
    packages
}

/// Asks `cargo audit`; nothing, and a word about it, where there is none.
fn audit(lock: &Path, database: &Path) -> Option<Found> {
    let output = Command::new("cargo-audit")
        .args(["audit", "--json", "--no-fetch", "--stale", "--db"])
        .arg(database)
        .arg("--file")
        .arg(lock)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            println!("not run: cargo audit ({error})");
            return None;
        }
    };
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let list = said["vulnerabilities"]["list"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Some(
        list.map(|found| {
            let package = &found["package"];
            (
                text(&package["name"]),
                text(&package["version"]),
                text(&found["advisory"]["id"]),
            )
        })
        .collect(),
    )
}

fn find(packages: &BTreeSet<(String, String)>, database: &Database) -> Found {
    let mut all = Found::new();
    for (name, version) in packages {
        let found = database
            .find(&[Package::new(format!(
                "pkg:cargo/{name}@{}",
                version.replace('+', "%2B")
            ))])
            .unwrap();
        assert_eq!(found.unmatched, [], "{name} {version}");
        let ids = found.findings.iter().flat_map(|finding| &finding.ids);
        let own = ids.filter(|id| id.starts_with("RUSTSEC-"));
        all.extend(own.map(|id| (name.clone(), version.clone(), id.clone())));
    }
    all
}

#[test]
fn cargo_audit_finds_the_same_in_lock_files() {
    let Some(advisories) = advisories() else { return };
    let directory = tempfile::tempdir().unwrap();
    keep(&advisories, directory.path());
    let mut bulk = Bulk::default();
    let mut around_bounds = BTreeSet::new();
    for advisory in advisories {
        for affected in &advisory.affected {
            for interval in &affected.intervals {
                let bounds = [
                    Some(interval.introduced.as_str()),
                    match &interval.until {
                        Bound::Fixed(version) => Some(version.as_str()),
                        _ => None,
                    },
                ];
                let bounds = bounds.into_iter().flatten().filter(|bound| !bound.is_empty());
                let versions = bounds.chain(["0.0.1", "1.0.0", "99.0.0"]).flat_map(around);
                around_bounds.extend(versions.map(|version| (affected.name.clone(), version)));
            }
        }
        bulk.advisories.insert(advisory.id.clone(), advisory);
    }
    let database = Database::open(build(&bulk).unwrap()).unwrap();
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let own = locked(&fs::read_to_string(own).unwrap());
    assert!(own.len() > 100, "{own:?}");
    for packages in [around_bounds, own, of_dependencies()] {
        let lock = directory.path().join("Cargo.lock");
        fs::write(&lock, lock_file(&packages)).unwrap();
        let Some(theirs) = audit(&lock, directory.path()) else {
            return;
        };
        let ours = find(&packages, &database);
        let only_theirs: Vec<_> = theirs.difference(&ours).collect();
        let only_ours: Vec<_> = ours.difference(&theirs).collect();
        println!(
            "cargo audit: {} packages, {} findings",
            packages.len(),
            theirs.len()
        );
        assert!(
            only_theirs.is_empty() && only_ours.is_empty(),
            "theirs only: {only_theirs:?}\nours only: {only_ours:?}"
        );
    }
}
