//! Findings as SARIF 2.1.0, with what GitHub's code scanning needs.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use portwarden_advisories::Level;
use portwarden_oci::{Digest, Platform};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{ImageFindings, PlacedFinding, PlatformFindings, Report, Side, link::is_uri, purl::versionless};

/// Writes findings; the same input gives the same bytes. `name` is what was looked at: an image's or an SBOM's name.
///
/// Sources: SARIF 2.1.0 with errata 01; GitHub, "SARIF support for code scanning". Each platform is a run of its own, each
/// flaw a rule, and each package that has it a result.
///
/// # Panics
///
/// Never: texts, numbers and lists can always be written as JSON.
pub fn write(name: &str, report: Option<&Report>, findings: &ImageFindings) -> Vec<u8> {
    let runs: Vec<Run<'_>> = findings
        .platforms
        .iter()
        .map(|platform| run(name, report, findings, platform))
        .collect();
    let log = Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs,
    };
    serde_json::to_vec(&log).expect("texts, numbers and lists can be written as JSON")
}

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: Vec<Run<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    automation_details: Value,
    original_uri_base_ids: Value,
    invocations: [Value; 1],
    results: Vec<Finding<'a>>,
    column_kind: &'static str,
    properties: Value,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver<'a> {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    id: &'a str,
    name: &'static str,
    short_description: Text,
    full_description: Text,
    help: Help,
    #[serde(skip_serializing_if = "Option::is_none")]
    help_uri: Option<&'a str>,
    default_configuration: Value,
    properties: RuleProperties<'a>,
}

#[derive(Serialize)]
struct RuleProperties<'a> {
    tags: [&'a str; 3],
    /// A number in a text, as GitHub reads it.
    #[serde(rename = "security-severity", skip_serializing_if = "Option::is_none")]
    security_severity: Option<String>,
    aliases: &'a [String],
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
struct Help {
    text: String,
    markdown: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding<'a> {
    rule_id: &'a str,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: Vec<Value>,
    partial_fingerprints: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suppressions: Vec<Value>,
    properties: Value,
}

/// What paths of an image are relative to.
const ROOT: &str = "ROOTFS";

fn run<'a>(
    name: &str,
    report: Option<&Report>,
    findings: &ImageFindings,
    platform: &'a PlatformFindings,
) -> Run<'a> {
    let mut rules: Vec<&PlacedFinding> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut results = Vec::new();
    // The worst come first, so that a rule has the worst severity of its results.
    for found in &platform.findings {
        let index = *places.entry(&found.finding.id).or_insert_with(|| {
            rules.push(found);
            rules.len() - 1
        });
        results.push(result(name, found, index));
    }
    let own = report.and_then(|report| report.platforms.iter().find(|own| own.digest == platform.digest));
    let missing: Vec<Value> = own
        .iter()
        .flat_map(|own| &own.partial)
        .map(|missing| {
            let text = format!("layer {}: {}", missing.layer.index, missing.partial);
            json!({"level": "warning", "message": {"text": text},
                "descriptor": {"id": missing.partial.code.as_str()}})
        })
        .collect();
    let of_platform = platform.platform.as_ref().map(Platform::to_string);
    Run {
        tool: Tool {
            driver: Driver {
                name: "Portwarden",
                semantic_version: env!("CARGO_PKG_VERSION"),
                rules: rules.into_iter().map(rule).collect(),
            },
        },
        // What GitHub takes for the category: results of another image or platform do not replace these.
        automation_details: json!({
            "id": format!("portwarden/{name}/{}/", of_platform.as_deref().unwrap_or("any")),
        }),
        original_uri_base_ids: json!({
            ROOT: {"uri": "file:///", "description": {"text": "the root of the image's file system"}},
        }),
        invocations: [json!({
            "executionSuccessful": true,
            "endTimeUtc": findings.matched_at.to_string(),
            "toolExecutionNotifications": missing,
        })],
        results,
        column_kind: "unicodeCodePoints",
        properties: json!({
            "image": name,
            "digest": platform.digest,
            "platform": of_platform,
            "catalogVersion": findings.catalog_version,
            "advisoryDatabase": findings.database.version,
            "registryScan": findings.registry_scan,
        }),
    }
}

