//! What is kept of a folder between two looks at it.

use std::{
    collections::BTreeSet,
    fs,
    io::{Cursor, Write as _},
};

use jiff::Timestamp;
use portwarden_advisories::{
    Collection, CollectionError, Database, FOLDERS, ListError, Listed, Package, PackageName, RecordError,
    build, combine, read_list,
};
use proptest::prelude::*;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::feed;

fn record(id: &str, day: u8, name: &str, fixed: &str) -> String {
    format!(
        r#"{{"id":"{id}","modified":"2026-01-{day:02}T00:00:00Z","affected":[{{"package":{{"ecosystem":"npm","name":"{name}"}},
        "ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}},{{"fixed":"{fixed}"}}]}}]}}]}}"#
    )
}

fn archive(records: &[String]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (index, record) in records.iter().enumerate() {
        archive
            .start_file(format!("{index}.json"), SimpleFileOptions::default())
            .unwrap();
        archive.write_all(record.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn collection(records: &[String]) -> Collection {
    Collection::read_archive(Cursor::new(archive(records))).unwrap()
}

fn listed(id: &str, day: u8) -> Listed {
    Listed {
        id: id.to_owned(),
        modified: format!("2026-01-{day:02}T00:00:00Z").parse().unwrap(),
    }
}

fn packages(names: &[&str]) -> BTreeSet<PackageName> {
    names.iter().map(|name| PackageName::of("npm", name)).collect()
}

#[test]
fn a_list_says_what_is_new_what_was_changed_and_what_is_gone() {
    let known = collection(&[
        record("A-1", 1, "a", "1"),
        record("A-2", 2, "b", "1"),
        record("A-3", 3, "c", "1"),
    ]);
    let list = [listed("A-4", 9), listed("A-2", 5), listed("A-1", 1)];
    let difference = known.compare(&list);
    assert_eq!(difference.changed, [listed("A-4", 9), listed("A-2", 5)]);
    assert_eq!(difference.gone, ["A-3"]);

    let mut newer = known.clone();
    newer
        .put(&listed("A-4", 9), record("A-4", 9, "d", "1").as_bytes())
        .unwrap();
    newer
        .put(&listed("A-2", 5), record("A-2", 5, "b", "2").as_bytes())
        .unwrap();
    newer.remove("A-3");
    assert_eq!(newer.compare(&list), portwarden_advisories::Difference::default());
    assert_eq!(known.changed_packages(&newer), packages(&["b", "c", "d"]));
    assert_eq!(newer.changed_packages(&known), packages(&["b", "c", "d"]));
    assert_eq!(newer.changed_packages(&newer), packages(&[]));
}

#[test]
fn only_what_leads_to_other_findings_is_a_change() {
    let known = collection(&[record("A-1", 1, "a", "1"), record("A-2", 1, "b", "1")]);
    let mut newer = known.clone();
    newer
        .put(&listed("A-1", 2), record("A-1", 2, "a", "1").as_bytes())
        .unwrap();
    assert_ne!(known, newer);
    assert_eq!(known.changed_packages(&newer), packages(&[]));
    let withdrawn = record("A-2", 2, "b", "1").replace(
        "\"affected\"",
        "\"withdrawn\":\"2026-01-02T00:00:00Z\",\"affected\"",
    );
    newer.put(&listed("A-2", 2), withdrawn.as_bytes()).unwrap();
    assert_eq!(known.changed_packages(&newer), packages(&["b"]));
    // An advisory that goes from one package to another concerns both.
    let moved = collection(&[record("A-1", 3, "z", "1"), record("A-2", 1, "b", "1")]);
    assert_eq!(known.changed_packages(&moved), packages(&["a", "z"]));
}

#[test]
fn a_record_that_cannot_be_used_is_not_asked_for_again_until_it_changes() {
    let mut known = collection(&[record("A-1", 1, "a", "1"), record("A-2", 1, "b", "1")]);
    let before = known.clone();
    let error = known.put(&listed("A-1", 2), b"{").unwrap_err();
    assert!(matches!(error, RecordError::Osv(_)), "{error:?}");
    let error = known
        .put(&listed("A-2", 2), record("A-9", 2, "b", "1").as_bytes())
        .unwrap_err();
    assert!(matches!(error, RecordError::Other), "{error:?}");
    assert_eq!(known.compare(&[listed("A-1", 2), listed("A-2", 2)]).changed, []);
    assert_eq!(
        known.compare(&[listed("A-1", 3), listed("A-2", 2)]).changed,
        [listed("A-1", 3)]
    );
    assert_eq!(before.changed_packages(&known), packages(&["a", "b"]));
    assert_eq!(Collection::decode(&known.encode().unwrap()).unwrap(), known);
}

#[test]
fn of_two_records_with_one_id_the_newer_one_counts() {
    let [old, new] = [record("A-1", 1, "a", "1"), record("A-1", 2, "a", "2")];
    let wanted = collection(std::slice::from_ref(&new));
    assert_eq!(collection(&[old.clone(), new.clone()]), wanted);
    assert_eq!(collection(&[new, old]), wanted);
}

#[test]
fn broken_and_empty_archives_are_told_apart() {
    let whole = archive(&[record("A-1", 1, "a", "1")]);
    let read = |bytes: &[u8]| Collection::read_archive(Cursor::new(bytes.to_vec()));
    assert_eq!(read(&whole).unwrap().len(), 1);
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        let error = read(&whole[..length]).unwrap_err();
        assert!(
            matches!(error, CollectionError::Archive(_)),
            "{length}: {error:?}"
        );
    }
    for nothing in [archive(&[]), archive(&["{}".to_owned(), "[".to_owned()])] {
        assert!(matches!(read(&nothing), Err(CollectionError::Empty)));
    }
    // One odd record does not cost the others.
    assert_eq!(collection(&["{".to_owned(), record("A-1", 1, "a", "1")]).len(), 1);
}

#[test]
fn a_list_is_taken_whole_or_not_at_all() {
    let list = read_list(b"2026-01-02T03:04:05.678Z,A-2\r\n2026-01-01T00:00:00Z,ALSA-2021:1234\n").unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list[1], listed("ALSA-2021:1234", 1));
    assert!(matches!(read_list(b""), Err(ListError::Empty)));
    assert!(matches!(read_list(b"\n\n"), Err(ListError::Empty)));
    for (line, text) in [
        (1, "2026-01-01T00:00:00Z"),
        (1, "yesterday,A-1"),
        (1, "2026-01-01T00:00:00Z,"),
        (1, "2026-01-01T00:00:00Z,../../secret"),
        (1, "2026-01-01T00:00:00Z,a/b"),
        (1, "2026-01-01T00:00:00Z,.hidden"),
        (1, "2026-01-01T00:00:00Z,a b"),
        (1, "<html>"),
        (2, "2026-01-01T00:00:00Z,A-1\n2026-01-0"),
        (2, "2026-01-01T00:00:00Z,A-1\n2026-01-01T00:00:00Z,\u{e9}"),
    ] {
        let error = read_list(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ListError::Malformed(found) if found == line),
            "{text:?}: {error:?}"
        );
    }
}

