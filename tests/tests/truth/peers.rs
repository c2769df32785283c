//! What both other scanners find, we find. What only one finds is judged in `docs/peers.md`.

use std::{collections::BTreeSet, process::Command, str::FromStr as _};

use packageurl::PackageUrl;
use serde_json::Value;

use crate::{image::RealImage, output_of};

/// What a package is compared by: type, name with its namespace, version.
type Row = (String, String, String);

fn row(purl: &str) -> Row {
    let purl = PackageUrl::from_str(purl).unwrap();
    let kind = purl.ty().to_owned();
    let version = purl.version().unwrap_or_default();
    if kind == "deb" {
        // Each writes its own namespace, and the epoch in the version, in a qualifier or not at all.
        let (_, version) = version.split_once(':').unwrap_or(("", version));
        return (kind, purl.name().to_owned(), version.to_owned());
    }
    let namespace = purl.namespace().map(|namespace| format!("{namespace}/"));
    let name = format!("{}{}", namespace.unwrap_or_default(), purl.name());
    let name = if kind == "pypi" {
        name.to_lowercase().replace(['_', '.'], "-")
    } else {
        name
    };
    (kind, name, version.to_owned())
}

/// Reads what a peer lists in CycloneDX: packages of an ecosystem that have a version.
fn rows(sbom: &str) -> BTreeSet<Row> {
    let sbom: Value = serde_json::from_str(sbom).unwrap();
    let components = sbom["components"].as_array().unwrap().iter();
    let purls = components.filter_map(|component| component["purl"].as_str());
    purls
        .map(row)
        .filter(|(_, _, version)| !version.is_empty())
        .collect()
}

/// Compares what is found with what Syft and Trivy find in the same image.
pub(crate) fn compare(image: &RealImage, report: &Value) {
    let layout = image.layout().display().to_string();
    let mut syft = Command::new("syft");
    syft.args(["scan", "--quiet", "--output", "cyclonedx-json"])
        .arg(format!("oci-dir:{layout}"))
        .env("SYFT_CHECK_FOR_APP_UPDATE", "false");
    let mut trivy = Command::new("trivy");
    trivy.args([
        "image",
        "--quiet",
        "--scanners",
        "",
        "--format",
        "cyclonedx",
        "--input",
        &layout,
    ]);
    trivy.arg("--cache-dir").arg(image.scratch());
    let (Some(syft), Some(trivy)) = (output_of(&mut syft), output_of(&mut trivy)) else {
        return;
    };
    let (syft, trivy) = (rows(&syft), rows(&trivy));
    let packages = report["packages"].as_array().unwrap().iter();
    let ours: BTreeSet<Row> = packages
        .map(|package| row(package["purl"].as_str().unwrap()))
        .collect();
    let both: BTreeSet<Row> = syft.intersection(&trivy).cloned().collect();
    for kind in ["deb", "pypi", "npm", "gem"] {
        let count = both.iter().filter(|(of, ..)| of == kind).count();
        assert!(count > 8, "the peers found {count} of {kind}");
    }
    let missed: Vec<_> = both.difference(&ours).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
