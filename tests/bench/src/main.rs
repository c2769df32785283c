#![doc = include_str!("../README.md")]

mod advisories;
mod calls;
mod console;
mod floor;
mod functions;
mod images;
mod peers;
mod program;
mod push;
mod registry;
mod rematch;
mod rounds;
mod scan;
mod sheet;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};

use crate::sheet::Sheet;

/// Measures Portwarden, prints tables and writes them as JSON to `target/bench`.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// What to measure; everything if nothing is named
    sets: Vec<Set>,
    #[command(subcommand)]
    helper: Option<Helper>,
}

/// A set of figures: each is a file of its name.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    /// Starts, answers and archives of the functions
    Functions,
    /// Calls to AWS for each event
    Calls,
    /// Scans of images, beside other scanners and the floor
    Scan,
    /// From a push to its report, on the local cloud
    Push,
    /// The console's pages for a tenant with 100,000 images
    Console,
    /// The advisory database: building, loading, matching
    Advisories,
    /// A new edition of it, carried to 100,000 images
    Rematch,
    /// A day of tests of 10,000 integrations
    Rounds,
}

/// What the bench starts itself as, to measure it from outside.
#[derive(Subcommand)]
#[command(hide = true)]
enum Helper {
    /// Reads an image's layers, and does nothing else with them than every scanner must
    #[command(hide = true)]
    ReadFloor { reference: portwarden_oci::Reference },
}

/// The one error of this program: whoever reads it has the code before them.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where everything is.
struct Bench {
    /// The checkout.
    root: PathBuf,
    /// The release builds.
    programs: PathBuf,
    /// What is kept from run to run, and the results.
    state: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.helper {
        Some(Helper::ReadFloor { reference }) => floor::read(&reference).await,
        None => measure(&arguments.sets).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            let mut cause = failure.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn measure(sets: &[Set]) -> Result<(), Failure> {
    let bench = Bench::find()?;
    let all = Set::value_variants();
    for set in if sets.is_empty() { all } else { sets } {
        let sheet = set.measure(&bench).await?;
        println!("{sheet}");
        sheet.write(&bench.state)?;
    }
    Ok(())
}

impl Set {
    async fn measure(self, bench: &Bench) -> Result<Sheet, Failure> {
        match self {
            Self::Functions => functions::measure(bench).await,
            Self::Calls => calls::measure(bench).await,
            Self::Scan => scan::measure(bench).await,
            Self::Push => push::measure(bench).await,
            Self::Console => console::measure().await,
            Self::Advisories => advisories::measure(bench),
            Self::Rematch => rematch::measure().await,
            Self::Rounds => rounds::measure().await,
        }
    }
}

impl Bench {
    fn find() -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()?;
        let own = env::current_exe()?;
        let programs = own.parent().ok_or("this program lies nowhere")?.to_owned();
        let state = root.join("target/bench");
        std::fs::create_dir_all(&state)?;
        Ok(Self {
            root,
            programs,
            state,
        })
    }
}
