//! Programs that must not outlive whoever started them.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, waitpgid};
use tokio::process::{Child, Command};

use crate::error::LocalError;

/// Ends a program with its parent; see the file.
const LAUNCHER: &str = include_str!("until_parent_ends.py");

/// A program and all that it starts; everything ends when this value is dropped or this process ends.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    launcher: Child,
    group: Pid,
}

/// How a program is started: with an environment of its own, and with a file for all that it says.
pub(crate) struct Launch<'a> {
    /// The Python that runs the launcher.
    pub python: &'a Path,
    /// The program and its arguments.
    pub command: &'a [&'a OsStr],
    /// The whole environment, but for `PATH`.
    pub environment: Vec<(&'a str, OsString)>,
    /// Takes standard output and standard error; emptied first.
    pub log: &'a Path,
}

impl ProcessGroup {
    /// Starts a program.
    pub(crate) fn start(launch: Launch<'_>) -> Result<Self, LocalError> {
        let output = File::create(launch.log).map_err(|source| LocalError::file(launch.log, source))?;
        let errors = output
            .try_clone()
            .map_err(|source| LocalError::file(launch.log, source))?;
        // Processes whose parent has ended become children of this process, which then sees them off: not every
        // machine's first process does, a container's least of all.
        set_child_subreaper(Some(getpid())).map_err(|error| LocalError::call("adopt processes", error))?;
        let launcher = Command::new(launch.python)
            .args(["-c", LAUNCHER])
            .args(launch.command)
            // It holds nothing of the caller's, above all no AWS setting.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(launch.environment)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|source| LocalError::file(launch.python, source))?;
        let group = launcher
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| LocalError::call("start a program", "it has no process id"))?;
        Ok(Self { launcher, group })
    }

    /// Tells whether the program has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        // `Child::wait` would close the pipe, so that the program is only ever asked.
        !matches!(self.launcher.try_wait(), Ok(None))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Nobody wants the state of these programs: there is nothing to shut down in order.
        let _ = kill_process_group(self.group, Signal::KILL);
        // Until no process of the group is left, which takes some milliseconds.
        while waitpgid(self.group, WaitOptions::empty()).is_ok() {}
    }
}

/// Finds the Python of a virtual environment.
pub(crate) fn python(venv: &Path) -> Result<PathBuf, LocalError> {
    let python = venv.join("bin/python");
    if python.is_file() {
        Ok(python)
    } else {
        Err(LocalError::EmulatorMissing {
            venv: venv.to_owned(),
        })
    }
}

/// Makes a directory, with those above it.
pub(crate) fn create_directory(path: &Path) -> Result<(), LocalError> {
    fs::create_dir_all(path).map_err(|source| LocalError::file(path, source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn start(name: &str, script: &str) -> ProcessGroup {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let state = root.join("target/local/tests");
        create_directory(&state).unwrap();
        ProcessGroup::start(Launch {
            python: &python(&root.join(".venv")).unwrap(),
            command: &["sh".as_ref(), "-c".as_ref(), script.as_ref()],
            environment: vec![("MARK", name.into())],
            log: &state.join(name),
        })
        .unwrap()
    }

    /// Lists the processes that were started under a name.
    fn processes_of(name: &str) -> Vec<PathBuf> {
        let wanted = format!("MARK={name}");
        let processes = fs::read_dir("/proc").unwrap();
        processes
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|process| {
                let environment = fs::read(process.join("environ")).unwrap_or_default();
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == wanted.as_bytes())
            })
            .collect()
    }

    /// Waits for as many processes, which take a moment to start.
    async fn until(name: &str, count: usize) {
        for _ in 0..600 {
            if processes_of(name).len() == count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{name}: {:?}", processes_of(name));
    }

    #[tokio::test]
    async fn what_runs_in_the_group_ends_with_it_and_is_seen_off() {
        // The second sleep has a parent that has ended, as a function's has.
        let group = start("process-group", "(sleep 600 &); exec sleep 600");
        until("process-group", 3).await;
        let processes = processes_of("process-group");
        drop(group);
        for process in processes {
            assert!(!process.exists(), "not even as a zombie: {}", process.display());
        }
    }

    /// The launcher reads the pipe whose other end this process holds.
    #[tokio::test]
    async fn nothing_survives_the_end_of_the_parent() {
        let mut group = start("process-orphan", "exec sleep 600");
        until("process-orphan", 2).await;
        drop(group.launcher.stdin.take());
        let status = group.launcher.wait().await.unwrap();
        assert_eq!(status.signal(), Some(9));
        assert_eq!(processes_of("process-orphan"), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn a_program_that_has_ended_is_known_to_have() {
        let mut group = start("process-ended", "exit 3");
        while !group.has_ended() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(group.launcher.try_wait().unwrap().unwrap().code(), Some(3));
    }
}
