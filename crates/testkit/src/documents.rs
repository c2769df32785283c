//! Documents as short as their readers take them.

use portwarden_oci::Digest;
use serde_json::{Value, json};

/// Writes the report of an image of one platform that has these packages of npm, by package URL.
pub fn report(digest: &Digest, packages: &[&str]) -> Value {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let packages: Vec<_> = packages
        .iter()
        .map(|purl| {
            json!({ "purl": purl, "kind": "npm", "name": "x", "version": "1", "file": "package.json",
                "layer": { "index": 0, "digest": digest } })
        })
        .collect();
    json!({
        "schema_version": 1, "catalog_version": 1, "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
        "image": { "repository": "r", "tags": [], "digest": digest, "media_type": media_type },
        "pulled_bytes": 0, "spared_bytes": 0, "package_count": packages.len(), "packages_by_kind": {}, "partial": false,
        "platforms": [{ "platform": null, "digest": digest, "media_type": media_type, "os": null, "packages_by_kind": {},
            "layers": [], "partial": [], "packages": packages }],
    })
}

/// Writes an OSV record about all versions of a package up to the one that fixes it.
pub fn advisory(id: &str, ecosystem: &str, package: &str, fixed: &str) -> Value {
    json!({ "id": id, "modified": "2026-01-01T00:00:00Z", "affected": [{
        "package": { "ecosystem": ecosystem, "name": package },
        "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": fixed }] }] }] })
}
