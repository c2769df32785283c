//! What a feed of half a million made-up records costs: its size, loading it, and matching a thousand packages.

use std::{collections::BTreeMap, fs, time::Instant};

use portwarden_advisories::{Bulk, Database, Package, build, parse};

const RECORDS: u64 = 500_000;
const PACKAGES: u64 = 1_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = Numbers(1);
    let mut advisories = BTreeMap::new();
    for index in 0..RECORDS {
        let advisory = parse(record(index, &mut numbers).as_bytes())?;
        advisories.insert(advisory.id.clone(), advisory);
    }
    let bulk = Bulk {
        advisories,
        ..Bulk::default()
    };
    let start = Instant::now();
    let bytes = build(&bulk)?;
    println!("built in {:?}: {} MB", start.elapsed(), bytes.len() / 1_000_000);
    drop(bulk);
    let path = std::env::temp_dir().join(format!("portwarden-measure-{}", std::process::id()));
    fs::write(&path, bytes)?;
    for _ in 0..5 {
        let start = Instant::now();
        let database = Database::open(fs::read(&path)?)?;
        let loaded = start.elapsed();
        let packages: Vec<Package> = (0..PACKAGES)
            .map(|index| match index % 4 {
                0 => Package::new(format!("pkg:npm/package-{}@1.0.{index}", index * 7)),
                1 => Package::new(format!("pkg:pypi/package-{}@2.{index}", index * 7)),
                _ => Package::new(format!(
                    "pkg:deb/debian/package-{}@1.{index}?distro=debian-12",
                    index * 7
                )),
            })
            .collect();
        let start = Instant::now();
        let affected = database.count(&packages)?;
        let matched = start.elapsed();
        let start = Instant::now();
        let found = database.find(&packages)?;
        println!(
            "loaded in {loaded:?}; {PACKAGES} packages matched in {matched:?}, {affected} findings; described in {:?}, {}",
            start.elapsed(),
            found.findings.len()
        );
    }
    Ok(fs::remove_file(path)?)
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
