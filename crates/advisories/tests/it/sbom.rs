//! SBOMs as Syft, Trivy and Portwarden write them, and odd ones.

use portwarden_advisories::{Distribution, Package, Sbom, read_sbom};
use serde_json::{Value, json};

fn read(document: &Value) -> Sbom {
    read_sbom(document.to_string().as_bytes()).unwrap()
}

fn with_source(purl: &str, name: &str, version: &str) -> Package {
    Package {
        source: Some((name.to_owned(), Some(version.to_owned()))),
        ..Package::new(purl)
    }
}

#[test]
fn cyclonedx_is_read_with_what_it_holds_within_components() {
    let sbom = read(
        &json!({ "bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
        { "type": "operating-system", "name": "Debian", "version": "12" },
        { "type": "library", "name": "libssl3", "purl": "pkg:deb/debian/libssl3@3" },
        { "type": "application", "name": "lock", "components": [
            { "type": "library", "name": "a", "purl": "pkg:pypi/a@1",
              "properties": [{ "name": "portwarden:owned-by", "value": "pkg:deb/debian/python3-a@1" }] },
            { "type": "library", "name": "nameless" }] }] }),
    );
    assert_eq!(sbom.nameless, 2);
    let debian = Some(Distribution::parse("debian-12"));
    let libssl = Package {
        distribution: debian.clone(),
        ..Package::new("pkg:deb/debian/libssl3@3")
    };
    let a = Package {
        distribution: debian,
        is_owned: true,
        ..Package::new("pkg:pypi/a@1")
    };
    assert_eq!(sbom.packages, [libssl, a]);
}

/// Trivy 0.59 takes a source's version apart in `CycloneDX` and writes it whole in SPDX.
#[test]
fn sources_are_read_as_trivy_writes_them() {
    let login = "pkg:deb/debian/login@4.13%2Bdfsg1-1?distro=debian-12.5&epoch=1";
    let musl = "pkg:apk/alpine/musl-utils@1.2.4-r2?distro=3.18.4";
    let trivy =
        |name: &str, value: &str| json!({ "name": format!("aquasecurity:trivy:{name}"), "value": value });
    let cyclonedx = json!({ "bomFormat": "CycloneDX", "components": [
        { "type": "library", "purl": login, "properties": [trivy("SrcName", "shadow"), trivy("SrcEpoch", "1"),
            trivy("SrcVersion", "4.13+dfsg1"), trivy("SrcRelease", "1+deb12u2")] },
        { "type": "library", "purl": musl,
          "properties": [trivy("SrcName", "musl"), trivy("SrcVersion", "1.2.4-r2")] }] });
    let package = |purl: &str, source: &str| {
        json!({ "name": "x", "SPDXID": purl, "sourceInfo": source,
            "externalRefs": [{ "referenceType": "purl", "referenceLocator": purl }] })
    };
    let spdx = json!({ "spdxVersion": "SPDX-2.3", "packages": [
        package(login, "built package from: shadow 1:4.13+dfsg1-1+deb12u2"),
        package(musl, "built package from: musl 1.2.4-r2"),
        // Syft's words.
        package("pkg:npm/a@1", "acquired package info from installed node module manifest file: /a/package.json"),
        { "name": "debian", "versionInfo": "12.5", "primaryPackagePurpose": "OPERATING-SYSTEM" }] });
    let expected = [
        with_source(musl, "musl", "1.2.4-r2"),
        with_source(login, "shadow", "1:4.13+dfsg1-1+deb12u2"),
    ];
    assert_eq!(read(&cyclonedx).packages, expected);
    let spdx = read(&spdx);
    let debian = Some(Distribution::parse("debian-12.5"));
    assert!(spdx.packages.iter().all(|package| package.distribution == debian));
    let sources: Vec<_> = spdx.packages.iter().map(|package| &package.source).collect();
    assert_eq!(sources, [&expected[0].source, &expected[1].source, &None]);
    assert_eq!(
        spdx.nameless, 0,
        "an operating system is no package that was not named"
    );
}