#[test]
fn what_was_stored_is_read_or_refused() {
    let known = collection(&[record("A-1", 1, "a", "1"), record("A-2", 2, "b", "1")]);
    let bytes = known.encode().unwrap();
    assert_eq!(bytes, known.encode().unwrap());
    assert_eq!(Collection::decode(&bytes).unwrap(), known);
    for length in 0..bytes.len() {
        // Nothing is an empty collection; nothing else that is cut off is one.
        let read = Collection::decode(&bytes[..length]);
        assert!(read.is_err() || length == 0, "{length}: {read:?}");
    }
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x20;
        let read = Collection::decode(&damaged);
        assert!(read.as_ref().is_err() || read.unwrap() == known, "byte {place}");
    }
}

#[test]
fn folders_become_one_database() {
    let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
    let both = |fixed: &str, day| record("A-1", day, "a", fixed);
    let folders = [
        (
            "npm".to_owned(),
            collection(&[both("2.0.0", 2), record("A-2", 1, "b", "1.0.0")]),
        ),
        ("Go".to_owned(), collection(&[both("1.0.0", 1)])),
    ];
    let bulk = combine(folders, now);
    assert_eq!(bulk.advisories.len(), 2);
    assert_eq!(
        bulk.ecosystems[0].newest,
        Some("2026-01-02T00:00:00Z".parse().unwrap())
    );
    let database = Database::open(build(&bulk).unwrap()).unwrap();
    let found = database.find(&[Package::new("pkg:npm/a@1.5.0")]).unwrap();
    assert_eq!(found.findings[0].fixed.as_deref(), Some("2.0.0"));
}

#[test]
fn every_folder_that_is_asked_for_can_be_matched() {
    let mut sorted = FOLDERS.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), FOLDERS.len());
    for folder in FOLDERS {
        let json = format!(
            r#"{{"id":"A-1","modified":"2026-01-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"{folder}","name":"a"}},"versions":["1"]}}]}}"#
        );
        assert_eq!(
            portwarden_advisories::parse(json.as_bytes())
                .unwrap()
                .affected
                .len(),
            1,
            "{folder}"
        );
    }
}

#[test]
fn the_real_lists_and_archives_agree() {
    let Some(directory) = feed::directory() else {
        return;
    };
    for name in feed::archives(&directory) {
        let folder = directory.join(&name);
        let known = Collection::read_archive(fs::File::open(folder.join("all.zip")).unwrap()).unwrap();
        let list = read_list(&fs::read(folder.join("modified_id.csv")).unwrap()).unwrap();
        assert_eq!(
            known.compare(&list),
            portwarden_advisories::Difference::default(),
            "{name}"
        );
        assert_eq!(
            Collection::decode(&known.encode().unwrap()).unwrap(),
            known,
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn following_a_list_record_by_record_leads_to_the_same_as_its_archive(
        old in proptest::collection::btree_map(0_u8..12, (1_u8..5, 0_u8..3), 1..10),
        new in proptest::collection::btree_map(0_u8..12, (5_u8..9, 0_u8..3), 1..10),
    ) {
        let write = |records: &std::collections::BTreeMap<u8, (u8, u8)>| -> Vec<String> {
            let line = |(id, (day, fixed)): (&u8, &(u8, u8))| record(&format!("A-{id}"), *day, &format!("p{}", id % 4), &format!("{fixed}.0.0"));
            records.iter().map(line).collect()
        };
        let mut followed = collection(&write(&old));
        let fetched = collection(&write(&new));
        let before = followed.clone();
        let list: Vec<Listed> = new.iter().map(|(id, (day, _))| listed(&format!("A-{id}"), *day)).collect();
        let difference = followed.compare(&list);
        for id in difference.gone {
            followed.remove(&id);
        }
        for listed in difference.changed {
            let (day, fixed) = new[&listed.id[2..].parse().unwrap()];
            let id: u8 = listed.id[2..].parse().unwrap();
            let json = record(&listed.id, day, &format!("p{}", id % 4), &format!("{fixed}.0.0"));
            followed.put(&listed, json.as_bytes()).unwrap();
        }
        prop_assert_eq!(before.changed_packages(&fetched), before.changed_packages(&followed));
        prop_assert_eq!(followed, fetched);
    }
}
