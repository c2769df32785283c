//! Python's order of versions.
//!
//! Source: PEP 440 with the lenient spellings of its appendix B, as Python's `packaging` reads them.

use std::cmp::Ordering;

use super::{compare_numbers, is_number, split_digits, strip_prefix_ignoring_case};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let [a, b] = [Version::parse(a)?, Version::parse(b)?];
    Some(
        compare_numbers(a.epoch, b.epoch)
            .then_with(|| compare_releases(a.release, b.release))
            .then_with(|| a.phase().cmp(&b.phase()))
            .then_with(|| compare_optional(a.pre.map(|(_, n)| n), b.pre.map(|(_, n)| n)))
            // Without a post-release comes before, without a development release after all others.
            .then_with(|| compare_optional(a.post, b.post))
            .then_with(|| match (a.dev, b.dev) {
                (Some(a), Some(b)) => compare_numbers(a, b),
                (a, b) => a.is_none().cmp(&b.is_none()),
            })
            .then_with(|| compare_locals(a.local, b.local)),
    )
}

struct Version<'a> {
    epoch: &'a str,
    release: &'a str,
    pre: Option<(Pre, &'a str)>,
    /// The number; an implied one is empty.
    post: Option<&'a str>,
    dev: Option<&'a str>,
    local: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    Alpha,
    Beta,
    Candidate,
}

/// What a version is, before its numbers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// A development release of a final one comes before its pre-releases.
    Development,
    Pre(Pre),
    Final,
}

const PRE: [(&str, Pre); 8] = [
    ("alpha", Pre::Alpha),
    ("a", Pre::Alpha),
    ("beta", Pre::Beta),
    ("b", Pre::Beta),
    ("preview", Pre::Candidate),
    ("pre", Pre::Candidate),
    ("c", Pre::Candidate),
    ("rc", Pre::Candidate),
];
const POST: [(&str, ()); 3] = [("post", ()), ("rev", ()), ("r", ())];
const DEV: [(&str, ()); 1] = [("dev", ())];

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let text = strip_prefix_ignoring_case(text, "v").unwrap_or(text);
        let (public, local) = match text.split_once('+') {
            Some((public, local)) => (public, Some(local)),
            None => (text, None),
        };
        let (epoch, rest) = match public.split_once('!') {
            Some((epoch, rest)) => (is_number(epoch).then_some(epoch)?, rest),
            None => ("", public),
        };
        let release_end = release_end(rest)?;
        let (release, rest) = rest.split_at(release_end);
        let (pre, rest) = take_phase(rest, &PRE);
        let (post, rest) = match take_phase(rest, &POST) {
            // A number alone, after a hyphen, is a post-release, too.
            (None, rest) => match rest.strip_prefix('-').map(split_digits) {
                Some((number, rest)) if !number.is_empty() => (Some(number), rest),
                _ => (None, rest),
            },
            (Some(((), number)), rest) => (Some(number), rest),
        };
        let (dev, rest) = take_phase(rest, &DEV);
        let is_local = |local: &str| {
            local
                .split(is_separator)
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
        };
        (rest.is_empty() && local.is_none_or(is_local)).then_some(Self {
            epoch,
            release,
            pre,
            post,
            dev: dev.map(|((), number)| number),
            local,
        })
    }

    fn phase(&self) -> Phase {
        match (self.pre, self.post, self.dev) {
            (Some((pre, _)), ..) => Phase::Pre(pre),
            (None, None, Some(_)) => Phase::Development,
            _ => Phase::Final,
        }
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | '-' | '_')
}

/// Finds the end of numbers with dots between them.
fn release_end(text: &str) -> Option<usize> {
    let mut end = 0;
    loop {
        let (number, rest) = split_digits(&text[end..]);
        if number.is_empty() {
            // The dot belongs to what follows, if there was a number before it.
            return end.checked_sub(1);
        }
        end = text.len() - rest.len();
        if !rest.starts_with('.') {
            return Some(end);
        }
        end += 1;
    }
}

/// Takes a separator, one of these names, a separator and a number; all but the name may be missing.
fn take_phase<'a, T: Copy>(text: &'a str, names: &[(&str, T)]) -> (Option<(T, &'a str)>, &'a str) {
    let without_separator = |text: &'a str| text.strip_prefix(is_separator).unwrap_or(text);
    let start = without_separator(text);
    let found = names
        .iter()
        .find_map(|(name, value)| Some((*value, strip_prefix_ignoring_case(start, name)?)));
    match found {
        Some((value, rest)) => {
            let (number, rest) = split_digits(without_separator(rest));
            (Some((value, number)), rest)
        }
        None => (None, text),
    }
}

fn compare_optional(a: Option<&str>, b: Option<&str>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare_numbers(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Compares numbers with dots between them; zeros at the end do not matter.
fn compare_releases(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => match compare_numbers(a.unwrap_or(""), b.unwrap_or("")) {
                Ordering::Equal => {}
                order => return order,
            },
        }
    }
}

/// Compares local versions: none comes first, numbers come after texts.
fn compare_locals(a: Option<&str>, b: Option<&str>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_some().cmp(&b.is_some());
    };
    let (mut a, mut b) = (a.split(is_separator), b.split(is_separator));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (Some(a), Some(b)) => match (is_number(a), is_number(b)) {
                (true, true) => compare_numbers(a, b),
                (false, false) => {
                    let lower =
                        |text: &'_ str| text.bytes().map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
                    lower(a).cmp(&lower(b))
                }
                (a, b) => a.cmp(&b),
            },
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        if order.is_ne() {
            return order;
        }
    }
}
