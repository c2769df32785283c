//! A function's program under AWS's own runtime interface emulator, which is what `sam local invoke` runs in a container.
//!
//! Source: <https://github.com/aws/aws-lambda-runtime-interface-emulator>, README.

use std::{
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Client;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    emulator::claim_port,
    error::LocalError,
    function::Function,
    process::{self, Launch, ProcessGroup},
};

/// One instance of a function: its program starts with the first invocation and ends when this value is dropped.
#[derive(Debug)]
pub struct Runtime {
    processes: ProcessGroup,
    invocations: String,
    log: PathBuf,
    client: Client,
}

/// It listens within some milliseconds; a busy machine may take a while.
const START_PATIENCE: Duration = Duration::from_secs(30);

impl Runtime {
    /// Starts the runtime interface emulator of `venv` for a function, whose log goes to a file of its name in `state`.
    pub async fn start(venv: &Path, state: &Path, function: &Function) -> Result<Self, LocalError> {
        let python = process::python(venv)?;
        let emulator = program(venv);
        if !emulator.is_file() {
            return Err(LocalError::EmulatorMissing {
                venv: venv.to_owned(),
            });
        }
        if !function.program.is_file() {
            return Err(LocalError::FunctionMissing {
                function: function.name.clone(),
                path: function.program.clone(),
            });
        }
        process::create_directory(state)?;
        let log = state.join(format!("{}.log", function.name));
        // Loopback only: its own default is every address of the machine.
        let (port, api) = (claim_port(None)?, claim_port(None)?);
        let address = |port: u16| OsString::from(format!("{}:{port}", Ipv4Addr::LOCALHOST));
        let processes = ProcessGroup::start(Launch {
            python: &python,
            command: &[
                emulator.as_os_str(),
                "--runtime-interface-emulator-address".as_ref(),
                &address(port),
                "--runtime-api-address".as_ref(),
                &address(api),
                // Its own log, not the function's.
                "--log-level".as_ref(),
                "error".as_ref(),
                function.program.as_os_str(),
                "bootstrap".as_ref(),
            ],
            environment: function
                .environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.into()))
                .collect(),
            log: &log,
        })?;
        let client = Client::builder()
            .no_proxy()
            .build()
            .map_err(|source| LocalError::call("prepare HTTP", source))?;
        let mut runtime = Self {
            processes,
            invocations: format!(
                "http://{}:{port}/2015-03-31/functions/function/invocations",
                Ipv4Addr::LOCALHOST
            ),
            log,
            client,
        };
        runtime.wait_until_ready(port).await?;
        Ok(runtime)
    }

    /// Invokes the function and returns its answer, which for a failure is an object with `errorType`.
    pub async fn invoke(&self, event: Vec<u8>) -> Result<Vec<u8>, LocalError> {
        let fail = |source| LocalError::call("invoke the function", source);
        let answer = self.client.post(&self.invocations).body(event).send();
        let answer = answer
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(fail)?;
        Ok(answer.bytes().await.map_err(fail)?.into())
    }

    /// Returns what the function has logged, between the lines that Lambda adds.
    pub fn log(&self) -> Result<String, LocalError> {
        fs::read_to_string(&self.log).map_err(|source| LocalError::file(&self.log, source))
    }

    async fn wait_until_ready(&mut self, port: u16) -> Result<(), LocalError> {
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            if self.processes.has_ended() {
                return Err(LocalError::emulator_ended(&self.log));
            }
            if Instant::now() >= deadline {
                return Err(LocalError::EmulatorSilent {
                    log: self.log.clone(),
                    seconds: START_PATIENCE.as_secs(),
                });
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Returns where AWS's program lies in the virtual environment: it comes with the SAM command line.
fn program(venv: &Path) -> PathBuf {
    let name = if cfg!(target_arch = "aarch64") {
        "aws-lambda-rie-arm64"
    } else {
        "aws-lambda-rie-x86_64"
    };
    venv.join("runtime/samcli/local/rapid").join(name)
}
