//! A handful of advisories about the sample's packages: facts only, see `advisories/README.md`.

/// Records in OSV's format, each with its place in the layout of OSV's bulk files, such as `npm/GHSA-….json`.
pub const ADVISORIES: [(&str, &str); 12] = [
    (
        "Debian/DEBIAN-CVE-2005-2541.json",
        include_str!("../../advisories/Debian/DEBIAN-CVE-2005-2541.json"),
    ),
    (
        "Debian/DEBIAN-CVE-2023-45853.json",
        include_str!("../../advisories/Debian/DEBIAN-CVE-2023-45853.json"),
    ),
    (
        "PyPI/PYSEC-2023-135.json",
        include_str!("../../advisories/PyPI/PYSEC-2023-135.json"),
    ),
    (
        "PyPI/PYSEC-2023-58.json",
        include_str!("../../advisories/PyPI/PYSEC-2023-58.json"),
    ),
    (
        "PyPI/PYSEC-2023-74.json",
        include_str!("../../advisories/PyPI/PYSEC-2023-74.json"),
    ),
    (
        "PyPI/PYSEC-2026-1995.json",
        include_str!("../../advisories/PyPI/PYSEC-2026-1995.json"),
    ),
    (
        "npm/GHSA-35jh-r3h4-6jhm.json",
        include_str!("../../advisories/npm/GHSA-35jh-r3h4-6jhm.json"),
    ),
    (
        "npm/GHSA-3h5v-q93c-6h6q.json",
        include_str!("../../advisories/npm/GHSA-3h5v-q93c-6h6q.json"),
    ),
    (
        "npm/GHSA-6fc8-4gx4-v693.json",
        include_str!("../../advisories/npm/GHSA-6fc8-4gx4-v693.json"),
    ),
    (
        "npm/GHSA-cph5-m8f7-6c5x.json",
        include_str!("../../advisories/npm/GHSA-cph5-m8f7-6c5x.json"),
    ),
    (
        "npm/GHSA-rv95-896h-c2vc.json",
        include_str!("../../advisories/npm/GHSA-rv95-896h-c2vc.json"),
    ),
    (
        "npm/GHSA-xvch-5gv4-984h.json",
        include_str!("../../advisories/npm/GHSA-xvch-5gv4-984h.json"),
    ),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_record_is_listed_under_its_id() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("advisories");
        let folders = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
        let mut there = BTreeSet::new();
        for folder in folders.filter(|path| path.is_dir()) {
            for file in fs::read_dir(&folder).unwrap() {
                let path = file.unwrap().path();
                there.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
        assert_eq!(there, ADVISORIES.map(|(path, _)| path.to_owned()).into());
        for (path, record) in ADVISORIES {
            let record: serde_json::Value = serde_json::from_str(record).unwrap();
            let id = record["id"].as_str().unwrap();
            assert!(path.ends_with(&format!("/{id}.json")), "{path}");
            // Facts and one line of our own: no texts of others.
            assert_eq!(record["details"], serde_json::Value::Null, "{path}");
            assert!(record["summary"].as_str().unwrap().len() < 100, "{path}");
        }
    }
}
