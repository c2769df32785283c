//! The real advisories in the directory that `ADVISORIES` names.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::File,
    path::PathBuf,
};

use serde_json::Value;

/// Returns the directory; says so if there is none.
pub(crate) fn directory() -> Option<PathBuf> {
    let directory = env::var_os("ADVISORIES").map(PathBuf::from);
    if directory.is_none() {
        println!("not run: tests with real advisories (ADVISORIES names no directory)");
    }
    directory
}

/// Returns every record, by its file's name, of an ecosystem's archive.
pub(crate) fn records(directory: &std::path::Path, ecosystem: &str) -> Vec<(String, Vec<u8>)> {
    let file = File::open(directory.join(ecosystem).join("all.zip")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut file = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            std::io::copy(&mut file, &mut content).unwrap();
            (file.name().unwrap().into_owned(), content)
        })
        .collect()
}

/// Returns the archives' names.
pub(crate) fn archives(directory: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = directory
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("all.zip").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Returns the versions that advisories name, for each package of these ecosystems, in the order of texts.
pub(crate) fn versions(ecosystems: &[&str]) -> Option<Vec<Vec<String>>> {
    let directory = directory()?;
    let mut versions: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for archive in archives(&directory) {
        for (_, content) in records(&directory, &archive) {
            let record: Value = serde_json::from_slice(&content).unwrap();
            for affected in record["affected"].as_array().into_iter().flatten() {
                let ecosystem = affected["package"]["ecosystem"].as_str().unwrap_or_default();
                let family = ecosystem.split(':').next().unwrap_or_default();
                if !ecosystems.contains(&family) {
                    continue;
                }
                let name = affected["package"]["name"].as_str().unwrap_or_default();
                let known = versions.entry((family.to_owned(), name.to_owned())).or_default();
                let list = affected["versions"].as_array().into_iter().flatten();
                known.extend(list.filter_map(Value::as_str).map(str::to_owned));
                let ranges = affected["ranges"].as_array().into_iter().flatten();
                for range in ranges.filter(|range| range["type"] != "GIT") {
                    let events = range["events"].as_array().into_iter().flatten();
                    let bounds = events
                        .filter_map(Value::as_object)
                        .flat_map(|event| event.values());
                    known.extend(bounds.filter_map(Value::as_str).map(str::to_owned));
                }
            }
        }
    }
    Some(
        versions
            .into_values()
            .map(|versions| versions.into_iter().collect())
            .collect(),
    )
}
