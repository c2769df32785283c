//! What ECR's own scanning found, beside what advisories say of the same packages.

use portwarden_advisories::Level;
use portwarden_core::registry_scan::{RegistryFinding, RegistryScan, RegistryScanner};
use portwarden_oci::Digest;
use portwarden_report::{FoundBy, ImageFindings, Report};
use serde_json::{Value, json};

use crate::shop::{LOG4J, OPENSSL, find, findings, image, report, shop};

pub(crate) fn found(id: &str, package: &str, version: Option<&str>) -> RegistryFinding {
    RegistryFinding {
        ids: vec![id.to_owned()],
        package: package.to_owned(),
        version: version.map(str::to_owned),
        severity: "CRITICAL".to_owned(),
        score_tenths: Some(98),
        vector: Some("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H".to_owned()),
        summary: "<b>ECR's words".to_owned(),
        links: vec![format!("https://ecr.example/{id}")],
        ..RegistryFinding::default()
    }
}

pub(crate) fn scan(findings: Vec<RegistryFinding>) -> RegistryScan {
    RegistryScan {
        scanner: RegistryScanner::Enhanced,
        completed_at: Some("2026-11-22T00:00:00Z".parse().unwrap()),
        truncated: false,
        findings,
    }
}

/// The shop, where ECR found one flaw that advisories know, one that they do not, and one in a package that is not there.
pub(crate) fn merged() -> (Report, ImageFindings) {
    let (report, mut merged) = shop();
    let log4j = "org.apache.logging.log4j:log4j-core";
    merged.merge(
        &report,
        &scan(vec![
            found("CVE-2021-44228", log4j, Some("2.14.1")),
            found("CVE-2026-9000", "openssl", Some("3.0.11-1")),
            RegistryFinding {
                manager: Some("PYTHONPKG".to_owned()),
                ..found("CVE-2026-9001", "flask", Some("1.0"))
            },
        ]),
    );
    (report, merged)
}

const BOTH: [FoundBy; 2] = [FoundBy::Advisories, FoundBy::EcrEnhanced];

#[test]
fn a_duplicate_stays_one_finding_in_the_advisories_words() {
    let (_, before) = shop();
    let (_, merged) = merged();
    let (was, is) = (find(&before, "CVE-2021-44228"), find(&merged, "CVE-2021-44228"));
    assert_eq!(was.finding, is.finding);
    assert_eq!(is.found_by, BOTH);
    assert_eq!(is.registry.as_ref().unwrap().severity, Level::Critical);
    assert_eq!(find(&merged, "CVE-2026-0001").found_by, [FoundBy::Advisories]);
}

#[test]
fn what_only_ecr_found_is_a_finding_with_its_places_and_counts() {
    let (_, before) = shop();
    let (_, merged) = merged();
    let alone = find(&merged, "CVE-2026-9000");
    assert_eq!(
        (alone.found_by.as_slice(), alone.finding.purl.as_str()),
        (&BOTH[1..], OPENSSL)
    );
    assert_eq!(alone.places, find(&before, "CVE-2026-0001").places);
    let unknown = find(&merged, "CVE-2026-9001");
    assert_eq!(
        (unknown.finding.purl.as_str(), unknown.places.len()),
        ("pkg:pypi/flask@1.0", 0)
    );
    let count = |findings: &ImageFindings| findings.counts.values().sum::<usize>();
    assert_eq!(count(&merged), count(&before) + 2);
    let levels: Vec<Level> = merged.open().map(|found| found.finding.severity.level).collect();
    assert!(levels.is_sorted_by(|a, b| a >= b), "the worst first: {levels:?}");
    let stamp = merged.registry_scan.unwrap();
    assert_eq!(stamp.scanner, RegistryScanner::Enhanced);
}