/// Syft 1.18 and Portwarden say it in two ways.
#[test]
fn what_a_distributions_package_installed_is_told_in_spdx_too() {
    let package = |id: &str, purl: &str| {
        json!({ "name": id, "SPDXID": id,
            "externalRefs": [{ "referenceType": "purl", "referenceLocator": purl }] })
    };
    let related = |from: &str, kind: &str, to: &str, comment: &str| json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to, "comment": comment });
    let sbom = read(&json!({ "spdxVersion": "SPDX-2.3", "packages": [
            package("image", "pkg:oci/x@sha256:0"), package("deb", "pkg:deb/debian/a@1"),
            package("deb2", "pkg:deb/debian/b@1"), package("app", "pkg:npm/app@1"),
            package("by-syft", "pkg:pypi/c@1"), package("ours", "pkg:pypi/d@1"), package("free", "pkg:pypi/e@1"),
            package("", "pkg:deb/debian/f@1"), package("", "pkg:pypi/f@1")],
        "relationships": [
            related("image", "CONTAINS", "free", ""),
            related("app", "CONTAINS", "free", ""),
            related("deb", "DEPENDS_ON", "free", ""),
            related("deb", "OTHER", "free", "evident-by: indicates the package's existence is evident by the given file"),
            related("deb", "OTHER", "by-syft", "ownership-by-file-overlap: indicates that the parent package claims"),
            related("deb", "CONTAINS", "ours", ""),
            related("deb", "CONTAINS", "deb2", ""),
            related("", "CONTAINS", "", "")] }));
    let owned: Vec<&str> = sbom
        .packages
        .iter()
        .filter(|package| package.is_owned)
        .map(|package| package.purl.as_str())
        .collect();
    assert_eq!(owned, ["pkg:pypi/c@1", "pkg:pypi/d@1"]);
}

#[test]
fn spdx_is_read_with_what_has_no_package_url_counted() {
    let sbom = read(&json!({ "spdxVersion": "SPDX-2.2", "packages": [
        { "name": "image", "externalRefs": [{ "referenceType": "purl", "referenceLocator": "pkg:oci/x@sha256:0" }] },
        { "name": "a", "externalRefs": [{ "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a" },
                                        { "referenceType": "purl", "referenceLocator": "pkg:npm/a@1" }] },
        { "name": "root", "primaryPackagePurpose": "FILE" },
        { "name": "b" }] }));
    assert_eq!(
        (sbom.packages, sbom.nameless),
        (vec![Package::new("pkg:npm/a@1")], 1)
    );
}

#[test]
fn odd_documents_lose_nothing() {
    let sbom = read(
        &json!({ "bomFormat": "CycloneDX", "specVersion": "9.9", "serialNumber": 1, "components": [
        { "purl": "pkg:npm/a@1", "name": null, "type": null, "properties": null, "components": null },
        // A property without a name says nothing.
        { "purl": "pkg:npm/b@1", "properties": [{ "value": "x" }, { "name": null, "value": null }, {}] },
        { "purl": "" }, { "purl": "no package url" }, { "purl": null }, {}] }),
    );
    let purls: Vec<&str> = sbom
        .packages
        .iter()
        .map(|package| package.purl.as_str())
        .collect();
    assert_eq!(purls, ["", "no package url", "pkg:npm/a@1", "pkg:npm/b@1"]);
    assert!(!sbom.packages.iter().any(|package| package.is_owned));
    assert_eq!(sbom.nameless, 2);
    let marked = "\u{feff}{\"bomFormat\": \"CycloneDX\"}";
    assert_eq!(read_sbom(marked.as_bytes()).unwrap(), Sbom::default());
    for nothing in [
        json!({ "bomFormat": "CycloneDX", "components": null }),
        json!({ "bomFormat": "CycloneDX" }),
        json!({ "spdxVersion": "SPDX-2.3", "packages": null, "relationships": null }),
        json!({ "spdxVersion": "SPDX-2.3", "packages": [{ "externalRefs": null, "sourceInfo": null, "primaryPackagePurpose": "CONTAINER" }] }),
    ] {
        assert_eq!(read(&nothing), Sbom::default(), "{nothing}");
    }
    for other in [
        "{}",
        "[]",
        "",
        "null",
        r#"{"spdxVersion":"SPDX-3.0"}"#,
        r#"{"bomFormat":"CycloneDX","components":{}}"#,
    ] {
        assert!(read_sbom(other.as_bytes()).is_err(), "{other}");
    }
}
