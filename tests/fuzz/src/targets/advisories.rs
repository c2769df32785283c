//! Versions, advisories, databases of them, and the SBOMs that are matched with them.

use std::{cmp::Ordering, sync::LazyLock};

use portwarden_advisories::{Bulk, Database, DatabaseError, Package, Scheme, build, parse, read_sbom};

use crate::law::error_is_short;

targets! { versions advisory sbom database }

/// Three versions, on a line each: whatever they are, a scheme that compares them orders them.
fn versions(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let [a, b, c] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    for scheme in Scheme::ALL {
        if scheme.is_valid(a) {
            assert_eq!(scheme.compare(a, a), Some(Ordering::Equal), "{scheme}: {a:?}");
        }
        let order = scheme.compare(a, b);
        let reversed = scheme.compare(b, a).map(Ordering::reverse);
        assert_eq!(order, reversed, "{scheme}: {a:?} {b:?}");
        if scheme != Scheme::Maven && order == Some(Ordering::Equal) {
            assert_eq!(
                scheme.compare(a, c),
                scheme.compare(b, c),
                "{scheme}: {a:?} = {b:?}, {c:?}"
            );
        }
        // Maven's own comparison is by item and pads as it goes, so that odd texts may go round in a circle.
        let is_order = scheme != Scheme::Maven;
        if is_order && order == Some(Ordering::Less) && scheme.compare(b, c) == Some(Ordering::Less) {
            assert_eq!(
                scheme.compare(a, c),
                Some(Ordering::Less),
                "{scheme}: {a:?} < {b:?} < {c:?}"
            );
        }
    }
}

/// A record of OSV's feed, and the database that is built of it.
fn advisory(input: &[u8]) {
    let advisory = match parse(input) {
        Ok(advisory) => advisory,
        Err(error) => return error_is_short(&error),
    };
    let flaws: usize = advisory.flaws.iter().map(String::len).sum();
    assert!(flaws <= 4 * input.len() + 1024, "{flaws} bytes of flaws");
    let mut bulk = Bulk::default();
    bulk.advisories.insert(advisory.id.clone(), advisory);
    match build(&bulk) {
        Ok(bytes) => {
            let database = Database::open(bytes).expect("what is built can be opened");
            look_up(&database, &packages());
        }
        Err(error) => error_is_short(&error),
    }
}

/// A CycloneDX or SPDX document of any tool, matched.
fn sbom(input: &[u8]) {
    match read_sbom(input) {
        Ok(sbom) => {
            assert!(sbom.packages.len() + sbom.nameless <= input.len());
            look_up(&DATABASE, &sbom.packages);
        }
        Err(error) => error_is_short(&error),
    }
}

/// What lies behind the header of a database's file, with a header that vouches for it.
fn database(input: &[u8]) {
    let mut bytes = BUILT[..HEADER].to_vec();
    bytes[HEADER - 12..HEADER - 8].copy_from_slice(&crc32fast::hash(input).to_le_bytes());
    bytes[HEADER - 8..].copy_from_slice(&(input.len() as u64).to_le_bytes());
    bytes.extend_from_slice(input);
    match Database::open(bytes) {
        Ok(database) => look_up(&database, &packages()),
        Err(error) => {
            error_is_short(&error);
            assert!(
                matches!(error, DatabaseError::Corrupt),
                "the header is right: {error}"
            );
        }
    }
}

fn look_up(database: &Database, packages: &[Package]) {
    match (database.find(packages), database.count(packages)) {
        (Ok(found), Ok(count)) => assert_eq!(found.findings.len(), count),
        (Err(error), _) => error_is_short(&error),
        // Only the texts of findings are broken, if anything is.
        (Ok(found), Err(error)) => panic!(
            "{} findings, but none can be counted: {error}",
            found.findings.len()
        ),
    }
}

fn packages() -> [Package; 3] {
    [
        "pkg:pypi/example@1.1",
        "pkg:deb/debian/example@1.0-1?distro=debian-12",
        "pkg:npm/%40scope/example@1.0.0",
    ]
    .map(Package::new)
}

/// A format's mark of eight bytes, its number, a checksum, and a length of eight bytes.
const HEADER: usize = 24;

/// A database of the seeds' first advisory.
static BUILT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let advisory = parse(include_bytes!("../../seeds/advisory/ranges")).unwrap();
    let mut bulk = Bulk::default();
    bulk.advisories.insert(advisory.id.clone(), advisory);
    build(&bulk).unwrap()
});

static DATABASE: LazyLock<Database> = LazyLock::new(|| Database::open(BUILT.clone()).unwrap());