#[test]
fn merging_twice_is_merging_once_and_another_order_is_the_same() {
    let (report, before) = shop();
    let all = vec![
        found("CVE-2026-9000", "openssl", Some("3.0.11-1")),
        found("CVE-2026-0001", "openssl", Some("3.0.11-1")),
        // The same flaw of the same package, in another file.
        found("CVE-2026-9000", "openssl", Some("3.0.11-1")),
    ];
    let mut once = before.clone();
    once.merge(&report, &scan(all.clone()));
    let mut twice = once.clone();
    twice.merge(&report, &scan(all.clone()));
    assert_eq!(once, twice);
    let mut other = before;
    other.merge(&report, &scan(all.into_iter().rev().collect()));
    assert_eq!(once.platforms, other.platforms);
}

/// Merges one finding about a package of the image; tells by which package URLs it is found.
fn purls(package: &Value, found: RegistryFinding) -> Vec<String> {
    let mut image = image();
    image["platforms"][0]["packages"] = json!([package]);
    let report = report(&image);
    let mut merged = findings(&report, &[]);
    merged.merge(&report, &scan(vec![found]));
    merged.open().map(|found| found.finding.purl.clone()).collect()
}

#[test]
fn packages_are_known_by_each_of_their_names_and_spellings() {
    let package = |purl: &str, kind: &str, name: &str, version: &str, further: Value| {
        let mut package = json!({"purl": purl, "kind": kind, "name": name, "version": version, "file": "f",
            "layer": {"index": 0, "digest": Digest::of(b"l")}});
        for (key, value) in further.as_object().unwrap() {
            package[key] = value.clone();
        }
        package
    };
    let libssl = package(
        "pkg:deb/debian/libssl3@3.0.11-1",
        "deb",
        "libssl3",
        "3.0.11-1",
        json!({"source": {"name": "openssl", "version": "3.0.11-1+b1"}}),
    );
    let bash = package(
        "pkg:rpm/redhat/bash@5.1-9?epoch=1",
        "rpm",
        "bash",
        "1:5.1-9",
        json!({}),
    );
    let yaml = package(
        "pkg:pypi/ruamel-yaml@1.0",
        "pypi",
        "ruamel.yaml",
        "1.0",
        json!({}),
    );
    let net = package(
        "pkg:golang/golang.org/x/net@v0.1.0",
        "golang",
        "golang.org/x/net",
        "v0.1.0",
        json!({}),
    );
    for (package, name, version) in [
        (&libssl, "libssl3", Some("3.0.11-1")),
        (&libssl, "openssl", Some("3.0.11-1+b1")),
        (&libssl, "openssl", None),
        (&bash, "bash", Some("5.1-9")),
        (&bash, "bash", Some("1:5.1-9")),
        (&yaml, "Ruamel_YAML", Some("1.0")),
        (&net, "golang.org/x/net", Some("0.1.0")),
    ] {
        let expected = [package["purl"].as_str().unwrap()];
        assert_eq!(
            purls(package, found("CVE-1", name, version)),
            expected,
            "{name} {version:?}"
        );
    }
    for (package, name, version) in [
        (&libssl, "libssl3", "3.0.11-1+b1"),
        (&libssl, "openssl", "3.0.12"),
        (&bash, "bash", "2:5.1-9"),
    ] {
        let other = purls(package, found("CVE-1", name, Some(version)));
        assert_ne!(other, [package["purl"].as_str().unwrap()], "{name} {version}");
        assert_eq!(other.len(), 1, "it is shown, as of a package that was not found");
    }
    // What the distribution's package installed, the distribution has patched, or not.
    let owned = package("pkg:pypi/a@1", "pypi", "a", "1", json!({"owned_by": "python3-a"}));
    assert_eq!(
        purls(&owned, found("CVE-1", "a", Some("1"))),
        Vec::<String>::new()
    );
}

#[test]
fn findings_of_an_older_version_are_of_advisories() {
    let (_, before) = shop();
    let mut old = serde_json::to_value(&before).unwrap();
    for found in old["platforms"][0]["findings"].as_array_mut().unwrap() {
        found.as_object_mut().unwrap().remove("found_by").unwrap();
    }
    assert_eq!(serde_json::from_value::<ImageFindings>(old).unwrap(), before);
    assert_eq!(find(&before, "CVE-2021-44228").finding.purl, LOG4J);
}
