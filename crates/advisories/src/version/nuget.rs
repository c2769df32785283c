//! The order of `NuGet`.
//!
//! Source: the documentation of `NuGet` of package versioning: `SemVer` 2.0.0 with a fourth number, zeros at the front and
//! missing numbers, and without regard to case.

use std::cmp::Ordering;

use super::semver::{compare_pre_releases, parse};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let [a, b] = [parse(a, 4)?, parse(b, 4)?];
    let ignoring_case = |a: &str, b: &str| {
        let [a, b] = [a, b].map(|text| text.bytes().map(|b| b.to_ascii_uppercase()));
        a.cmp(b)
    };
    Some(
        a.compare_numbers(&b)
            .then_with(|| compare_pre_releases(a.pre_release, b.pre_release, ignoring_case)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No program of it runs on every machine; these are what its documentation says.
    #[test]
    fn versions_are_ordered_as_documented() {
        for group in [
            &[
                "1.0.1-alpha",
                "1.0.1-alpha.2",
                "1.0.1-alpha10",
                "1.0.1-beta",
                "1.0.1-open",
                "1.0.1-rc",
                "1.0.1-zzz",
                "1.0.1",
            ][..],
            &[
                "1.0.0-beta.2",
                "1.0.0-Beta.11",
                "1.0.0-rc.1",
                "1.0.0",
                "1.0.0.1",
                "1.0.1",
                "1.0.10",
                "1.1",
                "2",
            ],
        ] {
            for pair in group.windows(2) {
                assert_eq!(compare(pair[0], pair[1]), Some(Ordering::Less), "{pair:?}");
                assert_eq!(compare(pair[1], pair[0]), Some(Ordering::Greater), "{pair:?}");
            }
        }
        for (a, b) in [
            ("1.00", "1.0"),
            ("1.01.1", "1.1.1"),
            ("1.00.0.1", "1.0.0.1"),
            ("1.0.0.0", "1.0.0"),
            ("1", "1.0.0.0"),
            ("1.0.1+server", "1.0.1+SHA"),
            ("1.0.0-ALPHA", "1.0.0-alpha"),
        ] {
            assert_eq!(compare(a, b), Some(Ordering::Equal), "{a} {b}");
        }
        for invalid in ["", "1.0.0.0.0", "1.a", "1.0-", "1.0-a..b", "1.0-ä", "-1", "1."] {
            assert_eq!(compare(invalid, "1"), None, "{invalid}");
        }
    }
}
