//! Files that are no good database, and folders that are odd.

use std::{fs, io::Write as _, path::Path};

use jiff::Timestamp;
use portwarden_advisories::{BulkError, Database, DatabaseError, Package, build, read_bulk};
use proptest::prelude::*;
use zip::write::SimpleFileOptions;

pub(crate) fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// Writes `all.zip` of an ecosystem.
pub(crate) fn archive(directory: &Path, ecosystem: &str, records: &[(&str, &str)]) {
    let folder = directory.join(ecosystem);
    fs::create_dir_all(&folder).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.join("all.zip")).unwrap());
    for (name, content) in records {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

fn record(id: &str, modified: &str, fixed: &str) -> String {
    format!(
        r#"{{"id":"{id}","modified":"{modified}","summary":"a flaw","affected":[{{"package":{{"ecosystem":"PyPI","name":"Some_Name"}},
        "ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"{fixed}"}}]}}]}}]}}"#
    )
}

fn small() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    archive(
        directory.path(),
        "PyPI",
        &[("A-1.json", &record("A-1", "2025-01-01T00:00:00Z", "2.0"))],
    );
    build(&read_bulk(directory.path(), now()).unwrap()).unwrap()
}

#[test]
fn what_is_no_good_database_is_refused_by_name() {
    let good = small();
    assert_eq!(Database::open(good.clone()).unwrap().info().advisories, 1);
    let open = |bytes: &[u8]| Database::open(bytes.to_vec()).unwrap_err();
    for bytes in [&b""[..], b"PWADVIS", b"{\"id\":1}", &good[..9], &good[..20]] {
        assert!(matches!(open(bytes), DatabaseError::NotADatabase), "{bytes:?}");
    }
    for format in [0, 2, u32::MAX] {
        let mut other = good.clone();
        other[8..12].copy_from_slice(&format.to_le_bytes());
        assert!(matches!(open(&other), DatabaseError::Format { found } if found == format));
    }
    for length in [24, good.len() / 2, good.len() - 1] {
        assert!(
            matches!(open(&good[..length]), DatabaseError::Length { .. }),
            "{length}"
        );
    }
    let longer = [good.as_slice(), b"x"].concat();
    assert!(matches!(open(&longer), DatabaseError::Length { .. }));
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(open(&damaged), DatabaseError::Checksum));
}

proptest! {
    /// A stranger's file has the right checksum, too.
    #[test]
    fn a_hostile_database_is_refused_or_read_without_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = small();
        let body = bytes.len() - 24;
        for (index, byte) in changes {
            bytes[24 + index.index(body)] = byte;
        }
        let checksum = crc32fast::hash(&bytes[24..]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        if let Ok(database) = Database::open(bytes) {
            match database.find(&[Package::new("pkg:pypi/some-name@1.0")]) {
                Ok(found) => prop_assert!(found.findings.len() <= 1),
                Err(error) => prop_assert!(matches!(error, DatabaseError::Corrupt)),
            }
        }
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes: Vec<u8>, text in "[\\[\\]{}\",:a-z0-9.]{0,60}") {
        for content in [bytes.as_slice(), text.as_bytes()] {
            let is_record = portwarden_advisories::parse(content).is_ok();
            prop_assert!(!is_record);
            prop_assert!(portwarden_advisories::read_sbom(content).is_err());
        }
    }
}

#[test]
fn of_two_records_the_newer_counts_and_odd_ones_are_told() {
    let directory = tempfile::tempdir().unwrap();
    archive(
        directory.path(),
        "PyPI",
        &[
            ("A-1.json", &record("A-1", "2025-01-01T00:00:00Z", "2.0")),
            ("A-2.json", &record("A-2", "2027-01-01T00:00:00Z", "3.0")),
            (
                "A-3.json",
                &record("A-3", "2025-01-01T00:00:00Z", "not a version"),
            ),
            ("A-4.json", r#"{"id":"A-4"}"#),
            ("A-5.json", r#"{"id":"A-5","modified":"yesterday"}"#),
            (
                "A-6.json",
                r#"{"id":"A-6","modified":"2025-01-01T00:00:00Z","affected":null,"aliases":null,"withdrawn":"2025-02-01T00:00:00Z"}"#,
            ),
            ("readme.txt", "nothing"),
        ],
    );
    // An update beside the archive.
    fs::write(
        directory.path().join("PyPI/A-1.json"),
        record("A-1", "2025-06-01T00:00:00.123Z", "2.5"),
    )
    .unwrap();
    fs::create_dir(directory.path().join("Empty")).unwrap();
    let bulk = read_bulk(directory.path(), now()).unwrap();
    let flaws: Vec<_> = bulk
        .flaws
        .iter()
        .map(|flaw| flaw.rsplit_once("all.zip/").unwrap().1)
        .collect();
    assert_eq!(
        flaws,
        [
            "A-3.json: PyPI Some_Name: a range has a version that is none",
            "A-4.json: the record is not an OSV record",
            "A-5.json: the record has no usable time of its last change",
        ]
    );
    let database = Database::open(build(&bulk).unwrap()).unwrap();
    let info = database.info();
    assert_eq!((info.advisories, info.packages, info.withdrawn), (2, 1, 1));
    assert_eq!(info.ecosystems.len(), 1);
    // A change in the future is the source's error.
    assert_eq!(
        info.ecosystems[0].newest,
        Some("2025-06-01T00:00:00.123Z".parse().unwrap())
    );
    let found = database.find(&[Package::new("pkg:pypi/some.name@2.4")]).unwrap();
    let ids: Vec<_> = found
        .findings
        .iter()
        .map(|f| (f.id.as_str(), f.fixed.as_deref()))
        .collect();
    assert_eq!(ids, [("A-1", Some("2.5")), ("A-2", Some("3.0"))]);
}

#[test]
fn a_folder_that_cannot_be_read_fails_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(
        read_bulk(directory.path(), now()),
        Err(BulkError::Empty(_))
    ));
    assert!(matches!(
        read_bulk(&directory.path().join("missing"), now()),
        Err(BulkError::Unreadable { .. })
    ));
    archive(directory.path(), "npm", &[("A-1.json", "{}")]);
    let path = directory.path().join("npm/all.zip");
    let whole = fs::read(&path).unwrap();
    for length in [0, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            matches!(read_bulk(directory.path(), now()), Err(BulkError::Archive { .. })),
            "{length} bytes"
        );
    }
}
