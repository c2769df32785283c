//! The three response headers that need a parser.

use std::{collections::BTreeMap, time::Duration};

use jiff::fmt::rfc2822::DateTimeParser;

/// One challenge of a `WWW-Authenticate` header: a scheme and its parameters, names in lower case.
///
/// Source: RFC 9110, 11.6.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// Parses a header's value, which may hold several challenges; what cannot be understood ends the list.
    pub(crate) fn parse_list(value: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        let mut rest = value;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let (word, behind) = split_token(rest);
            if word.is_empty() {
                return challenges;
            }
            // A word with an equals sign behind it is a parameter, any other one the next scheme.
            if let Some(value) = behind.trim_start_matches([' ', '\t']).strip_prefix('=') {
                let Some((value, behind)) = split_value(value.trim_start_matches([' ', '\t'])) else {
                    return challenges;
                };
                let Some(challenge) = challenges.last_mut() else {
                    return challenges;
                };
                // The first of two parameters with one name counts.
                challenge
                    .parameters
                    .entry(word.to_ascii_lowercase())
                    .or_insert(value);
                rest = behind;
            } else {
                challenges.push(Self {
                    scheme: word.to_ascii_lowercase(),
                    parameters: BTreeMap::new(),
                });
                rest = behind;
            }
        }
    }
}

fn split_token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// Splits a token or a quoted string off.
fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = split_token(text);
        return Some((token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

/// The part of a content that a 206 answer holds: `bytes first-last/total`, both ends included.
///
/// Source: RFC 9110, 14.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let (range, total) = value.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = match total {
            "*" => None,
            digits => Some(number(digits)?),
        };
        let range = Self {
            first: number(first)?,
            last: number(last)?,
            total,
        };
        let is_sound = range.first <= range.last && total.is_none_or(|total| range.last < total);
        is_sound.then_some(range)
    }
}

/// Parses `Retry-After`: seconds, or a date that is taken relative to the answer's own `Date`, so that no clock is
/// needed.
///
/// Source: RFC 9110, 10.2.3.
pub(crate) fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    if let Some(seconds) = number(value) {
        return Some(Duration::from_secs(seconds));
    }
    let parse = |text: &str| DateTimeParser::new().parse_timestamp(text.trim()).ok();
    let wait = parse(value)?.duration_since(parse(date?)?);
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// Parses digits alone; Rust's own parser would take a sign, too.
fn number(text: &str) -> Option<u64> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        Challenge {
            scheme: scheme.to_owned(),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn challenges_of_real_registries_are_understood() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull,push""#;
        assert_eq!(
            Challenge::parse_list(hub),
            [challenge(
                "bearer",
                &[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:library/alpine:pull,push"),
                ]
            )]
        );
        let ecr = r#"Basic realm="https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com""#;
        assert_eq!(Challenge::parse_list(ecr)[0].scheme, "basic");
    }

    #[test]
    fn odd_challenges_are_understood_as_far_as_they_go() {
        assert_eq!(
            Challenge::parse_list(r#", Basic ,BEARER Realm = "a\"b" , service=x, realm=second"#),
            [
                challenge("basic", &[]),
                challenge("bearer", &[("realm", "a\"b"), ("service", "x")])
            ]
        );
        assert_eq!(
            Challenge::parse_list(r#"Bearer realm="never closed"#),
            [challenge("bearer", &[])]
        );
        assert_eq!(Challenge::parse_list("realm=nobody's"), []);
        assert_eq!(Challenge::parse_list(""), []);
    }

    #[test]
    fn ranges_must_be_sound() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        for (text, expected) in [
            ("bytes 5-9/10", range(5, 9, Some(10))),
            ("bytes 5-9/*", range(5, 9, None)),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes */10", None),
            ("bytes +5-9/10", None),
            ("bytes -5-9/10", None),
            ("bytes 5-99999999999999999999/*", None),
            ("items 5-9/10", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let date = Some("Mon, 23 Nov 2026 10:00:00 GMT");
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Mon, 23 Nov 2026 10:01:30 GMT", Some(90)),
            ("Mon, 23 Nov 2026 09:00:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("99999999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(
                retry_after(text, date),
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
        }
        assert_eq!(retry_after("Mon, 23 Nov 2026 10:01:30 GMT", None), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_a_parser_panic(text: String, date: String) {
            Challenge::parse_list(&text);
            ContentRange::parse(&text);
            retry_after(&text, Some(&date));
        }

        #[test]
        fn header_like_text_neither(text in r#"((Bearer|Basic|realm|bytes|[0-9]{1,22})[ =",/*\\-]{0,3}){0,8}"#) {
            Challenge::parse_list(&text);
            ContentRange::parse(&text);
            retry_after(&text, Some(&text));
        }

        #[test]
        fn quoted_values_come_back(value in "[^\u{0}-\u{1f}]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let parsed = Challenge::parse_list(&format!("Bearer realm=\"{quoted}\", service=s"));
            prop_assert_eq!(parsed, [challenge("bearer", &[("realm", &value), ("service", "s")])]);
        }

        #[test]
        fn sound_ranges_come_back(first: u32, length in 1..u64::MAX / 4, behind in 0..u64::MAX / 4) {
            let first = u64::from(first);
            let range = ContentRange { first, last: first + length - 1, total: Some(first + length + behind) };
            let text = format!("bytes {}-{}/{}", range.first, range.last, first + length + behind);
            prop_assert_eq!(ContentRange::parse(&text), Some(range));
        }
    }
}
