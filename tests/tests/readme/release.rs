//! Cargo takes a package that a profile names out of the profile's `strip`; this holds `Cargo.toml` to saying it again.

use std::fs;

use crate::root;

#[test]
fn no_program_is_released_with_its_symbols() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = |name: &str| {
        let behind = manifest.split(&format!("\n[{name}]\n")).nth(1).unwrap();
        behind.split("\n[").next().unwrap()
    };
    assert!(section("profile.release").contains("\nstrip = \"symbols\"\n"));
    let overrides = section("profile.release.package").lines().filter_map(|line| {
        let (package, settings) = line.split_once(" = ")?;
        let directory = package.strip_prefix("portwarden-")?;
        let has_program = root().join("crates").join(directory).join("src/main.rs").exists();
        has_program.then_some((package, settings))
    });
    let overrides: Vec<_> = overrides.collect();
    assert!(overrides.len() > 5, "the profile is read: {overrides:?}");
    let forgotten = overrides
        .iter()
        .filter(|(_, settings)| !settings.contains("strip = \"symbols\""));
    assert_eq!(forgotten.collect::<Vec<_>>(), [&("", ""); 0]);
}
