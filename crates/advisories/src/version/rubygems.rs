//! The order of `RubyGems`.
//!
//! Source: the documentation of Ruby's `Gem::Version`.

use std::cmp::Ordering;

use super::{compare_numbers, is_number, split_digits, split_while};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (canonical(a)?, canonical(b)?);
    // A missing segment counts as zero.
    let zero = Segment::Number("");
    (0..a.len().max(b.len()))
        .map(|index| {
            let [a, b] = [&a, &b].map(|segments| segments.get(index).copied().unwrap_or(zero));
            match (a, b) {
                (Segment::Number(a), Segment::Number(b)) => compare_numbers(a, b),
                (Segment::Text(a), Segment::Text(b)) => a.cmp(b),
                (Segment::Text(_), Segment::Number(_)) => Ordering::Less,
                (Segment::Number(_), Segment::Text(_)) => Ordering::Greater,
            }
        })
        .find(|order| order.is_ne())
        .or(Some(Ordering::Equal))
}

#[derive(Debug, Clone, Copy)]
enum Segment<'a> {
    Number(&'a str),
    Text(&'a str),
}

/// Cuts a version into its segments, without the zeros before the first text and at the end.
fn canonical(version: &str) -> Option<Vec<Segment<'_>>> {
    let version = version.trim();
    if !is_version(version) {
        return None;
    }
    let mut segments = Vec::new();
    let mut has_text = false;
    let mut rest = version;
    while let Some(first) = rest.bytes().next() {
        let (text, after) = match first {
            b'-' => ("pre", &rest[1..]),
            b if b.is_ascii_alphabetic() => split_while(rest, |b| b.is_ascii_alphabetic()),
            b if b.is_ascii_digit() => {
                let (number, after) = split_digits(rest);
                segments.push(Segment::Number(number));
                rest = after;
                continue;
            }
            _ => {
                rest = &rest[1..];
                continue;
            }
        };
        if !has_text {
            drop_zeros(&mut segments);
            has_text = true;
        }
        segments.push(Segment::Text(text));
        rest = after;
    }
    drop_zeros(&mut segments);
    Some(segments)
}

fn is_version(text: &str) -> bool {
    let (release, pre_release) = match text.split_once('-') {
        Some((release, pre_release)) => (release, Some(pre_release)),
        None => (text, None),
    };
    let mut parts = release.split('.');
    let are_words = |text: &str, is_letter: fn(u8) -> bool| {
        text.split('.')
            .all(|part| !part.is_empty() && part.bytes().all(is_letter))
    };
    // No text at all is version 0.
    text.is_empty()
        || parts.next().is_some_and(is_number)
            && are_words(release, |b| b.is_ascii_alphanumeric())
            && pre_release.is_none_or(|text| are_words(text, |b| b.is_ascii_alphanumeric() || b == b'-'))
}

fn drop_zeros(segments: &mut Vec<Segment<'_>>) {
    let is_zero = |segment: &Segment<'_>| matches!(segment, Segment::Number(digits) if compare_numbers(digits, "").is_eq());
    while segments.last().is_some_and(is_zero) {
        segments.pop();
    }
}
