//! Ignore rules and `OpenVEX` statements, and what they make of findings.

use portwarden_advisories::Level;
use portwarden_oci::Digest;
use portwarden_report::{ImageFindings, Report, Side, SuppressionKind, Suppressions};
use serde_json::{Value, json};

use crate::shop::{LOG4J, OPENSSL, find, now, shop};

const LOG4SHELL: &str = "CVE-2021-44228";

fn rules(fields: &Value) -> Suppressions {
    let mut rule = json!({"id": LOG4SHELL, "reason": "gone from the archive", "expires": "2026-11-23"});
    for (key, value) in fields.as_object().unwrap() {
        rule[key] = value.clone();
    }
    let mut suppressions = Suppressions::default();
    let text = json!({"rules": [rule]}).to_string();
    suppressions.add_rules("rules.yaml", text.as_bytes()).unwrap();
    suppressions
}

fn statement(id: &str, product: &Value, status: &str, at: &str) -> Value {
    json!({"vulnerability": {"name": id}, "products": [product], "status": status, "timestamp": at,
        "justification": "vulnerable_code_not_in_execute_path"})
}

fn vex(statements: &[Value]) -> Suppressions {
    let document = json!({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex", "author": "shop",
        "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": statements});
    let mut suppressions = Suppressions::default();
    suppressions
        .add_vex("vex.json", document.to_string().as_bytes())
        .unwrap();
    suppressions
}

/// Tells whether a flaw is suppressed.
fn hides(suppressions: &Suppressions, id: &str) -> bool {
    let (report, mut findings) = shop();
    suppressions.apply(&mut findings, Some(&report), now());
    find(&findings, id).suppressed.is_some()
}

#[test]
fn findings_say_where_their_packages_lie_and_whose_layers_those_are() {
    let (_, findings) = shop();
    let log4j = find(&findings, LOG4SHELL);
    let files: Vec<&str> = log4j.places.iter().map(|place| place.file.as_str()).collect();
    assert_eq!(files, ["app/legacy/log4j.jar", "app/lib/log4j.jar"]);
    assert_eq!(log4j.side(), Some(Side::Yours));
    assert_eq!(find(&findings, "CVE-2026-0001").side(), Some(Side::Base));
    assert_eq!(
        find(&findings, "CVE-2026-0001").finding.severity.level,
        Level::Low
    );
    assert_eq!(find(&findings, "CVE-2026-0002").finding.fixed, None);
    assert_eq!(findings.counts.values().sum::<usize>(), 3);
    assert_eq!((findings.fixable, findings.suppressed), (2, 0));
    assert_eq!(findings.worst(), Some(Level::Critical));
}

#[test]
fn a_rule_holds_where_all_that_it_names_fits() {
    for (fields, is_hidden) in [
        (json!({}), true),
        (json!({"id": "ghsa-jfh8-c2jp-5v3q"}), true),
        (json!({"id": "CVE-2021-4422"}), false),
        (json!({"package": "org.apache.logging.log4j:log4j-core"}), true),
        (json!({"package": "log4j-core"}), false),
        (
            json!({"package": "pkg:maven/org.apache.logging.log4j/log4j-core"}),
            true,
        ),
        (json!({"package": LOG4J}), true),
        (
            json!({"package": "pkg:maven/org.apache.logging.log4j/log4j-core@2.15.0"}),
            false,
        ),
        (json!({"path": "app"}), true),
        // One of the two places lies elsewhere.
        (json!({"path": "app/legacy"}), false),
        (json!({"path": "ap"}), false),
        // To the end of its last day.
        (json!({"expires": "2026-11-22"}), false),
        (json!({"expires": "2026-11-23"}), true),
    ] {
        assert_eq!(hides(&rules(&fields), LOG4SHELL), is_hidden, "{fields}");
        assert!(!hides(&rules(&fields), "CVE-2026-0001"), "{fields}");
    }
}

#[test]
fn what_is_suppressed_stays_and_says_why() {
    let (report, mut findings) = shop();
    rules(&json!({})).apply(&mut findings, Some(&report), now());
    let suppressed = find(&findings, LOG4SHELL).suppressed.clone().unwrap();
    assert_eq!(suppressed.kind, SuppressionKind::IgnoreRule);
    assert_eq!(suppressed.reason, "gone from the archive");
    assert_eq!(suppressed.source, "rules.yaml");
    assert_eq!(suppressed.expires.unwrap().to_string(), "2026-11-23");
    assert_eq!((findings.fixable, findings.suppressed), (1, 1));
    assert_eq!(findings.worst(), Some(Level::Low));
    assert_eq!(findings.open().count(), 2);
    // Nothing is left of it without the rule.
    Suppressions::default().apply(&mut findings, Some(&report), now());
    assert_eq!(findings, shop().1);
}

