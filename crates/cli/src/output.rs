//! Where a command's data goes: standard output, or a file that is never half written.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::failure::Failure;

/// Where a command's data goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl Output {
    /// Takes the value of `--output`; `-` is standard output. Fails at once where nothing could be written later.
    pub(crate) fn new(path: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| path != Path::new("-")) else {
            return Ok(Self::Stdout);
        };
        let directory = directory_of(&path);
        if !directory.is_dir() {
            let fix = format!(
                "create it (mkdir -p {}), or name another file",
                directory.display()
            );
            let message = format!("there is no directory {}", directory.display());
            return Err(Failure::new("output_failed", message, fix));
        }
        if path.is_dir() {
            let message = format!("{} is a directory", path.display());
            return Err(Failure::new("output_failed", message, "name a file in it"));
        }
        Ok(Self::File(path))
    }

    /// Writes everything, or leaves what was there before.
    pub(crate) fn write(&self, content: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                match stdout.write_all(content).and_then(|()| stdout.flush()) {
                    // The reader has all that it wants, as `head` does.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    written => written.map_err(|error| failed("standard output", &error)),
                }
            }
            Self::File(path) => {
                replace(path, content).map_err(|error| failed(&path.display().to_string(), &error))
            }
        }
    }

    /// Writes a document that ends without a line's end, and ends the line.
    pub(crate) fn write_line(&self, mut document: Vec<u8>) -> Result<(), Failure> {
        document.push(b'\n');
        self.write(&document)
    }

    /// Writes a value as indented JSON.
    pub(crate) fn write_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut json =
            serde_json::to_vec_pretty(value).expect("texts, numbers and lists can be written as JSON");
        json.push(b'\n');
        self.write(&json)
    }
}

fn failed(name: &str, error: &io::Error) -> Failure {
    let fix = "make room, or name a file that may be written";
    Failure::new("output_failed", format!("{name} cannot be written"), fix).because(error)
}

/// Puts a whole file in the place of the old one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // A link keeps its place, and its target gets the content.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        // A terminal, a pipe: there is nothing that could be replaced.
        return fs::OpenOptions::new().write(true).open(&path)?.write_all(content);
    }
    // What the shell's own redirection would ask for; the umask takes its part.
    let permissions =
        fs::metadata(&path).map_or_else(|_| fs::Permissions::from_mode(0o666), |old| old.permissions());
    let mut file = tempfile::Builder::new()
        .prefix(".portwarden-")
        .permissions(permissions)
        .tempfile_in(directory_of(&path))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_replaced_and_not_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sbom.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let reader = fs::File::open(&path).unwrap();
        Output::new(Some(path.clone())).unwrap().write(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        // Whoever reads the old file reads it to its end.
        assert_eq!(io::read_to_string(reader).unwrap(), "old");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(names(directory.path()), ["sbom.json"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sbom.json");
        let output = Output::new(Some(path.clone())).unwrap();
        // The place is taken by something that cannot be replaced by a file.
        fs::create_dir(&path).unwrap();
        let failure = output.write(b"new").unwrap_err();
        assert_eq!(failure.problem().code, "output_failed");
        assert_eq!(names(directory.path()), ["sbom.json"]);
        assert!(path.is_dir());
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        let link = directory.path().join("link");
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        Output::new(Some(link.clone())).unwrap().write(b"new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn devices_are_written_and_never_replaced() {
        Output::new(Some("/dev/null".into()))
            .unwrap()
            .write(b"new")
            .unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_before_the_work() {
        let directory = tempfile::tempdir().unwrap();
        for path in [
            directory.path().join("missing/sbom.json"),
            directory.path().to_owned(),
        ] {
            let failure = Output::new(Some(path)).unwrap_err();
            assert_eq!(failure.problem().code, "output_failed");
            assert!(!failure.problem().fix.is_empty());
        }
        assert_eq!(Output::new(Some("-".into())), Ok(Output::Stdout));
        assert_eq!(Output::new(None), Ok(Output::Stdout));
    }
}
