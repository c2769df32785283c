//! What changed, and why.

use portwarden_advisories::Level;
use portwarden_report::{
    Cause, Change, ChangesEvent, ImageFindings, Report, Snapshot, Suppressions, compare,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::shop::{advisories, advisory, database, findings, image, now, report, shop};

/// The shop's image with another version of a package.
fn with_version(index: usize, version: &str) -> Report {
    let mut image = image();
    let package = &mut image["platforms"][0]["packages"][index];
    let old = package["version"].as_str().unwrap().to_owned();
    let purl = package["purl"]
        .as_str()
        .unwrap()
        .replace(&format!("@{old}"), &format!("@{version}"));
    (package["version"], package["purl"]) = (json!(version), json!(purl));
    report(&image)
}

fn without(index: usize) -> Report {
    let mut image = image();
    image["platforms"][0]["packages"]
        .as_array_mut()
        .unwrap()
        .remove(index);
    report(&image)
}

fn causes(changes: &[Change]) -> Vec<(&str, Cause)> {
    let changes = changes.iter();
    changes
        .map(|change| (change.found.finding.id.as_str(), change.cause.clone()))
        .collect()
}

fn updated(from: &str, to: &str) -> Cause {
    Cause::PackageUpdated {
        from: vec![from.to_owned()],
        to: vec![to.to_owned()],
    }
}

fn at(time: &str, report: &Report, records: &[Value]) -> ImageFindings {
    ImageFindings::of_report(report, &database(records), time.parse().unwrap()).unwrap()
}

#[test]
fn another_image_brings_and_mends_findings_by_its_packages() {
    let (before, was) = shop();
    let snapshot = |report: &Report, findings| Snapshot::of_report(report, findings);
    // OpenSSL is mended, curl is there still, and log4j went.
    let mut after = with_version(0, "3.0.13-1");
    after.platforms[0]
        .packages
        .retain(|package| package.name != "org.apache.logging.log4j:log4j-core");
    let is = findings(&after, &advisories());
    let changes = compare(&snapshot(&before, &was), &snapshot(&after, &is), None).unwrap();
    assert_eq!(
        causes(&changes.fixed),
        [
            ("CVE-2021-44228", Cause::PackageRemoved),
            ("CVE-2026-0001", updated("3.0.11-1", "3.0.13-1")),
        ]
    );
    assert_eq!((changes.new.len(), changes.still_there.len()), (0, 1));
    // And the way back.
    let changes = compare(&snapshot(&after, &is), &snapshot(&before, &was), None).unwrap();
    assert_eq!(
        causes(&changes.new),
        [
            ("CVE-2021-44228", Cause::PackageAdded),
            ("CVE-2026-0001", updated("3.0.13-1", "3.0.11-1")),
        ]
    );
    assert_eq!(changes.fixed, []);
}

#[test]
fn an_update_that_mends_nothing_is_no_news() {
    let (before, was) = shop();
    let after = with_version(0, "3.0.12-1");
    let is = findings(&after, &advisories());
    let changes = compare(
        &Snapshot::of_report(&before, &was),
        &Snapshot::of_report(&after, &is),
        None,
    )
    .unwrap();
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(changes.still_there.len(), 3);
}

#[test]
fn the_same_image_has_other_findings_by_another_database() {
    let report = shop().0;
    let was = at("2026-10-15T00:00:00Z", &report, &advisories());
    let mut records = advisories();
    // One is taken back, one speaks of fewer versions, one is new, and one that was there before speaks of more.
    records[1]["withdrawn"] = json!("2026-11-01T00:00:00Z");
    records[0]["affected"][0]["ranges"][0]["events"][1]["fixed"] = json!("3.0.2-1");
    let mut new = advisory("GHSA-new", "CVE-2026-0009", "npm", "left-pad", "2.0.0");
    new["published"] = json!("2026-11-20T00:00:00Z");
    let wider = advisory("GHSA-wide", "CVE-2026-0008", "npm", "left-pad", "");
    records.extend([new, wider]);
    let is = at("2026-11-21T00:00:00Z", &report, &records);
    let snapshots = (
        Snapshot::of_report(&report, &was),
        Snapshot::of_report(&report, &is),
    );
    let changes = compare(&snapshots.0, &snapshots.1, Some(&database(&records))).unwrap();
    assert_eq!(
        causes(&changes.new),
        [
            ("CVE-2026-0008", Cause::AdvisoryChanged),
            ("CVE-2026-0009", Cause::AdvisoryPublished),
        ]
    );
    assert_eq!(
        causes(&changes.fixed),
        [
            ("CVE-2026-0001", Cause::AdvisoryChanged),
            ("CVE-2026-0002", Cause::AdvisoryWithdrawn),
        ]
    );
}

#[test]
fn what_stays_says_what_is_new_about_it() {
    let (report, was) = shop();
    let mut records = advisories();
    records[1]["affected"][0]["ranges"][0]["events"] = json!([{"introduced": "0"}, {"fixed": "8"}]);
    records[0]["affected"][0]["ecosystem_specific"] = json!({"urgency": "high"});
    let is = findings(&report, &records);
    let changes = compare(
        &Snapshot::of_report(&report, &was),
        &Snapshot::of_report(&report, &is),
        None,
    )
    .unwrap();
    assert!(changes.is_empty());
    let news: Vec<_> = changes
        .still_there
        .iter()
        .map(|still| {
            (
                still.found.finding.id.as_str(),
                still.level_before,
                still.fix_is_new,
            )
        })
        .collect();
    assert_eq!(
        news,
        [
            ("CVE-2021-44228", None, false),
            ("CVE-2026-0001", Some(Level::Low), false),
            ("CVE-2026-0002", None, true),
        ]
    );
}

#[test]
fn suppressing_is_told_and_so_is_its_end() {
    let (report, open) = shop();
    let mut rules = Suppressions::default();
    rules
        .add_rules(
            "r",
            b"rules: [{id: CVE-2026-0001, reason: r, expires: 2026-11-23}]",
        )
        .unwrap();
    let mut hidden = open.clone();
    rules.apply(&mut hidden, Some(&report), now());
    let snapshot = |findings| Snapshot::of_report(&report, findings);
    let changes = compare(&snapshot(&open), &snapshot(&hidden), None).unwrap();
    assert_eq!(
        causes(&changes.suppressed),
        [("CVE-2026-0001", Cause::Suppressed)]
    );
    assert_eq!((changes.new.len(), changes.fixed.len()), (0, 0));
    let changes = compare(&snapshot(&hidden), &snapshot(&open), None).unwrap();
    assert_eq!(causes(&changes.new), [("CVE-2026-0001", Cause::SuppressionEnded)]);
    // What did not count before it went is nobody's news, and neither is what comes and does not count.
    let mended = with_version(0, "3.0.13-1");
    let fixed = findings(&mended, &advisories());
    for (before, after) in [(&hidden, &fixed), (&fixed, &hidden)] {
        let changes = compare(&snapshot(before), &snapshot(after), None).unwrap();
        assert!(changes.is_empty(), "{changes:?}");
    }
}

#[test]
fn platforms_of_an_index_are_one_change() {
    let two = |image: &Value| {
        let mut image = image.clone();
        let mut arm = image["platforms"][0].clone();
        arm["platform"]["architecture"] = json!("arm64");
        for package in arm["packages"].as_array_mut().unwrap() {
            package["purl"] = json!(package["purl"].as_str().unwrap().replace("amd64", "arm64"));
        }
        image["platforms"].as_array_mut().unwrap().push(arm);
        report(&image)
    };
    let (before, after) = (two(&image()), two(&image()));
    let (was, is) = (
        findings(&before, &advisories()[..1]),
        findings(&after, &advisories()),
    );
    assert_eq!(is.counts.values().sum::<usize>(), 6);
    let changes = compare(
        &Snapshot::of_report(&before, &was),
        &Snapshot::of_report(&after, &is),
        None,
    )
    .unwrap();
    assert_eq!((changes.new.len(), changes.still_there.len()), (2, 1));
}

#[test]
fn an_event_counts_all_and_lists_the_worst() {
    let (report, _) = shop();
    let none = findings(&report, &[]);
    let many: Vec<Value> = (0..200)
        .map(|n| {
            advisory(
                &format!("GHSA-{n}"),
                &format!("CVE-2026-{n:04}"),
                "npm",
                "left-pad",
                "2",
            )
        })
        .chain(advisories())
        .collect();
    let all = findings(&report, &many);
    let changes = compare(
        &Snapshot::of_report(&report, &none),
        &Snapshot::of_report(&report, &all),
        None,
    )
    .unwrap();
    let event = changes.event(&none, &all);
    assert_eq!(event.counts.new, 203);
    assert_eq!(event.new.len(), ChangesEvent::MAX_LISTED);
    assert!(serde_json::to_vec(&event).unwrap().len() < 64 << 10);
    assert_ne!(event.before.database, event.after.database);
}

#[test]
fn an_event_has_room_whatever_packages_are_called() {
    let (mut report, _) = shop();
    let name = "x".repeat(20_000);
    for package in &mut report.platforms[0].packages {
        if package.purl.starts_with("pkg:npm/left-pad") {
            package.purl = format!("pkg:npm/{name}@1.0.0");
        }
    }
    let none = findings(&report, &[]);
    let many: Vec<Value> = (0..200)
        .map(|n| {
            advisory(
                &format!("GHSA-{n}"),
                &format!("CVE-2026-{n:04}"),
                "npm",
                &name,
                "2",
            )
        })
        .collect();
    let all = findings(&report, &many);
    let [before, after] = [&none, &all].map(|findings| Snapshot::of_report(&report, findings));
    let event = compare(&before, &after, None).unwrap().event(&none, &all);
    assert_eq!(event.counts.new, 200);
    assert_eq!(event.new.len(), 1);
    assert!(serde_json::to_vec(&event).unwrap().len() < portwarden_core::notification::MAX_DATA);
}

proptest! {
    /// Nothing is lost and nothing is told twice, whatever changed.
    #[test]
    fn every_finding_that_counts_is_new_or_still_there(
        before in proptest::collection::vec(any::<bool>(), 3),
        after in proptest::collection::vec(any::<bool>(), 3),
        removed in 0usize..8,
    ) {
        let choose = |chosen: &[bool]| -> Vec<Value> {
            advisories().into_iter().zip(chosen).filter(|(_, is)| **is).map(|(record, _)| record).collect()
        };
        let (old, new) = (report(&image()), if removed < 5 { without(removed) } else { report(&image()) });
        let (was, is) = (findings(&old, &choose(&before)), findings(&new, &choose(&after)));
        let (one, other) = (Snapshot::of_report(&old, &was), Snapshot::of_report(&new, &is));
        let there = compare(&one, &other, None).unwrap();
        prop_assert_eq!(there.new.len() + there.still_there.len(), is.open().count());
        prop_assert_eq!(there.fixed.len() + there.still_there.len(), was.open().count());
        // The way back is the mirror image.
        let back = compare(&other, &one, None).unwrap();
        prop_assert_eq!(back.new.len(), there.fixed.len());
        prop_assert_eq!(back.fixed.len(), there.new.len());
        prop_assert!(compare(&one, &one, None).unwrap().is_empty());
    }
}
