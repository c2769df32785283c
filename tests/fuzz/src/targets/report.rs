//! What people say of findings: ignore rules, and `OpenVEX` documents.

use std::sync::LazyLock;

use portwarden_advisories::{Bulk, Database, Package, Sbom, build, parse};
use portwarden_oci::Digest;
use portwarden_report::{ImageFindings, Suppressions};

use crate::law::error_is_short;

targets! { ignore_rules vex }

/// Findings for rules and statements to be about.
static FINDINGS: LazyLock<ImageFindings> = LazyLock::new(|| {
    let record = br#"{"id": "GHSA-1", "aliases": ["CVE-1"], "modified": "2026-01-01T00:00:00Z", "affected": [{
        "package": {"ecosystem": "npm", "name": "a"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}]}"#;
    let mut bulk = Bulk::default();
    let advisory = parse(record).expect("it is a record");
    bulk.advisories.insert(advisory.id.clone(), advisory);
    let database = Database::open(build(&bulk).expect("it fits")).expect("what is built can be opened");
    let sbom = Sbom {
        packages: vec![Package::new("pkg:npm/a@1.0.0")],
        nameless: 0,
    };
    let now = "2026-06-01T00:00:00Z".parse().expect("it is a time");
    ImageFindings::of_sbom(&sbom, Digest::of(b""), &database, now).expect("the database is whole")
});

/// A file of ignore rules, in YAML or JSON.
fn ignore_rules(input: &[u8]) {
    let mut suppressions = Suppressions::default();
    match suppressions.add_rules("rules", input) {
        Ok(()) => apply(&suppressions),
        Err(error) => error_is_short(&error),
    }
}

/// An `OpenVEX` document.
fn vex(input: &[u8]) {
    let mut suppressions = Suppressions::default();
    match suppressions.add_vex("vex", input) {
        Ok(()) => apply(&suppressions),
        Err(error) => error_is_short(&error),
    }
}

/// Nothing is lost, whatever is said of it.
fn apply(suppressions: &Suppressions) {
    let mut findings = FINDINGS.clone();
    suppressions.apply(&mut findings, None, FINDINGS.matched_at);
    assert_eq!(
        findings.open().count() + findings.suppressed,
        FINDINGS.open().count()
    );
    Suppressions::default().apply(&mut findings, None, FINDINGS.matched_at);
    assert_eq!(findings, *FINDINGS);
}
