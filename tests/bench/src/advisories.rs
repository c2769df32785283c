//! What a feed of half a million made-up records costs: building its database, its size, loading it, and matching a
//! thousand packages.

use std::{collections::BTreeMap, fs, time::Instant};

use portwarden_advisories::{Bulk, Database, Package, build, parse};

use crate::{
    Bench, Failure,
    sheet::{Sheet, Table, Unit, median, megabytes, milliseconds},
};

const RECORDS: u64 = 500_000;
const PACKAGES: u64 = 1_000;
const ROUNDS: usize = 9;

pub(crate) fn measure(bench: &Bench) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new("advisories");
    let bulk = bulk()?;
    let start = Instant::now();
    let bytes = build(&bulk)?;
    let built = milliseconds(start.elapsed());
    drop(bulk);
    let size = megabytes(bytes.len() as u64);
    let path = bench.state.join("advisories");
    fs::write(&path, bytes)?;

    let packages: Vec<Package> = (0..PACKAGES).map(package).collect();
    let (mut loads, mut matches, mut descriptions) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let database = Database::open(fs::read(&path)?)?;
        loads.push(milliseconds(start.elapsed()));
        let start = Instant::now();
        found = database.count(&packages)?;
        matches.push(milliseconds(start.elapsed()));
        let start = Instant::now();
        database.find(&packages)?;
        descriptions.push(milliseconds(start.elapsed()));
    }
    fs::remove_file(path)?;

    let load = median(loads);
    let taken = median(matches);
    let mut table = Table::new(
        "advisories",
        &[
            ("build", Unit::Milliseconds),
            ("size", Unit::Megabytes),
            ("load", Unit::Milliseconds),
            ("match", Unit::Milliseconds),
            ("findings", Unit::Count),
            ("match and describe", Unit::Milliseconds),
        ],
    );
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let findings = found as f64;
    table.row(
        format!("{RECORDS} records, {PACKAGES} packages"),
        [built, size, load, taken, findings, median(descriptions)].map(Some),
    );
    sheet.add(table);
    sheet.aim("size of the database", size, 100.0, Unit::Megabytes);
    sheet.aim("load", load, 50.0, Unit::Milliseconds);
    sheet.aim(
        format!("match of {PACKAGES} packages"),
        taken,
        5.0,
        Unit::Milliseconds,
    );
    Ok(sheet)
}

fn bulk() -> Result<Bulk, Failure> {
    let mut numbers = Numbers(1);
    let mut advisories = BTreeMap::new();
    for index in 0..RECORDS {
        let advisory = parse(record(index, &mut numbers).as_bytes())?;
        advisories.insert(advisory.id.clone(), advisory);
    }
    Ok(Bulk {
        advisories,
        ..Bulk::default()
    })
}

fn package(index: u64) -> Package {
    let number = index * 7;
    Package::new(match index % 4 {
        0 => format!("pkg:npm/package-{number}@1.0.{index}"),
        1 => format!("pkg:pypi/package-{number}@2.{index}"),
        _ => format!("pkg:deb/debian/package-{number}@1.{index}?distro=debian-12"),
    })
}
/// Writes a record of about the shape and size of real ones.
fn record(index: u64, numbers: &mut Numbers) -> String {
    let name = format!("package-{}", numbers.next() % 120_000);
    let patch = numbers.next() % 1000;
    let (ecosystem, range) = [
        ("npm", "SEMVER"),
        ("PyPI", "ECOSYSTEM"),
        ("Debian:12", "ECOSYSTEM"),
        ("Ubuntu:22.04:LTS", "ECOSYSTEM"),
    ][usize::try_from(index % 4).unwrap_or(0)];
    let affected = format!(
        r#"{{"package":{{"ecosystem":"{ecosystem}","name":"{name}"}},"ranges":[{{"type":"{range}","events":[{{"introduced":"0"}},{{"fixed":"1.0.{patch}"}},{{"introduced":"2.0.0"}},{{"fixed":"2.{patch}.0"}}]}}]}}"#
    );
    let words: Vec<String> = (0..10)
        .map(|_| format!("{:x}", numbers.next() % 0xf_ffff))
        .collect();
    format!(
        r#"{{"id":"GHSA-{:04x}-{index:06x}-{:04x}","modified":"2026-01-01T00:00:00Z","published":"2025-01-01T00:00:00Z","aliases":["CVE-{}-{index}"],
        "summary":"{}","severity":[{{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}}],
        "references":[{{"type":"ADVISORY","url":"https://advisories.example/{index:x}/{:x}"}},{{"type":"FIX","url":"https://code.example/{name}/commit/{:016x}{:016x}"}}],
        "affected":[{affected}]}}"#,
        numbers.next() % 0xffff,
        numbers.next() % 0xffff,
        2000 + numbers.next() % 26,
        words.join(" "),
        numbers.next(),
        numbers.next(),
        numbers.next(),
    )
}

/// A sequence of numbers without a pattern (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
