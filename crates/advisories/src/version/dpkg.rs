//! Debian's order of versions.
//!
//! Source: `deb-version(7)`.

use std::cmp::Ordering;

use super::{compare_numbers, split_digits, split_while};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let [a, b] = [Version::parse(a)?, Version::parse(b)?];
    Some(
        compare_numbers(a.epoch, b.epoch)
            .then_with(|| compare_parts(a.upstream, b.upstream))
            .then_with(|| compare_parts(a.revision, b.revision)),
    )
}

struct Version<'a> {
    epoch: &'a str,
    upstream: &'a str,
    /// None is the same as `0`, and so is an empty one.
    revision: &'a str,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if super::is_number(epoch) => (epoch, rest),
            Some(_) => return None,
            None => ("", text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        let is_version = !upstream.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic());
        is_version.then_some(Self {
            epoch,
            upstream,
            revision,
        })
    }
}

fn compare_parts(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let (text_a, text_b);
        (text_a, a) = split_while(a, |b| !b.is_ascii_digit());
        (text_b, b) = split_while(b, |b| !b.is_ascii_digit());
        let (number_a, number_b);
        (number_a, a) = split_digits(a);
        (number_b, b) = split_digits(b);
        let order = compare_texts(text_a, text_b).then_with(|| compare_numbers(number_a, number_b));
        if order.is_ne() || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// A tilde comes before the end, the end before letters, and letters before everything else.
fn compare_texts(a: &str, b: &str) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => 0,
        None => 1,
        Some(letter) if letter.is_ascii_alphabetic() => 2 + u16::from(*letter),
        Some(other) => 2 + 256 + u16::from(*other),
    };
    let [a, b] = [a, b].map(str::as_bytes);
    (0..a.len().max(b.len()))
        .map(|index| weight(a.get(index)).cmp(&weight(b.get(index))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}
