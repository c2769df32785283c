use ::spdx::{Expression, ParseMode};

/// What a licence is that a package declares, for those who write it down.
///
/// Source: SPDX 2.3, annexes A "License list" and D "License expressions".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum License {
    /// One of SPDX's list.
    Id,
    /// An expression of those.
    Expression,
    /// The package's own words.
    Other,
}

impl License {
    pub(crate) fn of(text: &str) -> Self {
        if ::spdx::license_id(text).is_some_and(|id| id.name == text) {
            Self::Id
        } else if Expression::parse_mode(text, ParseMode::STRICT).is_ok() && !text.contains("LicenseRef-") {
            Self::Expression
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_told_by_spdx() {
        for (text, expected) in [
            ("MIT", License::Id),
            ("mit", License::Other),
            ("(MIT OR Apache-2.0) AND Zlib", License::Expression),
            ("GPL-2.0-only WITH Classpath-exception-2.0", License::Expression),
            ("LicenseRef-own", License::Other),
            ("GPL-2+", License::Other),
            ("MIT, Apache", License::Other),
            ("Some words", License::Other),
            ("", License::Other),
        ] {
            assert_eq!(License::of(text), expected, "{text:?}");
        }
    }
}
