//! Semantic versions.
//!
//! Source: semver.org 2.0.0. Besides, a leading `v` is allowed and missing numbers count as zero, as advisories write
//! them; Go's pseudo-versions are pre-releases like others.

use std::cmp::Ordering;

use super::{compare_numbers, is_number};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let [a, b] = [parse(a, 3)?, parse(b, 3)?];
    Some(a.compare_numbers(&b).then_with(|| {
        compare_pre_releases(a.pre_release, b.pre_release, |a, b| {
            a.as_bytes().cmp(b.as_bytes())
        })
    }))
}

/// A version without its build metadata, which has no part in the order.
pub(super) struct Version<'a> {
    numbers: &'a str,
    /// Empty if it is none.
    pub(super) pre_release: &'a str,
}

/// Reads a version of at most so many numbers.
pub(super) fn parse(text: &str, max_numbers: usize) -> Option<Version<'_>> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    let (numbers, pre_release) = match text.split_once('-') {
        Some((numbers, pre_release)) => (numbers, Some(pre_release)),
        None => (text, None),
    };
    let are_identifiers = |text: &str| {
        text.split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    let is_version = numbers.split('.').all(is_number)
        && numbers.split('.').count() <= max_numbers
        && pre_release.is_none_or(are_identifiers)
        && build.is_none_or(are_identifiers);
    is_version.then_some(Version {
        numbers,
        pre_release: pre_release.unwrap_or(""),
    })
}

impl Version<'_> {
    pub(super) fn compare_numbers(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (self.numbers.split('.'), other.numbers.split('.'));
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
}

/// Compares pre-releases: none comes last, numbers come before texts.
pub(super) fn compare_pre_releases(a: &str, b: &str, compare_texts: fn(&str, &str) -> Ordering) -> Ordering {
    if a.is_empty() || b.is_empty() {
        return a.is_empty().cmp(&b.is_empty());
    }
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (Some(a), Some(b)) => match (is_number(a), is_number(b)) {
                (true, true) => compare_numbers(a, b),
                (false, false) => compare_texts(a, b),
                (a, b) => b.cmp(&a),
            },
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        if order.is_ne() {
            return order;
        }
    }
}
