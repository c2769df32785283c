//! The story of `make invoke`: one function, one event, one answer.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{LocalError, LocalOptions, Runtime, recorded};

/// What to invoke, and with what.
#[derive(Debug, Clone)]
pub struct InvokeOptions {
    /// The cloud behind the function, as [`recorded::options`] describes it.
    pub cloud: LocalOptions,
    /// The function's name, such as `receiver`.
    pub function: String,
    /// The file of the event.
    pub event: PathBuf,
}

/// Runs a function's program under AWS's runtime interface emulator, with the local cloud behind it, for one event.
///
/// The answer goes to `output`, what the function logs and Lambda adds to `logs`. Failures of the function are answers,
/// too, as they are on Lambda.
pub async fn invoke(
    options: &InvokeOptions,
    output: &mut (dyn Write + Send),
    logs: &mut (dyn Write + Send),
) -> Result<(), LocalError> {
    // Before anything is started, since this is where people mistype.
    options.cloud.read_template()?.function(&options.function)?;
    let event = read_event(&options.event)?;
    let cloud = recorded::start(&options.cloud).await?;
    let function = cloud.function(&options.function).await?;
    let runtime = Runtime::start(&options.cloud.venv, &options.cloud.state, &function).await?;
    let answer = runtime.invoke(event).await?;
    told(logs.write_all(runtime.log()?.as_bytes()))?;
    told(output.write_all(&answer))?;
    told(writeln!(output))?;
    drop(runtime);
    cloud.shutdown().await;
    Ok(())
}

fn read_event(path: &Path) -> Result<Vec<u8>, LocalError> {
    let event = fs::read(path).map_err(|source| LocalError::file(path, source))?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&event)
        .map_err(|error| LocalError::file(path, io::Error::from(error)))?;
    Ok(event)
}

fn told(written: io::Result<()>) -> Result<(), LocalError> {
    written.map_err(|source| LocalError::call("write to the terminal", source))
}