fn rule(found: &PlacedFinding) -> Rule<'_> {
    let finding = &found.finding;
    let summary = match finding.summary.as_str() {
        "" => format!("{} in {}", finding.id, found.name),
        summary => summary.to_owned(),
    };
    let links: Vec<String> = finding.links.iter().map(|link| format!("- <{link}>")).collect();
    let names = finding.ids.join(", ");
    Rule {
        id: &finding.id,
        name: "VulnerablePackage",
        short_description: Text {
            text: summary.clone(),
        },
        full_description: Text {
            text: summary.clone(),
        },
        help: Help {
            text: format!("{summary}\nKnown as {names}\n{}", finding.links.join("\n")),
            markdown: format!(
                "{}\n\nKnown as {names}\n\n{}",
                escape_markdown(&summary),
                links.join("\n")
            ),
        },
        help_uri: finding.links.iter().map(String::as_str).find(|link| is_uri(link)),
        default_configuration: json!({"level": level(finding.severity.level)}),
        properties: RuleProperties {
            tags: ["security", "vulnerability", finding.severity.level.as_str()],
            security_severity: security_severity(found),
            aliases: &finding.ids,
        },
    }
}

fn result<'a>(name: &str, found: &'a PlacedFinding, index: usize) -> Finding<'a> {
    let finding = &found.finding;
    let version = found.version.as_deref().unwrap_or("of unknown version");
    let fix = match &finding.fixed {
        Some(fixed) => format!("fixed in {fixed}"),
        None => "no fix is known".to_owned(),
    };
    let message = format!("{} {version} has {}; {fix}", found.name, finding.id);
    let mut locations: Vec<Value> = found
        .places
        .iter()
        .map(|place| {
            let side = match place.side {
                Some(Side::Base) => " (base image)",
                Some(Side::Yours) => " (yours)",
                None => "",
            };
            json!({
                "physicalLocation": {
                    "artifactLocation": {"uri": relative_uri(&place.file), "uriBaseId": ROOT},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"name": found.name, "fullyQualifiedName": finding.purl, "kind": "package"}],
                "message": {"text": format!("layer {}{side}, {}", place.layer.index, place.layer.digest)},
            })
        })
        .collect();
    if locations.is_empty() {
        // The packages of an SBOM have no place, and GitHub needs one.
        locations.push(json!({
            "physicalLocation": {
                "artifactLocation": {"uri": relative_uri(name)},
                "region": {"startLine": 1},
            },
            "logicalLocations": [{"name": found.name, "fullyQualifiedName": finding.purl, "kind": "package"}],
        }));
    }
    Finding {
        rule_id: &finding.id,
        rule_index: index,
        level: level(finding.severity.level),
        message: Text { text: message },
        locations,
        partial_fingerprints: BTreeMap::from([("portwardenFinding/v1", fingerprint(found))]),
        suppressions: found
            .suppressed
            .iter()
            .map(|suppressed| json!({"kind": "external", "status": "accepted", "justification": suppressed.reason}))
            .collect(),
        properties: json!({
            "purl": finding.purl,
            "fixedVersion": finding.fixed,
            "severity": finding.severity.level,
            "cvss": finding.severity.vector,
            "foundBy": found.found_by,
            "registry": found.registry,
        }),
    }
}

/// Names a finding the same way in every version of its package and every layer, so that it is one alert.
fn fingerprint(found: &PlacedFinding) -> String {
    let files = found.places.iter().map(|place| place.file.as_str());
    let parts: Vec<&str> = [found.finding.id.as_str()].into_iter().chain(files).collect();
    let text = format!("{}\0{}", versionless(&found.finding.purl), parts.join("\0"));
    Digest::of(text.as_bytes()).hex()
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::High => "error",
        Level::Medium => "warning",
        Level::Low | Level::Negligible | Level::Unknown => "note",
    }
}

/// Says how bad a flaw is as a score: its own, or one of its level where a distribution's word overrides the score.
///
/// Source: GitHub, "SARIF support for code scanning": over 9.0 is critical, 7.0 to 8.9 high, 4.0 to 6.9 medium, and up to
/// 3.9 low.
fn security_severity(found: &PlacedFinding) -> Option<String> {
    let severity = &found.finding.severity;
    let (least, most) = match severity.level {
        Level::Critical => (91, 100),
        Level::High => (70, 89),
        Level::Medium => (40, 69),
        Level::Low => (2, 39),
        Level::Negligible => (1, 1),
        Level::Unknown => return None,
    };
    let tenths = severity
        .score_tenths
        .unwrap_or(least + (most - least) / 2)
        .clamp(least, most);
    Some(format!("{}.{}", tenths / 10, tenths % 10))
}

/// What may stand in a path of a URI as it is (RFC 3986).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Writes a path as a relative reference, whatever is in it.
fn relative_uri(path: &str) -> String {
    utf8_percent_encode(path.trim_start_matches('/'), PLAIN).to_string()
}

/// Takes their meaning from characters that have one in Markdown.
fn escape_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\`*_{}[]<>()#+!|~&".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
