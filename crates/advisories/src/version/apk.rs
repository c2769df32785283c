//! Alpine's order of versions.
//!
//! Source: apk-tools 3, `apk-package(5)`: `digit{.digit}…{letter}{_suffix{number}}…{~hash}{-rN}`.

use std::cmp::Ordering;

use super::{compare_numbers, is_number, split_digits, split_while};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let mut parts = [Parts::new(a), Parts::new(b)];
    if parts.iter().any(|parts| parts.clone().any(|part| part.is_none())) {
        return None;
    }
    loop {
        let [a, b] = parts.each_mut().map(|parts| parts.next().flatten());
        return Some(match (a, b) {
            (None, None) => Ordering::Equal,
            (Some(part), None) => part.compare_to_end(),
            (None, Some(part)) => part.compare_to_end().reverse(),
            (Some(a), Some(b)) => match a.compare(&b) {
                Ordering::Equal => continue,
                order => order,
            },
        });
    }
}

/// One part of a version.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    First(&'a str),
    Number(&'a str),
    Letter(u8),
    Suffix(Suffix),
    SuffixNumber(&'a str),
    Hash(&'a str),
    Revision(&'a str),
}

/// The suffixes, in their order; what is before [`Suffix::Cvs`] comes before the version without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Suffix {
    Alpha,
    Beta,
    Pre,
    Rc,
    Cvs,
    Svn,
    Git,
    Hg,
    P,
}

impl Part<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            // A leading zero makes it a fraction.
            (Self::Number(a), Self::Number(b)) if a.starts_with('0') || b.starts_with('0') => a.cmp(b),
            (Self::First(a), Self::First(b))
            | (Self::Number(a), Self::Number(b))
            | (Self::SuffixNumber(a), Self::SuffixNumber(b))
            | (Self::Revision(a), Self::Revision(b)) => compare_numbers(a, b),
            (Self::Letter(a), Self::Letter(b)) => a.cmp(&b),
            (Self::Suffix(a), Self::Suffix(b)) => a.cmp(&b),
            (Self::Hash(a), Self::Hash(b)) => a.cmp(b),
            (Self::Suffix(suffix), _) if suffix < Suffix::Cvs => Ordering::Less,
            (_, Self::Suffix(suffix)) if suffix < Suffix::Cvs => Ordering::Greater,
            // What could have gone on longer with parts of a lower rank is newer.
            (a, b) => b.rank().cmp(&a.rank()),
        }
    }

    fn compare_to_end(&self) -> Ordering {
        match self {
            Self::Suffix(suffix) if *suffix < Suffix::Cvs => Ordering::Less,
            _ => Ordering::Greater,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::First(_) => 0,
            Self::Number(_) => 1,
            Self::Letter(_) => 2,
            Self::Suffix(_) => 3,
            Self::SuffixNumber(_) => 4,
            Self::Hash(_) => 5,
            Self::Revision(_) => 6,
        }
    }
}

/// The parts of a version; yields `None` and ends where it is not one.
#[derive(Debug, Clone)]
struct Parts<'a> {
    rest: &'a str,
    /// The rank of the part before.
    rank: Option<u8>,
    has_ended: bool,
}

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text.trim(),
            rank: None,
            has_ended: false,
        }
    }

    fn read(&mut self) -> Option<Part<'a>> {
        let number = |text: &'a str| {
            let (digits, rest) = split_digits(text);
            is_number(digits).then_some((digits, rest))
        };
        let Some(rank) = self.rank else {
            let (digits, rest) = number(self.rest)?;
            self.rest = rest;
            return Some(Part::First(digits));
        };
        let (part, rest) = match self.rest.as_bytes()[0] {
            letter @ b'a'..=b'z' if rank <= 1 => (Part::Letter(letter), &self.rest[1..]),
            b'.' if rank <= 1 => {
                let (digits, rest) = number(&self.rest[1..])?;
                (Part::Number(digits), rest)
            }
            b'0'..=b'9' if rank == 3 => {
                let (digits, rest) = number(self.rest)?;
                (Part::SuffixNumber(digits), rest)
            }
            b'_' if rank <= 4 => {
                let (name, rest) = split_while(&self.rest[1..], |b| b.is_ascii_lowercase());
                (Part::Suffix(Suffix::parse(name)?), rest)
            }
            b'~' if rank < 5 => {
                let (hash, rest) = split_while(&self.rest[1..], |b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                (!hash.is_empty()).then_some((Part::Hash(hash), rest))?
            }
            b'-' if rank < 6 => {
                let (digits, rest) = number(self.rest.strip_prefix("-r")?)?;
                (Part::Revision(digits), rest)
            }
            _ => return None,
        };
        self.rest = rest;
        Some(part)
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Option<Part<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended || (self.rest.is_empty() && self.rank.is_some()) {
            return None;
        }
        let part = self.read();
        match &part {
            Some(part) => self.rank = Some(part.rank()),
            None => self.has_ended = true,
        }
        Some(part)
    }
}

impl Suffix {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "alpha" => Self::Alpha,
            "beta" => Self::Beta,
            "pre" => Self::Pre,
            "rc" => Self::Rc,
            "cvs" => Self::Cvs,
            "svn" => Self::Svn,
            "git" => Self::Git,
            "hg" => Self::Hg,
            "p" => Self::P,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No apk runs on every machine; these follow from its documented rules.
    #[test]
    fn versions_are_ordered_as_documented() {
        for group in [
            &[
                "1.2_alpha",
                "1.2_alpha1",
                "1.2_beta",
                "1.2_pre2",
                "1.2_rc1",
                "1.2",
                "1.2_cvs",
                "1.2_svn",
                "1.2_git20",
                "1.2_hg",
                "1.2_p",
                "1.2_p1",
            ][..],
            &[
                "1.2_rc1",
                "1.2-r0",
                "1.2-r1",
                "1.2-r10",
                "1.2_p1-r0",
                "1.2a",
                "1.2b-r1",
                "1.2.0",
                "1.2.1",
                "1.2.10",
                "1.10",
                "2",
            ],
            // A number with a zero in front is a fraction.
            &["1.0", "1.003", "1.02", "1.1", "1.9", "1.11"],
            &["1.2~0a1b-r1", "1.2~0a1c-r0"],
            &["1.2_rc1_p1", "1.2_rc2"],
            &["99999999999999999999.1", "100000000000000000000.0"],
        ] {
            for pair in group.windows(2) {
                assert_eq!(compare(pair[0], pair[1]), Some(Ordering::Less), "{pair:?}");
                assert_eq!(compare(pair[1], pair[0]), Some(Ordering::Greater), "{pair:?}");
            }
        }
        for invalid in [
            "", "a", "1.", "1..2", "1ab", "1a1", "1_foo", "1_", "1-1", "1-r", "1-r1-r2", "1~", "1~x", "1.A",
            ".1",
        ] {
            assert_eq!(compare(invalid, "1"), None, "{invalid}");
        }
    }
}
