//! Writes the page of a stored report: `cargo run -p portwarden-report --example page REPORT DATABASE [RULES] > page.html`.
//!
//! REPORT is what `portwarden scan --format json` wrote, DATABASE what `portwarden advisories build` wrote.

use std::{env, error::Error, fs};

use portwarden_advisories::Database;
use portwarden_report::{ImageFindings, Report, Suppressions, html};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [report, database, rules @ ..] = arguments.as_slice() else {
        return Err("name a report and a database".into());
    };
    let report: Report = serde_json::from_slice(&fs::read(report)?)?;
    let database = Database::open(fs::read(database)?)?;
    let now = report.finished_at;
    let mut findings = ImageFindings::of_report(&report, &database, now)?;
    let mut suppressions = Suppressions::default();
    for file in rules {
        suppressions.add_rules(file, &fs::read(file)?)?;
    }
    suppressions.apply(&mut findings, Some(&report), now);
    print!("{}", html::write(&report.name(), Some(&report), Some(&findings)));
    Ok(())
}
