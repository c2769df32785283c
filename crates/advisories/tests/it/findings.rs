//! Findings of small, made-up advisories.

use portwarden_advisories::{Database, Finding, Level, Package, UnmatchedReason, build, read_bulk};
use serde_json::{Value, json};

use crate::database::{archive, now};

fn database(records: &[Value]) -> Database {
    let directory = tempfile::tempdir().unwrap();
    let records: Vec<(String, String)> = records
        .iter()
        .map(|record| {
            (
                format!("{}.json", record["id"].as_str().unwrap()),
                record.to_string(),
            )
        })
        .collect();
    let records: Vec<(&str, &str)> = records
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    archive(directory.path(), "any", &records);
    let bulk = read_bulk(directory.path(), now()).unwrap();
    assert_eq!(bulk.flaws, Vec::<String>::new());
    Database::open(build(&bulk).unwrap()).unwrap()
}

/// An advisory that affects all versions of one package before `fixed`.
fn advisory(id: &str, ecosystem: &str, name: &str, fixed: &str, more: &Value) -> Value {
    let mut record = json!({
        "id": id, "modified": "2025-01-01T00:00:00Z", "summary": format!("about {id}"),
        "references": [{ "type": "WEB", "url": format!("https://web.example/{id}") },
                       { "type": "ADVISORY", "url": format!("https://advisory.example/{id}") },
                       { "type": "WEB", "url": "javascript:alert(1)" }],
        "affected": [{ "package": { "ecosystem": ecosystem, "name": name },
                       "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": fixed }] }] }]
    });
    for (key, value) in more.as_object().unwrap() {
        record[key] = value.clone();
    }
    record
}

fn find(database: &Database, purl: &str) -> Vec<Finding> {
    database.find(&[Package::new(purl)]).unwrap().findings
}

fn ids(findings: &[Finding]) -> Vec<Vec<&str>> {
    findings
        .iter()
        .map(|f| f.ids.iter().map(String::as_str).collect())
        .collect()
}

const CRITICAL: &str = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H";
const LOW: &str = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N";

#[test]
fn names_of_one_flaw_are_one_finding() {
    let database = database(&[
        advisory(
            "PYSEC-1",
            "PyPI",
            "a",
            "2.0",
            &json!({ "aliases": ["CVE-2024-1"] }),
        ),
        advisory(
            "GHSA-x",
            "PyPI",
            "a",
            "2.0",
            &json!({ "severity": [{ "type": "CVSS_V3", "score": CRITICAL }] }),
        ),
        // Only this one shows that the two above are the same.
        advisory(
            "ZZZ-1",
            "PyPI",
            "a",
            "2.1",
            &json!({ "aliases": ["GHSA-x", "PYSEC-1"] }),
        ),
        advisory(
            "GHSA-y",
            "PyPI",
            "a",
            "3.0",
            &json!({ "severity": [{ "type": "CVSS_V3", "score": LOW }] }),
        ),
    ]);
    let found = find(&database, "pkg:pypi/a@1.0");
    assert_eq!(
        ids(&found),
        [vec!["CVE-2024-1", "GHSA-x", "PYSEC-1", "ZZZ-1"], vec!["GHSA-y"]]
    );
    let first = &found[0];
    assert_eq!(
        (first.id.as_str(), first.fixed.as_deref()),
        ("CVE-2024-1", Some("2.0"))
    );
    assert_eq!(first.severity.level, Level::Critical);
    assert_eq!(first.severity.score_tenths, Some(100));
    assert_eq!(first.severity.vector.as_deref(), Some(CRITICAL));
    assert!(
        first.links.iter().all(|link| link.starts_with("https://")),
        "{:?}",
        first.links
    );
    assert!(first.links.len() <= 5);
    assert_eq!(
        ids(&find(&database, "pkg:pypi/a@2.0")),
        [vec!["GHSA-y"], vec!["GHSA-x", "PYSEC-1", "ZZZ-1"]]
    );
    assert_eq!(ids(&find(&database, "pkg:pypi/a@2.1")), [vec!["GHSA-y"]]);
    assert_eq!(ids(&find(&database, "pkg:pypi/a@3.0")), Vec::<Vec<&str>>::new());
}

