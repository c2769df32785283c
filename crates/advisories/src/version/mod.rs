//! The order of versions, one file for each scheme.
//!
//! Every scheme compares texts where they lie: nothing is allocated (but for Maven), and numbers may have any number of
//! digits. Tests hold each scheme to the program whose order it is.

mod apk;
mod dpkg;
mod maven;
mod nuget;
mod packagist;
mod pep440;
mod rpm;
mod rubygems;
mod semver;

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

/// A way to write and to order versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Alpine's apk, as apk-tools 3 compares.
    Apk,
    /// Debian's dpkg.
    Dpkg,
    /// Maven, as its `ComparableVersion` of 3.8 compares.
    Maven,
    /// `NuGet`: `SemVer` 2.0.0 with a fourth number and without regard to case.
    NuGet,
    /// PHP's Composer.
    Packagist,
    /// Python's PEP 440.
    Pep440,
    /// The label compare of rpm.
    Rpm,
    /// Ruby's `Gem::Version`.
    RubyGems,
    /// `SemVer` 2.0.0, as npm, Go and Cargo use it; missing numbers count as zero.
    SemVer,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 9] = [
        Self::Apk,
        Self::Dpkg,
        Self::Maven,
        Self::NuGet,
        Self::Packagist,
        Self::Pep440,
        Self::Rpm,
        Self::RubyGems,
        Self::SemVer,
    ];

    /// Compares two versions; nothing if one of them is no version in this scheme.
    pub fn compare(self, a: &str, b: &str) -> Option<Ordering> {
        if a.len() > MAX_LENGTH || b.len() > MAX_LENGTH {
            return None;
        }
        match self {
            Self::Apk => apk::compare(a, b),
            Self::Dpkg => dpkg::compare(a, b),
            Self::Maven => maven::compare(a, b),
            Self::NuGet => nuget::compare(a, b),
            Self::Packagist => packagist::compare(a, b),
            Self::Pep440 => pep440::compare(a, b),
            Self::Rpm => rpm::compare(a, b),
            Self::RubyGems => rubygems::compare(a, b),
            Self::SemVer => semver::compare(a, b),
        }
    }

    /// Tells whether a text is a version in this scheme.
    pub fn is_valid(self, version: &str) -> bool {
        self.compare(version, version).is_some()
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apk => "apk",
            Self::Dpkg => "dpkg",
            Self::Maven => "Maven",
            Self::NuGet => "NuGet",
            Self::Packagist => "Packagist",
            Self::Pep440 => "PEP 440",
            Self::Rpm => "rpm",
            Self::RubyGems => "RubyGems",
            Self::SemVer => "SemVer",
        })
    }
}

/// Longer than any version in use; bounds the work of one comparison.
const MAX_LENGTH: usize = 512;

/// Compares two numbers that are written in ASCII digits; no digits are zero.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let [a, b] = [a, b].map(|digits| digits.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Splits off the longest start whose bytes all are of one kind.
fn split_while(text: &str, is_kind: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !is_kind(b)).unwrap_or(text.len());
    // Kinds are kinds of ASCII characters, or everything but some of them, so the end is between characters.
    text.split_at(end)
}

fn split_digits(text: &str) -> (&str, &str) {
    split_while(text, |b| b.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Takes off a start without regard to the case of ASCII letters.
fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
