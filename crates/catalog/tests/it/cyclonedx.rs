//! The SBOM as it is written.

use portwarden_catalog::{ImageCatalog, LayerCatalog, PartialCode, Subject, cyclonedx};
use portwarden_oci::{Digest, Platform};
use serde_json::Value;

use crate::blob::{Blob, dpkg_status, image};

pub(crate) fn subject() -> Subject {
    Subject {
        repository: "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/web".into(),
        digest: Digest::of(b"manifest"),
        platform: Some(Platform {
            os: "linux".into(),
            architecture: "arm64".into(),
            variant: Some("v8".into()),
        }),
        catalogued_at: "2026-11-23T10:00:00Z".parse().unwrap(),
    }
}

pub(crate) fn sample() -> ImageCatalog {
    let scoped = "app/node_modules/@shop/cart/package.json";
    let six = "usr/lib/python3/dist-packages/six-1.16.0.egg-info";
    let base = Blob::new()
        .file(
            "etc/os-release",
            "ID=debian\nVERSION_ID=12\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
        )
        .file(
            "var/lib/dpkg/status",
            dpkg_status(&[("bash", "5.2.15-2+b2"), ("python3-six", "1.16.0-4")]) + "Source: six\n",
        )
        .file("var/lib/dpkg/info/python3-six.list", format!("/{six}\n"))
        .file(six, "Name: six\nVersion: 1.16.0\nLicense: MIT\n");
    let above = Blob::new()
        .file(
            scoped,
            r#"{"name":"@shop/cart","version":"1.0.0","license":"(MIT OR Apache-2.0)"}"#,
        )
        .file(
            "srv/app.egg-info/PKG-INFO",
            "Name: app\nLicense: Our own\nLicense: MIT\n",
        )
        .file(
            "srv/specifications/rake-13.0.6.gemspec",
            "# stub: rake 13.0.6 ruby lib\n s.licenses = [\"MIT\", \"Ruby or so\"]\n",
        );
    image(&[
        base.catalog(),
        above.catalog(),
        LayerCatalog::unread(PartialCode::Foreign),
    ])
}

#[test]
fn the_document_is_as_reviewed() {
    let mut bom: Value = serde_json::from_slice(&cyclonedx::write(&sample(), &subject())).unwrap();
    // These change with each release.
    bom["metadata"]["tools"].take();
    bom["serialNumber"].take();
    insta::assert_json_snapshot!(bom);
}

#[test]
fn the_same_input_gives_the_same_bytes_and_another_one_another_serial_number() {
    let bytes = cyclonedx::write(&sample(), &subject());
    assert_eq!(cyclonedx::write(&sample(), &subject()), bytes);
    let serial = |subject: &Subject| {
        let bom: Value = serde_json::from_slice(&cyclonedx::write(&sample(), subject)).unwrap();
        bom["serialNumber"].as_str().unwrap().to_owned()
    };
    let later = Subject {
        catalogued_at: "2026-11-23T10:00:01Z".parse().unwrap(),
        ..subject()
    };
    assert_ne!(serial(&subject()), serial(&later));
    let digits: Vec<usize> = serial(&later)
        .strip_prefix("urn:uuid:")
        .unwrap()
        .split('-')
        .map(str::len)
        .collect();
    assert_eq!(digits, [8, 4, 4, 4, 12]);
}

#[test]
fn components_can_be_told_apart() {
    let twice = Blob::new()
        .file("a/six-1.dist-info/METADATA", "Name: six\nVersion: 1\n")
        .file("b/six-1.dist-info/METADATA", "Name: six\nVersion: 1\n");
    let bom: Value =
        serde_json::from_slice(&cyclonedx::write(&image(&[twice.catalog()]), &subject())).unwrap();
    let components = bom["components"].as_array().unwrap();
    assert_eq!(components[0]["purl"], components[1]["purl"]);
    assert_ne!(components[0]["bom-ref"], components[1]["bom-ref"]);
}

#[test]
fn what_is_missing_makes_it_incomplete_and_nothing_makes_it_complete() {
    let aggregate = |image: &ImageCatalog| {
        let bom: Value = serde_json::from_slice(&cyclonedx::write(image, &subject())).unwrap();
        bom["compositions"][0]["aggregate"].as_str().unwrap().to_owned()
    };
    assert_eq!(aggregate(&sample()), "incomplete");
    assert_eq!(aggregate(&image(&[Blob::new().catalog()])), "unknown");
    // A byte that is not UTF-8 in a description hides no package.
    let latin = Blob::new().file(
        "a/a-1.dist-info/METADATA",
        b"Name: a\nVersion: 1\nSummary: \xe9\n",
    );
    assert_eq!(aggregate(&image(&[latin.catalog()])), "unknown");
}