#[test]
fn an_advisory_about_several_flaws_does_not_make_them_one() {
    let upstream = json!({ "upstream": ["CVE-2024-1", "CVE-2024-2"] });
    let fix = advisory("DSA-1", "Debian:12", "a", "2", &upstream);
    let flaws = ["1", "2"].map(|n| {
        let upstream = json!({ "upstream": [format!("CVE-2024-{n}")] });
        advisory(&format!("DEBIAN-CVE-2024-{n}"), "Debian:12", "a", "2", &upstream)
    });
    let purl = "pkg:deb/debian/a@1?distro=debian-12";
    let both = database(&[fix.clone(), flaws[0].clone(), flaws[1].clone()]);
    assert_eq!(
        ids(&find(&both, purl)),
        [
            vec!["CVE-2024-1", "DEBIAN-CVE-2024-1", "DSA-1"],
            vec!["CVE-2024-2", "DEBIAN-CVE-2024-2", "DSA-1"]
        ]
    );
    let one = database(&[fix, flaws[0].clone()]);
    assert_eq!(
        ids(&find(&one, purl)),
        [vec!["CVE-2024-1", "DEBIAN-CVE-2024-1"], vec!["DSA-1"]]
    );
}

#[test]
fn only_the_release_that_runs_counts() {
    let database = database(&[
        advisory("DSA-1", "Debian:11", "openssl", "3", &json!({})),
        advisory("DSA-2", "Debian:12", "openssl", "3", &json!({})),
        advisory("USN-1", "Ubuntu:22.04:LTS", "openssl", "3", &json!({})),
    ]);
    for (purl, id) in [
        (
            "pkg:deb/debian/libssl@2?distro=debian-12&upstream=openssl",
            "DSA-2",
        ),
        ("pkg:deb/debian/openssl@2?distro=debian-11", "DSA-1"),
        ("pkg:deb/ubuntu/openssl@2?distro=ubuntu-22.04", "USN-1"),
    ] {
        assert_eq!(ids(&find(&database, purl)), [vec![id]], "{purl}");
    }
    // The source's version decides, not the binary package's.
    let purl = "pkg:deb/debian/libssl@1?distro=debian-12&upstream=openssl%403";
    assert_eq!(ids(&find(&database, purl)), Vec::<Vec<&str>>::new());
}

#[test]
fn packages_of_rpm_are_looked_up_by_their_sources_where_advisories_speak_of_those() {
    let database = database(&[
        advisory("RLSA-1", "Rocky Linux:9", "openssl", "1:3.0.7-25.el9", &json!({})),
        advisory("RLSA-2", "Rocky Linux:9", "perl", "4:5.32.1-481.el9", &json!({})),
        advisory(
            "SU-1",
            "openSUSE:Leap 15.5",
            "openssl-1_1",
            "1.1.1l-150500.17.9",
            &json!({}),
        ),
        advisory(
            "SU-2",
            "SUSE:Linux Enterprise Module for Basesystem 15 SP5",
            "openssl-1_1",
            "1.1.1l-150500.17.9",
            &json!({}),
        ),
        advisory("ALSA-1", "AlmaLinux:9", "openssl", "1:3.0.7-25.el9", &json!({})),
    ]);
    for (purl, expected) in [
        (
            "rocky/openssl-libs@3.0.7-24.el9?epoch=1&distro=rocky-9.3&upstream=openssl-3.0.7-24.el9.src.rpm",
            &["RLSA-1"][..],
        ),
        (
            "rocky/openssl-libs@3.0.7-25.el9?epoch=1&distro=rocky-9.3&upstream=openssl-3.0.7-25.el9.src.rpm",
            &[],
        ),
        // Its own epoch and version are not its source's, whose epoch nobody tells.
        (
            "rocky/perl-Errno@1.30-480.el9?distro=rocky-9.3&upstream=perl-5.32.1-480.el9.src.rpm",
            &["RLSA-2"],
        ),
        (
            "rocky/perl-Errno@1.30-481.el9?distro=rocky-9.3&upstream=perl-5.32.1-481.el9.src.rpm",
            &[],
        ),
        // Without a source it is its own.
        ("rocky/openssl@3.0.7-24.el9?epoch=1&distro=rocky-9.3", &["RLSA-1"]),
        ("rocky/openssl@3.0.7-26.el9?epoch=1&distro=rocky-9.3", &[]),
        (
            "opensuse/libopenssl1_1@1.1.1l-150500.17.6?distro=opensuse-leap-15.5&upstream=openssl-1_1-1.1.1l-150500.17.6.src.rpm",
            &["SU-1"],
        ),
        (
            "sles/libopenssl1_1@1.1.1l-150500.17.6?distro=sles-15.5&upstream=openssl-1_1-1.1.1l-150500.17.6.src.rpm",
            &["SU-2"],
        ),
        (
            "sles/libopenssl1_1@1.1.1l-150500.17.9?distro=sles-15.5&upstream=openssl-1_1-1.1.1l-150500.17.9.src.rpm",
            &[],
        ),
        // Its advisories name each binary package.
        (
            "almalinux/openssl-libs@3.0.7-24.el9?epoch=1&distro=almalinux-9.3&upstream=openssl-3.0.7-24.el9.src.rpm",
            &[],
        ),
    ] {
        let found = find(&database, &format!("pkg:rpm/{purl}"));
        let found: Vec<&str> = found.iter().map(|finding| finding.id.as_str()).collect();
        assert_eq!(found, expected, "{purl}");
    }
}

