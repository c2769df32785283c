//! Findings in `CycloneDX` 1.6: the SBOM with its vulnerabilities, which is also a VEX document.

use std::collections::BTreeMap;

use portwarden_advisories::{Level, Severity};
use portwarden_catalog::cyclonedx::{reference_of, write_with};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    ImageFindings, PlacedFinding, PlatformReport, Report, Suppression, SuppressionKind, link::is_uri,
};

/// Writes the SBOM of one of a report's platforms with what is wrong with its packages; the same input gives the same bytes.
///
/// Source: the `CycloneDX` 1.6 JSON schema.
pub fn write(report: &Report, platform: &PlatformReport, findings: &ImageFindings) -> Vec<u8> {
    let of_platform = findings
        .platforms
        .iter()
        .filter(|found| found.digest == platform.digest);
    let vulnerabilities = of_platform
        .flat_map(|of_platform| &of_platform.findings)
        .map(|found| {
            let places = found.places.iter();
            vulnerability(
                found,
                places
                    .map(|place| reference_of(&found.finding.purl, &place.file))
                    .collect(),
            )
        });
    let further = Further {
        vulnerabilities: vulnerabilities.collect(),
    };
    write_with(&platform.catalog(), &report.subject(platform), &further)
}

/// What an SBOM has in addition where packages were compared with advisories.
#[derive(Serialize)]
struct Further {
    vulnerabilities: Vec<Value>,
}

/// Writes what is wrong with the packages of somebody's SBOM: a document of its own, with the packages that are affected.
/// `name` is what the SBOM is called.
pub fn write_of_sbom(name: &str, findings: &ImageFindings) -> Vec<u8> {
    let all = || findings.platforms.iter().flat_map(|platform| &platform.findings);
    let components: BTreeMap<&str, Value> = all()
        .map(|found| {
            let mut component = json!({
                "type": "library",
                "bom-ref": found.finding.purl,
                "name": found.name,
                "purl": found.finding.purl,
            });
            if let Some(version) = &found.version {
                component["version"] = json!(version);
            }
            (found.finding.purl.as_str(), component)
        })
        .collect();
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": findings.matched_at.to_string(),
            "tools": {"components": [{
                "type": "application",
                "name": "portwarden",
                "version": env!("CARGO_PKG_VERSION"),
            }]},
            "component": {
                "type": "file",
                "bom-ref": findings.digest,
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": findings.digest.hex()}],
            },
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "vulnerabilities": all()
            .map(|found| vulnerability(found, vec![found.finding.purl.clone()]))
            .collect::<Vec<_>>(),
    });
    document.to_string().into_bytes()
}

fn vulnerability(found: &PlacedFinding, mut affected: Vec<String>) -> Value {
    let finding = &found.finding;
    affected.sort();
    affected.dedup();
    let mut vulnerability = json!({
        "bom-ref": format!("{}#{}", finding.id, finding.purl),
        "id": finding.id,
        "source": source(found),
        "references": finding
            .ids
            .iter()
            .filter(|id| **id != finding.id)
            .map(|id| json!({"id": id, "source": source_of(id)}))
            .collect::<Vec<_>>(),
        "ratings": ratings(found),
        "advisories": finding
            .links
            .iter()
            .filter(|link| is_uri(link))
            .map(|link| json!({"url": link}))
            .collect::<Vec<_>>(),
        "updated": finding.modified.to_string(),
        "affects": affected.iter().map(|reference| json!({"ref": reference})).collect::<Vec<_>>(),
        "properties": properties(found, affected.is_empty()),
    });
    if !finding.summary.is_empty() {
        vulnerability["description"] = json!(finding.summary);
    }
    if let Some(fixed) = &finding.fixed {
        vulnerability["recommendation"] = json!(format!("Update {} to {fixed} or newer.", found.name));
    }
    if let Some(published) = finding.published {
        vulnerability["published"] = json!(published.to_string());
    }
    if let Some(suppressed) = &found.suppressed {
        vulnerability["analysis"] = analysis(suppressed);
    }
    vulnerability
}

