use std::{borrow::Cow, io::BufRead};

use crate::{
    Limits, PartialCode,
    apk::Apk,
    binary::Binaries,
    conda::Conda,
    dotnet::DotNet,
    dpkg::Dpkg,
    facts::{Declared, Facts},
    java::{self, Java, JavaRuntime},
    npm::{Npm, YarnCache},
    os_release::OsReleaseFiles,
    php::Php,
    python::Python,
    rpm::Rpm,
    ruby::Ruby,
};

/// All cataloguers. A further ecosystem is a folder of its own and a line here or in [`INSPECTORS`].
static CATALOGUERS: [&dyn Cataloguer; 11] = [
    &OsReleaseFiles,
    &Dpkg,
    &Apk,
    &Rpm,
    &Python,
    &Conda,
    &Npm,
    &Ruby,
    &Php,
    &DotNet,
    &JavaRuntime,
];

/// All inspectors.
static INSPECTORS: [&dyn Inspector; 3] = [&Java, &YarnCache, &Binaries];

/// Knows one ecosystem whose packages are shown by small files: which files these are, and what they say.
pub(crate) trait Cataloguer: Sync {
    /// Returns the places of what exists once in an image, such as a database: folders or files, normalised.
    ///
    /// What is wanted by its name, but is not in its place, counts only if links lead from there to it.
    fn homes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Tells whether a file is wanted, from its normalised path alone; asked for every file of every layer.
    fn wants(&self, path: &str) -> bool;

    /// Returns how many bytes such a file may have.
    fn budget(&self, limits: &Limits) -> u64 {
        limits.file_bytes
    }

    /// Reads a wanted file. The content is whatever somebody put into an image.
    fn read(&self, path: &str, content: &[u8]) -> Reading;
}

/// Knows files of any size that show packages: programs and archives, which are read as they pass by and never held.
pub(crate) trait Inspector: Sync {
    /// Tells whether a file is wanted, from its normalised path and what it starts with: at least [`START`] bytes, if
    /// there are as many. Asked for every file that no cataloguer wants.
    fn wants(&self, path: &str, start: &[u8]) -> bool;

    /// Reads a wanted file. An error of `content` is the layer's, so it can be taken for the end.
    fn read(&self, path: &str, content: &mut dyn BufRead, limits: &Limits) -> Reading;
}

/// How many bytes of a file its inspector is chosen by.
pub(crate) const START: usize = 16;

/// What was read in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) facts: Option<Facts>,
    pub(crate) flaws: Vec<PartialCode>,
}

impl Reading {
    pub(crate) fn of(facts: Facts) -> Self {
        Self {
            facts: Some(facts),
            flaws: Vec::new(),
        }
    }

    pub(crate) fn of_packages(packages: Vec<Declared>) -> Self {
        if packages.is_empty() {
            return Self::default();
        }
        Self::of(Facts::Packages(packages))
    }

    /// Notes a flaw if there is one.
    pub(crate) fn with_flaw(mut self, code: PartialCode, is_flawed: bool) -> Self {
        if is_flawed {
            self.flaws.push(code);
        }
        self
    }
}

/// Finds the cataloguer that wants a file.
pub(crate) fn wanted_by(path: &str) -> Option<&'static dyn Cataloguer> {
    CATALOGUERS.into_iter().find(|cataloguer| cataloguer.wants(path))
}

/// Finds the inspector that wants a file.
pub(crate) fn inspected_by(path: &str, start: &[u8]) -> Option<&'static dyn Inspector> {
    INSPECTORS
        .into_iter()
        .find(|inspector| inspector.wants(path, start))
}

/// Lists the places of all that exists once in an image.
pub(crate) fn homes() -> impl Iterator<Item = &'static str> {
    CATALOGUERS
        .into_iter()
        .flat_map(|cataloguer| cataloguer.homes().iter().copied())
}

/// Tells whether a file can show packages, from its path alone: only of these it matters who owns them.
pub(crate) fn may_show_packages(path: &str) -> bool {
    wanted_by(path).is_some() || may_be_inspected(path)
}

/// Programs have no suffix or that of a version (`python3.11`), libraries that of a shared object and perhaps of a version
/// (`libcrypto.so.3`), and archives one of theirs.
fn may_be_inspected(path: &str) -> bool {
    let (_, name) = crate::path::split(path);
    let is_program_folder = || {
        !["usr/share/", "var/", "etc/"]
            .iter()
            .any(|folder| path.starts_with(folder))
    };
    match name.rsplit_once('.') {
        // `RECORD`, `LICENSE` and the like are texts.
        None => name.bytes().any(|byte| byte.is_ascii_lowercase()) && is_program_folder(),
        Some((_, "so" | "exe" | "dll")) => true,
        Some((_, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => is_program_folder(),
        Some(_) => name.contains(".so.") || java::is_archive(name),
    }
}

/// Takes content for text: without a byte-order mark, and with what is not UTF-8 replaced, which the second value tells.
pub(crate) fn text(content: &[u8]) -> (Cow<'_, str>, bool) {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let text = String::from_utf8_lossy(content);
    let is_replaced = matches!(text, Cow::Owned(_));
    (text, is_replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_show_packages_is_told_by_its_path() {
        for path in [
            "usr/bin/node",
            "usr/bin/python3.11",
            "usr/lib/x86_64-linux-gnu/libcrypto.so.3",
            "usr/lib/x86_64-linux-gnu/libcrypto.so.1.1",
            "usr/lib/libpython3.11.so.1.0",
            "usr/lib/libnode.so",
            "usr/share/java/commons-lang3.jar",
            "opt/nifi/lib/standard.nar",
            "usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA",
        ] {
            assert!(may_show_packages(path), "{path}");
        }
        for path in [
            "usr/share/man/man1/bash.1",
            "usr/share/common-licenses/GPL-3",
            "usr/lib/python3/dist-packages/six.py",
            "usr/lib/os/LICENSE",
            "etc/passwd",
        ] {
            assert!(!may_show_packages(path), "{path}");
        }
    }
}
