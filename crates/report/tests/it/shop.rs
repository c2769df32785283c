//! A shop's image, and databases of advisories about it.

use jiff::Timestamp;
use portwarden_advisories::{Bulk, Database, build, parse};
use portwarden_oci::Digest;
use portwarden_report::{ImageFindings, PlacedFinding, Report};
use serde_json::{Value, json};

pub(crate) const NOW: &str = "2026-11-23T12:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) const LOG4J: &str = "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1";
pub(crate) const OPENSSL: &str = "pkg:deb/debian/openssl@3.0.11-1?arch=amd64&distro=debian-12";

pub(crate) fn layer(index: usize) -> Digest {
    Digest::of(format!("layer {index}").as_bytes())
}

fn package(purl: &str, kind: &str, name: &str, version: &str, file: &str, index: usize) -> Value {
    json!({"purl": purl, "kind": kind, "name": name, "version": version, "file": file,
        "layer": {"index": index, "digest": layer(index)}})
}

/// An image of three layers, of which the lowest is the base image's.
pub(crate) fn image() -> Value {
    let platform = json!({
        "platform": {"os": "linux", "architecture": "amd64"},
        "digest": Digest::of(b"image"),
        "media_type": "application/vnd.oci.image.manifest.v1+json",
        "os": {"id": "debian", "version_id": "12", "pretty_name": "Debian GNU/Linux 12 (bookworm)"},
        "packages_by_kind": {"deb": 2, "maven": 1, "npm": 1},
        "base": {"layers": 1, "known_by": "history", "name": "docker.io/library/debian:12"},
        "layers": [
            {"index": 0, "digest": layer(0), "size": 48_000_000, "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
             "origin": "known", "created_by": "ADD rootfs.tar.xz / # bookworm"},
            {"index": 1, "digest": layer(1), "size": 9_000_000, "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
             "origin": "pulled", "created_by": "RUN apt-get install curl"},
            {"index": 2, "digest": layer(2), "size": 1_000, "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
             "origin": "pulled", "created_by": "COPY app /app"},
        ],
        "partial": [{"layer": {"index": 2, "digest": layer(2)}, "code": "file.malformed", "path": "app/odd", "count": 1}],
        "packages": [
            package(OPENSSL, "deb", "openssl", "3.0.11-1", "var/lib/dpkg/status", 0),
            package("pkg:deb/debian/curl@7.88.1-10?arch=amd64&distro=debian-12", "deb", "curl", "7.88.1-10", "var/lib/dpkg/status", 1),
            package(LOG4J, "maven", "org.apache.logging.log4j:log4j-core", "2.14.1", "app/legacy/log4j.jar", 2),
            package(LOG4J, "maven", "org.apache.logging.log4j:log4j-core", "2.14.1", "app/lib/log4j.jar", 2),
            package("pkg:npm/left-pad@1.3.0", "npm", "left-pad", "1.3.0", "app/node_modules/left-pad/package.json", 2),
        ],
    });
    json!({
        "schema_version": 1, "catalog_version": 4,
        "image": {"repository": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/web", "tags": ["1.4"],
            "digest": Digest::of(b"image"), "media_type": "application/vnd.oci.image.manifest.v1+json"},
        "started_at": "2026-11-23T11:59:00Z", "finished_at": "2026-11-23T11:59:02Z",
        "pulled_bytes": 9_001_000, "spared_bytes": 48_000_000, "package_count": 5,
        "packages_by_kind": {"deb": 2, "maven": 2, "npm": 1}, "partial": true,
        "platforms": [platform],
    })
}

pub(crate) fn report(image: &Value) -> Report {
    serde_json::from_value(image.clone()).unwrap()
}

/// An advisory about one package, fixed in `fixed` if that is not empty.
pub(crate) fn advisory(id: &str, alias: &str, ecosystem: &str, name: &str, fixed: &str) -> Value {
    let mut events = vec![json!({"introduced": "0"})];
    if !fixed.is_empty() {
        events.push(json!({"fixed": fixed}));
    }
    json!({
        "id": id, "aliases": [alias], "modified": "2026-10-01T00:00:00Z", "published": "2026-09-01T00:00:00Z",
        "summary": format!("{name} does what it must not"),
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "references": [{"type": "ADVISORY", "url": format!("https://advisories.example/{id}")}],
        "affected": [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}],
    })
}

/// What is known about the shop's packages.
pub(crate) fn advisories() -> Vec<Value> {
    let mut openssl = advisory("DSA-1-1", "CVE-2026-0001", "Debian:12", "openssl", "3.0.13-1");
    openssl["affected"][0]["ecosystem_specific"] = json!({"urgency": "low"});
    let mut curl = advisory("DSA-2-1", "CVE-2026-0002", "Debian:12", "curl", "");
    curl["severity"] = json!([]);
    vec![
        openssl,
        curl,
        advisory(
            "GHSA-jfh8-c2jp-5v3q",
            "CVE-2021-44228",
            "Maven",
            "org.apache.logging.log4j:log4j-core",
            "2.15.0",
        ),
    ]
}

pub(crate) fn database(advisories: &[Value]) -> Database {
    let mut bulk = Bulk::default();
    for record in advisories {
        let advisory = parse(record.to_string().as_bytes()).unwrap();
        bulk.advisories.insert(advisory.id.clone(), advisory);
    }
    Database::open(build(&bulk).unwrap()).unwrap()
}

pub(crate) fn findings(report: &Report, advisories: &[Value]) -> ImageFindings {
    ImageFindings::of_report(report, &database(advisories), now()).unwrap()
}

/// The shop's report and what is wrong with it.
pub(crate) fn shop() -> (Report, ImageFindings) {
    let report = report(&image());
    let findings = findings(&report, &advisories());
    (report, findings)
}

pub(crate) fn find<'a>(findings: &'a ImageFindings, id: &str) -> &'a PlacedFinding {
    let mut all = findings.platforms.iter().flat_map(|platform| &platform.findings);
    all.find(|found| found.finding.id == id).unwrap()
}
