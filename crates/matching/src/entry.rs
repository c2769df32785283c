//! Packages as the index keeps them.

use std::collections::{BTreeMap, BTreeSet};

use portwarden_advisories::{Database, DatabaseError, Finding, Package};
use portwarden_core::inventory::{Entry, PackageKey};
use portwarden_oci::Digest;
use portwarden_report::{ImageFindings, PlatformReport, Report};

/// More versions of one package than this are not shown; all are matched.
const MAX_VERSIONS: usize = 20;

/// Writes a report's packages as the index keeps them; without findings, as waiting for a database.
pub(crate) fn entries(report: &Report, findings: Option<&ImageFindings>) -> Vec<Entry> {
    let mut by_name: BTreeMap<PackageKey, BTreeMap<String, Package>> = BTreeMap::new();
    let packages = report
        .platforms
        .iter()
        .flat_map(PlatformReport::packages_to_match);
    for package in packages {
        let Some(name) = package.package_name() else {
            continue;
        };
        let key = PackageKey {
            ecosystem: name.ecosystem,
            name: name.name,
        };
        by_name
            .entry(key)
            .or_default()
            .insert(package.purl.clone(), package);
    }
    let mut by_purl: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    let platforms = findings.into_iter().flat_map(|findings| &findings.platforms);
    // What only ECR's own scanning found is no word of a database.
    let of_database = platforms
        .flat_map(|platform| &platform.findings)
        .filter(|found| found.is_of_advisories());
    for found in of_database {
        by_purl
            .entry(&found.finding.purl)
            .or_default()
            .push(&found.finding);
    }
    let entry = |(key, packages): (PackageKey, BTreeMap<String, Package>)| {
        let versions: BTreeSet<String> = packages.values().filter_map(Package::version).collect();
        let found = packages
            .keys()
            .filter_map(|purl| by_purl.get(purl.as_str()))
            .flatten();
        Entry {
            key,
            versions: versions.into_iter().take(MAX_VERSIONS).collect(),
            signature: match findings {
                Some(_) => signature(found.copied()),
                None => String::new(),
            },
            packages: serde_json::to_value(packages.into_values().collect::<Vec<_>>()).unwrap_or_default(),
        }
    };
    by_name.into_iter().map(entry).collect()
}

/// Stands for what a database says of an entry's packages.
pub(crate) fn signature_by(
    database: &Database,
    packages: &serde_json::Value,
) -> Result<String, DatabaseError> {
    // What cannot be read is matched again, and written as it should be.
    let Ok(packages) = serde_json::from_value::<Vec<Package>>(packages.clone()) else {
        return Ok("unreadable".to_owned());
    };
    Ok(signature(&database.find(&packages)?.findings))
}

/// Stands for findings, whose order and number do not matter: as long as it is the same, nothing of them has changed.
fn signature<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> String {
    let line = |finding: &'a Finding| {
        let severity = &finding.severity;
        (
            &finding.purl,
            &finding.ids,
            &finding.fixed,
            severity.level,
            &severity.vector,
        )
    };
    let lines: BTreeSet<_> = findings.into_iter().map(line).collect();
    let text = serde_json::to_vec(&lines).unwrap_or_default();
    Digest::of(&text).hex()[..16].to_owned()
}
