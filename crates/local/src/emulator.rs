//! The AWS emulator as a child process on loopback.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use portwarden_core::id::{AccountId, Region};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, waitpgid};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{account::Account, error::LocalError};

/// Ends the emulator with its parent; see the file.
const LAUNCHER: &str = include_str!("emulator.py");

/// It is up within half a second on an idle machine of 2 cores; a busy one may take a while.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// Where and how an emulator runs.
#[derive(Debug, Clone)]
pub struct EmulatorOptions {
    /// The Python virtual environment that the emulator is installed in.
    pub venv: PathBuf,
    /// Takes the log and temporary files; created if it is missing.
    pub state: PathBuf,
    /// The port on 127.0.0.1, or any free one.
    pub port: Option<u16>,
    /// The account that calls without a signature, such as an HTTP API's, belong to.
    pub operator: AccountId,
    /// The region of such calls.
    pub region: Region,
}

/// A running emulator; it ends, with the functions that it runs, when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    group: Pid,
    port: u16,
    log: PathBuf,
    /// Keeps others out of the directory until this is closed.
    _lock: File,
}

impl Emulator {
    /// Starts an emulator and waits until it answers.
    pub async fn start(options: &EmulatorOptions) -> Result<Self, LocalError> {
        let python = options.venv.join("bin/python");
        if !python.is_file() {
            return Err(LocalError::EmulatorMissing {
                venv: options.venv.clone(),
            });
        }
        let port = claim_port(options.port)?;
        let lock = lock_directory(&options.state)?;
        let temporary = options.state.join("tmp");
        let home = options.state.join("home");
        // What a run left that was ended by force.
        remove_directory(&temporary)?;
        for directory in [&temporary, &home] {
            fs::create_dir_all(directory).map_err(|source| LocalError::file(directory, source))?;
        }
        let log = options.state.join("emulator.log");
        let output = File::create(&log).map_err(|source| LocalError::file(&log, source))?;
        let errors = output
            .try_clone()
            .map_err(|source| LocalError::file(&log, source))?;

        // Functions whose emulator has ended become children of this process, which then sees them off: not every
        // machine's first process does, a container's least of all.
        set_child_subreaper(Some(getpid())).map_err(|error| LocalError::call("adopt processes", error))?;
        let mut process = Command::new(&python)
            .args(["-c", LAUNCHER])
            // Functions inherit this environment: it holds nothing of the caller's, above all no AWS setting.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("TMPDIR", &temporary)
            .env("PYTHONUNBUFFERED", "1")
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "localhost")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_ACCOUNT_ID", options.operator.as_str())
            .env("MINISTACK_REGION", options.region.as_str())
            .env("AWS_ENDPOINT_URL", endpoint(port))
            .env("S3_DATA_DIR", temporary.join("s3"))
            // Listeners on fixed ports that nothing here uses.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|source| LocalError::file(&python, source))?;
        let group = process
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| LocalError::emulator_ended(&log))?;
        // `Child::wait` closes the pipe, so the emulator is only ever asked with `try_wait` while it should run.
        let ended = process
            .try_wait()
            .map_err(|source| LocalError::file(&python, source))?;
        let mut emulator = Self {
            process,
            group,
            port,
            log,
            _lock: lock,
        };
        if ended.is_some() {
            return Err(emulator.why_it_ended(&options.venv));
        }
        emulator.wait_until_ready(&options.venv).await?;
        Ok(emulator)
    }

    /// Returns the base URL of every AWS API of the emulator.
    pub fn endpoint(&self) -> String {
        endpoint(self.port)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the file that the emulator and the functions log to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns `id`'s root in the emulator, in `region`.
    pub fn account(&self, id: &AccountId, region: &Region) -> Account {
        Account::new(self.endpoint(), id.clone(), region.clone())
    }

    /// Ends the emulator and its functions, and waits until they are gone.
    pub async fn stop(self) {
        // Fails only when the runtime ends, which drops the value as well.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    async fn wait_until_ready(&mut self, venv: &Path) -> Result<(), LocalError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|source| LocalError::call("prepare HTTP", source))?;
        let health = format!("{}/_ministack/health", self.endpoint());
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return Err(self.why_it_ended(venv));
            }
            let answer = client.get(&health).timeout(Duration::from_secs(5)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(LocalError::EmulatorSilent {
            log: self.log.clone(),
            seconds: START_PATIENCE.as_secs(),
        })
    }

    fn why_it_ended(&self, venv: &Path) -> LocalError {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        if log.contains("No module named") {
            LocalError::EmulatorMissing {
                venv: venv.to_owned(),
            }
        } else if log.contains("already in use") {
            LocalError::PortBusy { port: self.port }
        } else {
            LocalError::emulator_ended(&self.log)
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Its state is in memory and nobody wants it: there is nothing to shut down in order.
        let _ = kill_process_group(self.group, Signal::KILL);
        // Until no process of the group is left, which takes some milliseconds.
        while waitpgid(self.group, WaitOptions::empty()).is_ok() {}
    }
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Finds a port that nobody listens on.
fn claim_port(wanted: Option<u16>) -> Result<u16, LocalError> {
    let port = wanted.unwrap_or(0);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|_| LocalError::PortBusy { port })
}

/// Makes the directory and takes it for this process alone; the system gives it back, however the process ends.
fn lock_directory(state: &Path) -> Result<File, LocalError> {
    fs::create_dir_all(state).map_err(|source| LocalError::file(state, source))?;
    let path = state.join("lock");
    let lock = File::create(&path).map_err(|source| LocalError::file(&path, source))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LocalError::StateInUse {
            state: state.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(LocalError::file(&path, source)),
    }
}

fn remove_directory(path: &Path) -> Result<(), LocalError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(LocalError::file(path, source)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
