use std::borrow::Cow;

use crate::{
    PartialCode,
    apk::Apk,
    dpkg::Dpkg,
    facts::{Declared, Facts},
    npm::Npm,
    os_release::OsReleaseFiles,
    python::Python,
};

/// All cataloguers. A further ecosystem is a folder of its own and a line here.
static CATALOGUERS: [&dyn Cataloguer; 5] = [&OsReleaseFiles, &Dpkg, &Apk, &Python, &Npm];

/// Knows one ecosystem: which files show its packages, and what they say.
pub(crate) trait Cataloguer: Sync {
    /// Tells whether a file is wanted, from its normalised path alone; asked for every file of every layer.
    fn wants(&self, path: &str) -> bool;

    /// Reads a wanted file. The content is whatever somebody put into an image.
    fn read(&self, path: &str, content: &[u8]) -> Reading;
}

/// What a cataloguer read in a file.
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

/// Takes content for text: without a byte-order mark, and with what is not UTF-8 replaced, which the second value tells.
pub(crate) fn text(content: &[u8]) -> (Cow<'_, str>, bool) {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let text = String::from_utf8_lossy(content);
    let is_replaced = matches!(text, Cow::Owned(_));
    (text, is_replaced)
}
