//! The AWS emulator as a child process on loopback.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use portwarden_core::id::{AccountId, Region};
use tokio::time::{Instant, sleep};

use crate::{
    account::Account,
    error::LocalError,
    process::{self, Launch, ProcessGroup},
};

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
    // Dropped in this order: whoever writes to the files ends first, and the directory is given back last.
    processes: ProcessGroup,
    _temporary: TemporaryFiles,
    port: u16,
    log: PathBuf,
    /// Keeps others out of the directory until this is closed.
    _lock: File,
}

impl Emulator {
    /// Starts an emulator and waits until it answers.
    pub async fn start(options: &EmulatorOptions) -> Result<Self, LocalError> {
        let python = process::python(&options.venv)?;
        let port = claim_port(options.port)?;
        let lock = lock_directory(&options.state)?;
        let temporary = TemporaryFiles::create(options.state.join("tmp"))?;
        let home = options.state.join("home");
        process::create_directory(&home)?;
        let log = options.state.join("emulator.log");
        let processes = ProcessGroup::start(Launch {
            python: &python,
            command: &[python.as_os_str(), "-m".as_ref(), "ministack".as_ref()],
            // Functions inherit this environment.
            environment: vec![
                ("HOME", home.into()),
                ("TMPDIR", temporary.0.clone().into()),
                ("PYTHONUNBUFFERED", "1".into()),
                ("AUTH", "true".into()),
                ("BIND_HOST", "127.0.0.1".into()),
                ("MINISTACK_HOST", "localhost".into()),
                ("GATEWAY_PORT", port.to_string().into()),
                ("MINISTACK_ACCOUNT_ID", options.operator.as_str().into()),
                ("MINISTACK_REGION", options.region.as_str().into()),
                ("AWS_ENDPOINT_URL", endpoint(port).into()),
                ("S3_DATA_DIR", temporary.0.join("s3").into()),
                // Listeners on fixed ports that nothing here uses.
                ("IOT_MTLS_ENABLED", "0".into()),
                ("SFTP_ENABLED", "0".into()),
            ],
            log: &log,
        })?;
        let mut emulator = Self {
            processes,
            _temporary: temporary,
            port,
            log,
            _lock: lock,
        };
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
            if self.processes.has_ended() {
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

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Finds a port that nobody listens on.
pub(crate) fn claim_port(wanted: Option<u16>) -> Result<u16, LocalError> {
    let port = wanted.unwrap_or(0);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|_| LocalError::PortBusy { port })
}

/// Makes the directory and takes it for this process alone; the system gives it back, however the process ends.
fn lock_directory(state: &Path) -> Result<File, LocalError> {
    process::create_directory(state)?;
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

/// The emulator's own files, among them a copy of each function's program: hundreds of megabytes that nobody reads again.
#[derive(Debug)]
struct TemporaryFiles(PathBuf);

impl TemporaryFiles {
    fn create(path: PathBuf) -> Result<Self, LocalError> {
        // What a run left that was ended by force.
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(LocalError::file(&path, source));
            }
            _ => {}
        }
        process::create_directory(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFiles {
    fn drop(&mut self) {
        // What stays is cleared away by the next start, which says why where it cannot.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
