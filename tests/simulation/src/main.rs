//! Runs one simulation, and tells how it went.

use std::{process::ExitCode, sync::Arc, time::Instant};

use clap::Parser;
use portwarden_core::random::{OsRandomness, Randomness as _};
use portwarden_simulation::{AsBuilt, Faults, Finished, Settings, run};

/// Runs receiver, verifier and scanner in a simulated world, and checks after every step what must always be true.
#[derive(Parser)]
struct Arguments {
    /// Decides everything that is left to chance; the same seed gives the same run.
    #[arg(long)]
    seed: Option<u64>,
    /// How many events are sent.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// How many tenants there are.
    #[arg(long, default_value_t = 100)]
    tenants: usize,
    /// Part of a name, such as a digest: every step that has to do with it is written to standard error.
    #[arg(long)]
    watch: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = Settings {
        seed: arguments.seed.unwrap_or_else(any_seed),
        events: arguments.events,
        tenants: arguments.tenants.max(1),
        faults: Faults::default(),
        watch: arguments.watch,
    };
    let replay = format!(
        "make simulate SEED={} EVENTS={} TENANTS={}",
        settings.seed, settings.events, settings.tenants
    );
    println!("{replay}");
    let started = Instant::now();
    match run(&settings, Arc::new(AsBuilt)) {
        Ok(finished) => {
            tell(&finished, started);
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("{violation}\nreplay: {replay}");
            ExitCode::FAILURE
        }
    }
}

fn tell(finished: &Finished, started: Instant) {
    let Finished {
        digest,
        steps,
        figures,
        took,
    } = finished;
    println!("{figures:#?}");
    println!(
        "nothing broken in {steps} steps, {:#} of simulated time, {:.1} s; trace {digest}",
        took.round(jiff::Unit::Minute).unwrap_or(*took),
        started.elapsed().as_secs_f64(),
    );
}

fn any_seed() -> u64 {
    // Short enough to be typed.
    let mut bytes = [0; 4];
    OsRandomness.fill(&mut bytes);
    u32::from_le_bytes(bytes).into()
}
