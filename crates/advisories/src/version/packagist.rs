//! The order of PHP's Composer.
//!
//! Sources: the documentation of `composer/semver` and of PHP's `version_compare`. Branches (`dev-main`) have no order.

use std::cmp::Ordering;

use super::{compare_numbers, split_digits, strip_prefix_ignoring_case};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let [a, b] = [Version::parse(a)?, Version::parse(b)?];
    let (mut a, mut b) = (a.parts(), b.parts());
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Some(Ordering::Equal),
            // More numbers are newer; a word is compared with the number that is not there.
            (Some(part), None) => part.compare_to_end(),
            (None, Some(part)) => part.compare_to_end().reverse(),
            (Some(Part::Number(a)), Some(Part::Number(b))) => compare_numbers(a, b),
            (Some(a), Some(b)) => a.stability().cmp(&b.stability()),
        };
        if order.is_ne() {
            return Some(order);
        }
    }
}

struct Version<'a> {
    /// Up to four numbers with dots between them, or a date.
    numbers: &'a str,
    is_date: bool,
    stability: Option<Stability>,
    /// The numbers after the stability.
    stability_numbers: &'a str,
    is_dev: bool,
}

/// The stabilities, in their order; no word is better than a candidate and worse than a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stability {
    Dev,
    Alpha,
    Beta,
    Candidate,
    Number,
    Patch,
}

#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Number(&'a str),
    Word(Stability),
}

impl Part<'_> {
    fn stability(self) -> Stability {
        match self {
            Self::Number(_) => Stability::Number,
            Self::Word(stability) => stability,
        }
    }

    fn compare_to_end(self) -> Ordering {
        match self {
            Self::Number(_) => Ordering::Greater,
            Self::Word(stability) => stability.cmp(&Stability::Number),
        }
    }
}

/// The longer spellings first.
const STABILITIES: [(&str, Option<Stability>); 9] = [
    ("stable", None),
    ("beta", Some(Stability::Beta)),
    ("b", Some(Stability::Beta)),
    ("rc", Some(Stability::Candidate)),
    ("alpha", Some(Stability::Alpha)),
    ("a", Some(Stability::Alpha)),
    ("patch", Some(Stability::Patch)),
    ("pl", Some(Stability::Patch)),
    ("p", Some(Stability::Patch)),
];

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let text = match text.rsplit_once('@') {
            Some((version, flag)) => {
                let is_flag = ["stable", "rc", "beta", "alpha", "dev"]
                    .iter()
                    .any(|name| flag.eq_ignore_ascii_case(name));
                is_flag.then_some(version)?
            }
            None => text,
        };
        let text = match text.split_once('+') {
            Some((version, build)) => {
                (!build.is_empty() && !build.contains(char::is_whitespace)).then_some(version)?
            }
            None => text,
        };
        let text = strip_prefix_ignoring_case(text, "v").unwrap_or(text);
        classical(text).or_else(|| dated(text))
    }

    fn with_modifier(numbers: &'a str, is_date: bool, modifier: &'a str) -> Option<Self> {
        let is_separator = |c: char| matches!(c, '.' | '_' | '-');
        let plain = Self {
            numbers,
            is_date,
            stability: None,
            stability_numbers: "",
            is_dev: false,
        };
        if let Some(is_dev) = dev(modifier) {
            return Some(Self { is_dev, ..plain });
        }
        let word = modifier.strip_prefix(is_separator).unwrap_or(modifier);
        if let Some(is_dev) = dev(word) {
            return Some(Self { is_dev, ..plain });
        }
        STABILITIES.iter().find_map(|(name, stability)| {
            let rest = strip_prefix_ignoring_case(word, name)?;
            let (stability_numbers, rest) = rest.split_at(modifier_numbers(rest));
            let is_dev = dev(rest)?;
            Some(match stability {
                Some(_) => Self {
                    stability: *stability,
                    stability_numbers,
                    is_dev,
                    ..plain
                },
                // Nothing after this word counts.
                None => Self { ..plain },
            })
        })
    }

    fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        let numbers = self.numbers.split(|c: char| !c.is_ascii_digit());
        let missing = if self.is_date {
            0
        } else {
            4 - self.numbers.split('.').count()
        };
        let stability = self.stability.map(Part::Word);
        let stability_numbers = self
            .stability_numbers
            .split(['.', '-'])
            .filter(|number| !number.is_empty());
        numbers
            .map(Part::Number)
            .chain(std::iter::repeat_n(Part::Number("0"), missing))
            .chain(stability)
            .chain(stability_numbers.map(Part::Number))
            .chain(self.is_dev.then_some(Part::Word(Stability::Dev)))
    }
}

/// One to four numbers; the first is no year with a month.
fn classical(text: &str) -> Option<Version<'_>> {
    let mut end = split_digits(text).0.len();
    if !(1..=5).contains(&end) {
        return None;
    }
    for _ in 0..3 {
        let number = text[end..]
            .strip_prefix('.')
            .map_or(0, |rest| split_digits(rest).0.len());
        if number == 0 {
            break;
        }
        end += 1 + number;
    }
    let (numbers, modifier) = text.split_at(end);
    Version::with_modifier(numbers, false, modifier)
}

/// A year, then one to six groups of two digits, then perhaps one of up to three.
fn dated(text: &str) -> Option<Version<'_>> {
    let digits = |at: usize| split_digits(text.get(at..).unwrap_or("")).0.len();
    if digits(0) < 4 {
        return None;
    }
    let skip = |at: usize| at + usize::from(text[at..].starts_with(['.', ':', '-']));
    let mut ends = vec![4];
    for _ in 0..6 {
        let end = ends.last().copied()?;
        let start = skip(end);
        if digits(start) < 2 {
            break;
        }
        ends.push(start + 2);
    }
    // As a regular expression does: the longest match with which all the rest matches, too.
    for end in ends.into_iter().skip(1).rev() {
        let start = skip(end);
        for length in (0..=digits(start).min(3)).rev() {
            let end = if length == 0 { end } else { start + length };
            let (numbers, modifier) = text.split_at(end);
            if let Some(version) = Version::with_modifier(numbers, true, modifier) {
                return Some(version);
            }
        }
    }
    None
}

/// Finds the end of numbers, each with a dot or a hyphen before it or nothing.
fn modifier_numbers(text: &str) -> usize {
    let mut end = 0;
    loop {
        let rest = &text[end..];
        let number = rest.strip_prefix(['.', '-']).unwrap_or(rest);
        let digits = split_digits(number).0.len();
        if digits == 0 {
            return end;
        }
        end = text.len() - number.len() + digits;
    }
}

/// Tells whether a text is the word for development; nothing if it is something else.
fn dev(text: &str) -> Option<bool> {
    let word = text.strip_prefix(['.', '-']).unwrap_or(text);
    match word {
        _ if word.eq_ignore_ascii_case("dev") => Some(true),
        _ if text.is_empty() => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_no_versions() {
        for branch in ["dev-main", "main", "1.x-dev", "master", ""] {
            assert_eq!(compare(branch, "1.0"), None, "{branch}");
        }
    }
}
