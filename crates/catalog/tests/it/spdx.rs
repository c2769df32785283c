//! The SBOM as it is written in SPDX.

use portwarden_catalog::spdx;
use serde_json::Value;

use crate::cyclonedx::{sample, subject};

#[test]
fn the_document_is_as_reviewed() {
    let mut document: Value = serde_json::from_slice(&spdx::write(&sample(), &subject())).unwrap();
    // These change with each release.
    document["creationInfo"].take();
    document["documentNamespace"].take();
    insta::assert_json_snapshot!(document);
}

#[test]
fn the_same_input_gives_the_same_bytes_and_another_one_another_namespace() {
    let bytes = spdx::write(&sample(), &subject());
    assert_eq!(spdx::write(&sample(), &subject()), bytes);
    let mut later = subject();
    later.catalogued_at = "2026-11-23T10:00:01.5Z".parse().unwrap();
    let later: Value = serde_json::from_slice(&spdx::write(&sample(), &later)).unwrap();
    let before: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(later["creationInfo"]["created"], "2026-11-23T10:00:01Z");
    assert_ne!(later["documentNamespace"], before["documentNamespace"]);
}

#[test]
fn every_package_is_contained_once_in_the_image_or_in_its_owner() {
    let document: Value = serde_json::from_slice(&spdx::write(&sample(), &subject())).unwrap();
    let ids = |list: &str, key: &str| -> Vec<String> {
        let list = document[list].as_array().unwrap().iter();
        list.map(|entry| entry[key].as_str().unwrap().to_owned())
            .collect()
    };
    let packages = ids("packages", "SPDXID");
    let contained = ids("relationships", "relatedSpdxElement");
    for id in packages.iter().filter(|id| id.starts_with("SPDXRef-Package-")) {
        assert_eq!(contained.iter().filter(|other| *other == id).count(), 1, "{id}");
    }
    for container in ids("relationships", "spdxElementId") {
        assert!(
            container == "SPDXRef-DOCUMENT" || packages.contains(&container),
            "{container}"
        );
    }
    let in_a_package = ids("relationships", "spdxElementId")
        .into_iter()
        .filter(|container| container.starts_with("SPDXRef-Package-deb-"));
    assert_eq!(in_a_package.count(), 1);
}
