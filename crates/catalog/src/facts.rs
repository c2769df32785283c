use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::OsRelease;

/// What one file of a layer says, as it is stored with the layer and folded later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Facts {
    /// These packages are installed.
    Packages(Vec<Declared>),
    /// This package, declared elsewhere, owns these files.
    Files(FileList),
    /// These licences are those of a package that is declared elsewhere.
    Licenses(Vec<String>),
    /// The distribution is this one.
    Os(OsRelease),
    /// It is a symbolic link to this path.
    Link(String),
}

/// A package as a file declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Declared {
    pub(crate) kind: PackageKind,
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) architecture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<SourcePackage>,
    /// What else its package URL says, by the names that qualifiers of its kind have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) qualifiers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) licenses: Vec<String>,
    /// Those of its files that can show packages; the others matter to nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) owns: Vec<String>,
}

/// Those files of a package that can show packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileList {
    pub(crate) kind: PackageKind,
    pub(crate) package: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) architecture: Option<String>,
    pub(crate) paths: Vec<String>,
}

/// What kind of package, by who installs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    /// Alpine's apk.
    Apk,
    /// Rust's crates, in programs that `cargo auditable` built.
    Cargo,
    /// PHP's Composer.
    Composer,
    /// Conda's packages, in any language.
    Conda,
    /// Debian's dpkg.
    Deb,
    /// Ruby's gems.
    Gem,
    /// Well-known programs that no package manager installed.
    Generic,
    /// Go's modules, in programs.
    Golang,
    /// Java's archives, by the names of Maven.
    Maven,
    /// npm and its relatives.
    Npm,
    /// .NET's packages.
    Nuget,
    /// pip and its relatives.
    Pypi,
    /// Red Hat's rpm.
    Rpm,
}

impl PackageKind {
    /// Returns the purl type, such as `deb`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apk => "apk",
            Self::Cargo => "cargo",
            Self::Composer => "composer",
            Self::Conda => "conda",
            Self::Deb => "deb",
            Self::Gem => "gem",
            Self::Generic => "generic",
            Self::Golang => "golang",
            Self::Maven => "maven",
            Self::Npm => "npm",
            Self::Nuget => "nuget",
            Self::Pypi => "pypi",
            Self::Rpm => "rpm",
        }
    }
}

/// The source package that a distribution's package was built from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SourcePackage {
    /// The source package's name.
    pub name: String,
    /// Its version, where it is not the package's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Declared {
    /// Declares a package; nothing if there is no usable name. An unusable version counts as missing.
    pub(crate) fn new(kind: PackageKind, name: &str, version: Option<&str>) -> Option<Self> {
        Some(Self {
            kind,
            name: word(name)?.to_owned(),
            version: version.and_then(version_word).map(str::to_owned),
            architecture: None,
            source: None,
            qualifiers: BTreeMap::new(),
            licenses: Vec::new(),
            owns: Vec::new(),
        })
    }

    /// Adds a qualifier of the package URL, unless its value is none.
    pub(crate) fn qualify(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.and_then(word) {
            self.qualifiers.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Adds a licence, unless the text is none.
    pub(crate) fn add_license(&mut self, text: &str) {
        add_license(&mut self.licenses, text);
    }
}

/// Adds a licence to others, unless the text is none or there are too many.
pub(crate) fn add_license(licenses: &mut Vec<String>, text: &str) {
    let text = text.trim();
    let is_name = (1..=MAX_LICENSE).contains(&text.len()) && !text.chars().any(char::is_control);
    let is_known = !text.eq_ignore_ascii_case("unknown");
    if is_name && is_known && licenses.len() < MAX_LICENSES && !licenses.iter().any(|known| known == text) {
        licenses.push(text.to_owned());
    }
}

/// Tells a name, version or architecture from garbage: one short word that can be printed.
pub(crate) fn word(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_word = (1..=MAX_WORD).contains(&text.len())
        && !text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == char::REPLACEMENT_CHARACTER);
    is_word.then_some(text)
}

/// Tells a version from garbage: no ecosystem has a slash in one, and behind it a package URL would name another package.
fn version_word(text: &str) -> Option<&str> {
    word(text).filter(|version| !version.contains('/'))
}

/// Longer than any name or version in use: npm allows 214 and 256 characters, Debian's tools far fewer.
const MAX_WORD: usize = 512;

/// More than any package in use declares; each new one is compared with all before it.
const MAX_LICENSES: usize = 16;

/// Longer "licences" are licence texts.
const MAX_LICENSE: usize = 256;

impl Facts {
    /// About how many bytes of memory the facts take.
    pub(crate) fn weight(&self) -> usize {
        let list = |texts: &[String]| {
            texts
                .iter()
                .map(|text| text.len() + size_of::<String>())
                .sum::<usize>()
        };
        match self {
            Self::Packages(packages) => packages
                .iter()
                .map(|package| {
                    let qualifiers = package
                        .qualifiers
                        .values()
                        .map(|value| value.len() + 64)
                        .sum::<usize>();
                    size_of::<Declared>() + list(&package.licenses) + list(&package.owns) + qualifiers + 64
                })
                .sum(),
            Self::Files(files) => size_of::<FileList>() + list(&files.paths),
            Self::Licenses(licenses) => list(licenses),
            Self::Os(_) => size_of::<OsRelease>(),
            Self::Link(target) => target.len() + size_of::<String>(),
        }
    }
}
