//! The order of rpm's epoch, version and release.
//!
//! Source: rpm's `rpmvercmp` and its manual of version comparison, with tilde and caret.

use std::cmp::Ordering;

use super::{compare_numbers, split_digits, split_while};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let [a, b] = [Version::parse(a)?, Version::parse(b)?];
    Some(
        compare_numbers(a.epoch, b.epoch)
            .then_with(|| compare_labels(a.label, b.label))
            .then_with(|| match (a.release, b.release) {
                (Some(a), Some(b)) => compare_labels(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            }),
    )
}

struct Version<'a> {
    epoch: &'a str,
    label: &'a str,
    release: Option<&'a str>,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (digits, rest) = split_digits(text);
        let (epoch, rest) = match rest.strip_prefix(':') {
            Some(rest) => (digits, rest),
            None => ("", text),
        };
        let (label, release) = match rest.rsplit_once('-') {
            Some((label, release)) => (label, Some(release)),
            None => (rest, None),
        };
        let is_version = !label.is_empty() && !rest.contains(char::is_whitespace);
        is_version.then_some(Self {
            epoch,
            label,
            release,
        })
    }
}

fn compare_labels(mut a: &str, mut b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let is_separator = |b: u8| !b.is_ascii_alphanumeric() && b != b'~' && b != b'^';
    while !(a.is_empty() && b.is_empty()) {
        a = split_while(a, is_separator).1;
        b = split_while(b, is_separator).1;
        // A tilde comes before everything, even before the end.
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(rest_a), Some(rest_b)) => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        // A caret comes after the end and before everything else.
        match (a.strip_prefix('^'), b.strip_prefix('^')) {
            (Some(rest_a), Some(rest_b)) => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some(_), None) => {
                return if b.is_empty() {
                    Ordering::Greater
                } else {
                    Ordering::Less
                };
            }
            (None, Some(_)) => {
                return if a.is_empty() {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
            }
            (None, None) => {}
        }
        if a.is_empty() || b.is_empty() {
            break;
        }
        let is_number = a.as_bytes()[0].is_ascii_digit();
        let is_kind = |b: u8| {
            if is_number {
                b.is_ascii_digit()
            } else {
                b.is_ascii_alphabetic()
            }
        };
        let (segment_a, segment_b);
        (segment_a, a) = split_while(a, is_kind);
        (segment_b, b) = split_while(b, is_kind);
        let order = match (is_number, segment_b.is_empty()) {
            // A number is newer than letters.
            (true, true) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (true, false) => compare_numbers(segment_a, segment_b),
            (false, false) => segment_a.cmp(segment_b),
        };
        if order.is_ne() {
            return order;
        }
    }
    (!a.is_empty()).cmp(&!b.is_empty())
}