/// Says who found it, and of which package where the SBOM has none of that name.
fn properties(found: &PlacedFinding, is_of_no_component: bool) -> Vec<Value> {
    let by = found.found_by.iter();
    let mut properties: Vec<Value> = by
        .map(|by| json!({"name": "portwarden:foundBy", "value": by.as_str()}))
        .collect();
    if is_of_no_component {
        properties.push(json!({"name": "portwarden:package", "value": found.finding.purl}));
    }
    properties
}

/// Says who told of a flaw under its name; readers tell flaws apart by both.
fn source(found: &PlacedFinding) -> Value {
    match found.finding.id.split('-').next() {
        Some("CVE" | "GHSA") => source_of(&found.finding.id),
        _ if !found.is_of_advisories() => json!({"name": ECR}),
        _ => source_of(&found.finding.id),
    }
}

/// Who found what no advisory speaks of.
const ECR: &str = "Amazon ECR";

fn source_of(id: &str) -> Value {
    match id.split('-').next() {
        Some("CVE") => json!({"name": "NVD", "url": format!("https://nvd.nist.gov/vuln/detail/{id}")}),
        Some("GHSA") => json!({"name": "GitHub", "url": format!("https://github.com/advisories/{id}")}),
        _ => json!({"name": "OSV", "url": format!("https://osv.dev/vulnerability/{id}")}),
    }
}

/// The level that counts, and what ECR's own scanning says where an advisory counts.
fn ratings(found: &PlacedFinding) -> Vec<Value> {
    let mut ratings = vec![rating(&found.finding.severity)];
    if let Some(registry) = found.registry.as_ref().filter(|_| found.is_of_advisories()) {
        let word = word(registry.severity);
        ratings.push(json!({"source": {"name": ECR}, "severity": word, "method": "other"}));
    }
    ratings
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Unknown => "unknown",
        Level::Negligible => "info",
        level => level.as_str(),
    }
}

/// A level, and the CVSS score where there is one.
fn rating(severity: &Severity) -> Value {
    let word = word(severity.level);
    let Some(vector) = &severity.vector else {
        return json!({"severity": word, "method": "other"});
    };
    let method = match vector.split('/').next() {
        Some("CVSS:4.0") => "CVSSv4",
        Some("CVSS:3.1") => "CVSSv31",
        Some("CVSS:3.0") => "CVSSv3",
        _ => "CVSSv2",
    };
    let mut rating = json!({"severity": word, "method": method, "vector": vector});
    if let Some(tenths) = severity.score_tenths {
        rating["score"] = json!(f64::from(tenths) / 10.0);
    }
    rating
}

/// Says in `CycloneDX`'s words why a finding does not count. Who only ignores a finding has not said that it is none.
fn analysis(suppressed: &Suppression) -> Value {
    let state = match suppressed.kind {
        SuppressionKind::VexNotAffected => "not_affected",
        SuppressionKind::VexFixed => "resolved",
        SuppressionKind::IgnoreRule => "in_triage",
    };
    let mut detail = suppressed.reason.clone();
    if let Some(expires) = suppressed.expires {
        detail = format!("{detail} (ignored until {expires})");
    }
    let mut analysis = json!({"state": state, "detail": detail});
    let justification = match suppressed.justification.as_deref() {
        Some("component_not_present" | "vulnerable_code_not_present") => Some("code_not_present"),
        Some("vulnerable_code_not_in_execute_path") => Some("code_not_reachable"),
        Some("inline_mitigations_already_exist") => Some("protected_by_mitigating_control"),
        // CycloneDX has no word for "cannot be controlled by adversary".
        _ => None,
    };
    if let (Some(justification), "not_affected") = (justification, state) {
        analysis["justification"] = json!(justification);
    }
    analysis
}