#[test]
fn severity_is_the_distributions_word_then_the_newest_vector_then_the_databases_word() {
    let level = |more: Value| {
        let database = database(&[advisory("A-1", "PyPI", "a", "2", &more)]);
        find(&database, "pkg:pypi/a@1").remove(0).severity
    };
    let vectors = json!([{ "type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N" },
                         { "type": "CVSS_V3", "score": LOW }, { "type": "CVSS_V3", "score": "CVSS:3.1/oops" }]);
    let severity = level(json!({ "severity": vectors }));
    assert_eq!(
        (severity.level, severity.score_tenths),
        (Level::Critical, Some(93))
    );
    let severity = level(
        json!({ "severity": [{ "type": "CVSS_V3", "score": CRITICAL }, { "type": "Ubuntu", "score": "low" }] }),
    );
    assert_eq!((severity.level, severity.score_tenths), (Level::Low, Some(100)));
    let severity = level(json!({ "database_specific": { "severity": "MODERATE" } }));
    assert_eq!((severity.level, severity.score_tenths), (Level::Medium, None));
    assert_eq!(level(json!({})).level, Level::Unknown);
}

#[test]
fn what_is_withdrawn_limited_or_only_listed() {
    let listed =
        json!([{ "package": { "ecosystem": "npm", "name": "a" }, "versions": ["1.0.0", "odd one"] }]);
    let limited = json!([{ "package": { "ecosystem": "npm", "name": "b" }, "ranges": [{ "type": "SEMVER", "events":
        [{ "introduced": "1.0.0" }, { "limit": "2.0.0" }, { "introduced": "3.0.0" }, { "last_affected": "3.1.0" }] }] }]);
    let database = database(&[
        advisory(
            "A-1",
            "npm",
            "a",
            "9.0.0",
            &json!({ "withdrawn": "2025-01-02T00:00:00Z" }),
        ),
        advisory("A-2", "npm", "a", "1", &json!({ "affected": listed })),
        advisory("A-3", "npm", "b", "1", &json!({ "affected": limited })),
    ]);
    for (purl, expected) in [
        ("pkg:npm/a@1.0.0", &["A-2"][..]),
        ("pkg:npm/a@odd%20one", &["A-2"]),
        ("pkg:npm/a@1.0.1", &[]),
        ("pkg:npm/b@1.5.0", &["A-3"]),
        ("pkg:npm/b@2.0.0", &[]),
        ("pkg:npm/b@3.0.5", &[]),
    ] {
        let found = find(&database, purl);
        assert_eq!(
            found.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(),
            expected,
            "{purl}"
        );
    }
}

#[test]
fn a_distributions_own_packages_are_left_to_its_advisories() {
    let database = database(&[advisory("A-1", "PyPI", "six", "2", &json!({}))]);
    let mut package = Package::new("pkg:pypi/six@1");
    assert_eq!(
        database
            .find(std::slice::from_ref(&package))
            .unwrap()
            .findings
            .len(),
        1
    );
    package.is_owned = true;
    let found = database.find(&[package]).unwrap();
    assert_eq!((found.findings.len(), found.unmatched.len()), (0, 0));
}

#[test]
fn what_cannot_be_matched_is_told() {
    let database = database(&[advisory("A-1", "PyPI", "a", "2", &json!({}))]);
    let purls = [
        "pkg:pypi/a",
        "pkg:pypi/a@odd",
        "pkg:generic/a@1",
        "pkg:deb/arch/a@1?distro=arch",
        "%%%",
    ];
    let found = database.find(&purls.map(Package::new)).unwrap();
    let reasons: Vec<_> = found
        .unmatched
        .iter()
        .map(|u| (u.purl.as_str(), u.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            ("%%%", UnmatchedReason::NoAdvisories),
            ("pkg:deb/arch/a@1?distro=arch", UnmatchedReason::NoAdvisories),
            ("pkg:generic/a@1", UnmatchedReason::NoAdvisories),
            ("pkg:pypi/a", UnmatchedReason::NoVersion),
            ("pkg:pypi/a@odd", UnmatchedReason::OddVersion),
        ]
    );
}
