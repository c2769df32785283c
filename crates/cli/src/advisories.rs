use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use portwarden_advisories::{Info, build, read_bulk};
use portwarden_aws::SystemClock;
use portwarden_core::{
    advisory::{Editions, Shelf},
    clock::Clock as _,
};
use serde_json::json;

use crate::{
    failure::{Ending, Failure},
    findings,
    output::Output,
    stack::StackChoice,
    text::{Column, printable, table},
};

/// Builds and shows databases of advisories.
#[derive(Debug, Args)]
pub(crate) struct AdvisoriesArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds a database of OSV's bulk files: a folder for each ecosystem, with all.zip or single records
    Build {
        /// The directory of the folders
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Writes to FILE, whole or not at all
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Shows what a database was built from, and how old that is: a file's, or the one that the deployed stack uses
    Info {
        /// The database; without it the stack's
        #[arg(value_name = "FILE", conflicts_with_all = ["stack", "stack_region", "local"])]
        file: Option<PathBuf>,
        #[command(flatten)]
        stack: StackChoice,
        /// Writes JSON
        #[arg(long)]
        json: bool,
    },
}

/// So many records that could not be used are told one by one.
const MAX_FLAWS: usize = 20;

impl AdvisoriesArgs {
    /// Builds or shows a database.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        match self.command {
            Command::Build { from, output } => {
                let output = Output::new(Some(output))?;
                let bulk = read_bulk(&from, SystemClock.now()).map_err(|error| {
                    let fix = "name a directory in the layout of OSV's bulk files: a folder for each ecosystem, with all.zip";
                    Failure::new("advisories_unreadable", error.to_string(), fix).because_of_source(&error)
                })?;
                for flaw in bulk.flaws.iter().take(MAX_FLAWS) {
                    say(&format!("warning: {flaw}"));
                }
                if bulk.flaws.len() > MAX_FLAWS {
                    say(&format!("warning: and {} more", bulk.flaws.len() - MAX_FLAWS));
                }
                let database = build(&bulk).map_err(|error| {
                    Failure::new(
                        "advisories_unusable",
                        error.to_string(),
                        "build a database for each ecosystem",
                    )
                })?;
                output.write(&database)?;
            }
            Command::Info {
                file: None,
                stack,
                json,
            } => {
                let state = Editions::new(stack.open().await?.store).shelf().await?;
                let output = Output::new(None)?;
                if json {
                    output.write_json(&json!({ "edition": state.edition, "folders": state.folders }))?;
                } else {
                    output.write(write_shelf(&state, SystemClock.now()).as_bytes())?;
                }
            }
            Command::Info {
                file: Some(file),
                json,
                ..
            } => {
                let database = findings::open(&file)?;
                let output = Output::new(None)?;
                if json {
                    output.write_json(database.info())?;
                } else {
                    output.write(write(database.info(), SystemClock.now()).as_bytes())?;
                }
            }
        }
        Ok(Ending::Done)
    }
}

fn write(info: &Info, now: Timestamp) -> String {
    let rows: Vec<[String; 4]> = info
        .ecosystems
        .iter()
        .map(|ecosystem| {
            let newest = ecosystem
                .newest
                .map_or_else(|| "unknown".to_owned(), |time| time.strftime("%F").to_string());
            let age = ecosystem
                .newest
                .map_or_else(|| "unknown".to_owned(), |time| age(time, now));
            [ecosystem.name.clone(), ecosystem.records.to_string(), newest, age]
        })
        .collect();
    let columns = ["ECOSYSTEM", "RECORDS", "NEWEST", "AGE"].map(Column::new);
    format!(
        "advisories {}\npackages   {}\nwithdrawn  {}\n\n{}",
        info.advisories,
        info.packages,
        info.withdrawn,
        table(&columns, &rows)
    )
}

/// Says which edition is in use, and of each folder when it was last compared with its source.
fn write_shelf(shelf: &Shelf, now: Timestamp) -> String {
    let edition = match &shelf.edition {
        Some(edition) => format!(
            "edition    {}\nbuilt      {}\nadvisories {}\n",
            edition.number,
            edition.built_at.strftime("%F %H:%M UTC"),
            edition.advisories
        ),
        None => "edition    none yet\n".to_owned(),
    };
    let unknown = || "unknown".to_owned();
    let rows: Vec<[String; 5]> = shelf
        .folders
        .iter()
        .map(|(name, folder)| {
            let stored = folder.collection.as_ref();
            let newest = stored.and_then(|stored| stored.newest);
            let problem = folder.problem.as_ref();
            [
                name.clone(),
                stored.map_or(0, |stored| stored.records).to_string(),
                newest.map_or_else(unknown, |time| time.strftime("%F").to_string()),
                folder
                    .checked_at
                    .map_or_else(|| "never".to_owned(), |time| age(time, now)),
                problem.map_or_else(|| "none".to_owned(), |problem| problem.code.clone()),
            ]
        })
        .collect();
    let columns = ["ECOSYSTEM", "RECORDS", "NEWEST", "COMPARED", "PROBLEM"].map(Column::new);
    format!("{edition}\n{}", table(&columns, &rows))
}

fn age(time: Timestamp, now: Timestamp) -> String {
    match now.duration_since(time).as_hours() {
        ..0 => "in the future".to_owned(),
        hours @ 0..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

/// Says something beside the data.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

#[cfg(test)]
mod tests {
    use portwarden_advisories::EcosystemInfo;
    use portwarden_core::advisory::Folder;

    use super::*;

    #[test]
    fn what_is_deployed_is_shown_with_the_age_and_the_problem_of_each_folder() {
        let mut shelf = Shelf::default();
        let now = "2026-01-11T00:00:00Z".parse().unwrap();
        assert!(write_shelf(&shelf, now).starts_with("edition    none yet\n"));
        let folder = json!({
            "collection": { "digest": portwarden_oci::Digest::of(b"x"), "records": 3, "newest": "2026-01-01T00:00:00Z" },
            "checked_at": "2026-01-10T20:00:00Z",
            "problem": { "code": "source_shrunk", "since": "2026-01-10T21:00:00Z" },
        });
        shelf
            .folders
            .insert("Debian".to_owned(), serde_json::from_value(folder).unwrap());
        shelf.folders.insert("npm".to_owned(), Folder::default());
        assert!(
            write_shelf(&shelf, now).ends_with(
                "ECOSYSTEM  RECORDS  NEWEST      COMPARED  PROBLEM\n\
                 Debian     3        2026-01-01  4 hours   source_shrunk\n\
                 npm        0        unknown     never     none\n"
            ),
            "{}",
            write_shelf(&shelf, now)
        );
    }

    #[test]
    fn every_ecosystem_has_its_age() {
        let ecosystem = |name: &str, newest: Option<&str>| EcosystemInfo {
            name: name.to_owned(),
            records: 2,
            newest: newest.map(|time| time.parse().unwrap()),
        };
        let info = Info {
            advisories: 5,
            packages: 4,
            withdrawn: 1,
            ecosystems: vec![
                ecosystem("Debian", Some("2026-01-01T00:00:00Z")),
                ecosystem("npm", Some("2026-01-10T20:00:00Z")),
                ecosystem("Go", None),
            ],
        };
        assert_eq!(
            write(&info, "2026-01-11T00:00:00Z".parse().unwrap()),
            "advisories 5\npackages   4\nwithdrawn  1\n\n\
             ECOSYSTEM  RECORDS  NEWEST      AGE\n\
             Debian     2        2026-01-01  10 days\n\
             npm        2        2026-01-10  4 hours\n\
             Go         2        unknown     unknown\n"
        );
    }
}
