//! The independent IAM simulator: one process for a whole test, asked in batches.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A running simulator.
pub(crate) struct Oracle {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    /// Starts the simulator that `tests/template` installs; says why that cannot be done.
    pub(crate) fn start() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let script = root.join("tests/template/simulate.py");
        let python = root.join(".venv/bin/python");
        if !python.exists() {
            return Err("there is no .venv; make sets it up".to_owned());
        }
        let installed = Command::new(python)
            .arg("-B")
            .arg(script)
            .arg("--command")
            .output();
        let installed = installed.map_err(|error| error.to_string())?;
        if !installed.status.success() {
            return Err(String::from_utf8_lossy(&installed.stderr).trim().to_owned());
        }
        let command: Vec<String> =
            serde_json::from_slice(&installed.stdout).map_err(|error| error.to_string())?;
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let answers = BufReader::new(process.stdout.take().unwrap());
        Ok(Self { process, answers })
    }

    /// Has requests judged, all in one batch: a verdict for each, or the allowed actions where it asks for every one.
    pub(crate) fn judge<T: DeserializeOwned>(&mut self, requests: &[Value]) -> Vec<T> {
        let mut line = serde_json::to_string(requests).unwrap();
        line.push('\n');
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.flush().unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
