//! Runs programs and finds out what they took.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{Bench, Failure, sheet::median};

/// Runs a program and writes its [`Cost`] as JSON; see the file.
const MEASURE: &str = include_str!("measure_program.py");

/// What one run of a program took.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) wall_ms: f64,
    /// Of all processors.
    pub(crate) processor_ms: f64,
    /// The most memory that it had at once.
    pub(crate) memory_mb: f64,
    /// What it wrote to files, whether they are left or not.
    pub(crate) written_mb: f64,
    /// How it ended.
    pub(crate) status: i32,
}

/// A program to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// What is set in its environment.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// What is deleted before each run, so that no run profits from another.
    pub(crate) scratch: PathBuf,
    /// How it may end.
    pub(crate) good: &'static [i32],
}

/// Runs programs in turn, so that whatever else the machine does meets all of them, and returns the medians.
pub(crate) fn measure(bench: &Bench, programs: &[Program], rounds: usize) -> Result<Vec<Cost>, Failure> {
    let mut costs = vec![Vec::new(); programs.len()];
    for _ in 0..rounds {
        for (program, costs) in programs.iter().zip(&mut costs) {
            costs.push(program.run(bench)?);
        }
    }
    Ok(costs.iter().map(|costs| Cost::median(costs)).collect())
}

impl Cost {
    fn median(costs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(costs.iter().map(figure));
        Self {
            wall_ms: of(|cost| cost.wall_ms),
            processor_ms: of(|cost| cost.processor_ms),
            memory_mb: of(|cost| cost.memory_mb),
            written_mb: of(|cost| cost.written_mb),
            status: costs.iter().map(|cost| cost.status).max().unwrap_or_default(),
        }
    }
}

impl Program {
    fn run(&self, bench: &Bench) -> Result<Cost, Failure> {
        let _ = std::fs::remove_dir_all(&self.scratch);
        std::fs::create_dir_all(&self.scratch)?;
        let output = Command::new(bench.root.join(".venv/bin/python"))
            .args(["-c", MEASURE])
            .args(&self.command)
            .env("TMPDIR", &self.scratch)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let cost: Cost = serde_json::from_slice(&output.stdout).map_err(|_| self.failed(&said))?;
        if self.good.contains(&cost.status) {
            Ok(cost)
        } else {
            Err(self.failed(&format!("status {}: {said}", cost.status)))
        }
    }

    fn failed(&self, why: &str) -> Failure {
        let command = self.command.join(OsStr::new(" "));
        format!("{} failed ({}): {why}", self.name, command.display()).into()
    }
}

/// Finds a program on the path, or in a folder that the checkout may have.
pub(crate) fn find(name: &str, folder: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).chain([folder.to_owned()]).collect();
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