#[test]
fn a_rule_that_expired_is_named_only_where_it_would_have_mattered() {
    let (report, mut findings) = shop();
    rules(&json!({"expires": "2026-11-01"})).apply(&mut findings, Some(&report), now());
    let [rule] = findings.expired_rules.as_slice() else {
        panic!("{:?}", findings.expired_rules);
    };
    assert_eq!(
        (rule.id.as_str(), rule.expired.to_string().as_str()),
        (LOG4SHELL, "2026-11-01")
    );
    rules(&json!({"expires": "2026-11-01", "id": "CVE-1"})).apply(&mut findings, Some(&report), now());
    assert_eq!(findings.expired_rules, []);
    // A newer rule about the same finding counts.
    let mut both = rules(&json!({"expires": "2026-11-01"}));
    let newer = format!("rules: [{{id: {LOG4SHELL}, reason: again, expires: 2027-01-01}}]");
    both.add_rules("newer.yaml", newer.as_bytes()).unwrap();
    both.apply(&mut findings, Some(&report), now());
    assert_eq!(
        find(&findings, LOG4SHELL).suppressed.as_ref().unwrap().source,
        "newer.yaml"
    );
    assert_eq!(findings.expired_rules, []);
}

#[test]
fn a_product_is_the_image_or_the_package_itself() {
    let image = Digest::of(b"image");
    let of_image = |rest: &str| json!({"@id": format!("pkg:oci/web{rest}")});
    let log4j = "pkg:maven/org.apache.logging.log4j/log4j-core";
    let subcomponents = |purl: &str| json!({"@id": "pkg:oci/web", "subcomponents": [{"@id": purl}]});
    let repository = "111122223333.dkr.ecr.eu-west-1.amazonaws.com%2Fshop%2Fweb";
    for (product, is_meant) in [
        (json!({"@id": LOG4J}), true),
        (json!({"@id": log4j}), true),
        (json!({"identifiers": {"purl": log4j}}), true),
        (
            json!({"@id": "https://example.org/log4j", "identifiers": {"purl": log4j}}),
            true,
        ),
        (json!({"@id": format!("{log4j}@2.15.0")}), false),
        (of_image(""), true),
        (of_image(&format!("@{image}").replace(':', "%3A")), true),
        (
            of_image(&format!("@{}", Digest::of(b"other")).replace(':', "%3A")),
            false,
        ),
        (of_image(&format!("?repository_url={repository}&tag=1.4")), true),
        (of_image("?repository_url=other.example%2Fweb"), false),
        (of_image("?tag=1.3"), false),
        (of_image("?arch=arm64"), false),
        (json!({"@id": "pkg:oci/shop"}), false),
        (json!({"@id": "pkg:docker/web"}), false),
        (json!({"hashes": {"sha-256": image.hex()}}), true),
        (json!({"hashes": {"sha-256": Digest::of(b"other").hex()}}), false),
        (subcomponents(log4j), true),
        (
            subcomponents("pkg:maven/org.apache.logging.log4j/log4j-core@2.15.0"),
            false,
        ),
        (subcomponents("log4j"), false),
        // A product that is another package: what uses what is not known.
        (json!({"@id": OPENSSL, "subcomponents": [{"@id": log4j}]}), false),
        (json!({"@id": log4j, "subcomponents": [{"@id": log4j}]}), false),
    ] {
        let statement = statement(LOG4SHELL, &product, "not_affected", "2026-01-02T00:00:00Z");
        assert_eq!(hides(&vex(&[statement]), LOG4SHELL), is_meant, "{product}");
    }
}

#[test]
fn the_latest_statement_counts_whatever_it_says() {
    let product = json!({"@id": LOG4J});
    let at =
        |status: &str, day: &str| statement(LOG4SHELL, &product, status, &format!("2026-01-{day}T00:00:00Z"));
    for (statements, kind) in [
        (
            vec![at("not_affected", "01")],
            Some(SuppressionKind::VexNotAffected),
        ),
        (vec![at("fixed", "01")], Some(SuppressionKind::VexFixed)),
        (vec![at("affected", "01")], None),
        (vec![at("under_investigation", "01")], None),
        (
            vec![at("under_investigation", "01"), at("fixed", "02")],
            Some(SuppressionKind::VexFixed),
        ),
        // The order in the document does not matter, but for those of one time.
        (vec![at("affected", "03"), at("not_affected", "02")], None),
        (
            vec![at("affected", "02"), at("not_affected", "02")],
            Some(SuppressionKind::VexNotAffected),
        ),
    ] {
        let (report, mut findings) = shop();
        vex(&statements).apply(&mut findings, Some(&report), now());
        let suppressed = find(&findings, LOG4SHELL).suppressed.as_ref();
        assert_eq!(
            suppressed.map(|suppressed| suppressed.kind),
            kind,
            "{statements:?}"
        );
    }
    // Aliases name the same flaw.
    let mut aliased = at("not_affected", "01");
    aliased["vulnerability"] = json!({"name": "VENDOR-1", "aliases": ["GHSA-jfh8-c2jp-5v3q"]});
    assert!(hides(&vex(&[aliased]), LOG4SHELL));
}

#[test]
fn without_a_report_no_image_is_known() {
    let apply = |suppressions: &Suppressions, report: Option<&Report>| -> ImageFindings {
        let mut findings = shop().1;
        suppressions.apply(&mut findings, report, now());
        findings
    };
    let image = vex(&[statement(
        LOG4SHELL,
        &json!({"@id": "pkg:oci/web"}),
        "fixed",
        "2026-01-02T00:00:00Z",
    )]);
    assert_eq!(apply(&image, None).suppressed, 0);
    assert_eq!(apply(&image, Some(&shop().0)).suppressed, 1);
    let package = vex(&[statement(
        LOG4SHELL,
        &json!({"@id": LOG4J}),
        "fixed",
        "2026-01-02T00:00:00Z",
    )]);
    assert_eq!(apply(&package, None).suppressed, 1);
}
