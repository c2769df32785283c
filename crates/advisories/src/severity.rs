//! How bad a flaw is.

use std::str::FromStr as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a flaw is, in words.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nobody has said.
    #[default]
    Unknown,
    /// Not worth a fix of its own.
    Negligible,
    /// Low.
    Low,
    /// Medium, or moderate.
    Medium,
    /// High, or important.
    High,
    /// Critical.
    Critical,
}

/// How bad a flaw is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Severity {
    /// In words.
    pub level: Level,
    /// The CVSS score in tenths, from 0 to 100, where there is a vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_tenths: Option<u8>,
    /// The CVSS vector that counts: the newest version of CVSS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Negligible,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// Reads a level in the words of distributions and databases.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "negligible" | "unimportant" | "none" | "informational" => Self::Negligible,
            "low" | "minor" => Self::Low,
            "medium" | "moderate" => Self::Medium,
            "high" | "important" => Self::High,
            "critical" => Self::Critical,
            _ => return None,
        })
    }

    /// Returns the level in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Negligible => "negligible",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Source: the qualitative scale of CVSS 3.1 and 4.0.
    fn of_score(tenths: u8) -> Self {
        match tenths {
            0 => Self::Negligible,
            1..=39 => Self::Low,
            40..=69 => Self::Medium,
            70..=89 => Self::High,
            _ => Self::Critical,
        }
    }
}

impl Severity {
    /// Takes a word alone.
    pub(crate) fn of_word(level: Level) -> Self {
        Self {
            level,
            ..Self::default()
        }
    }

    /// Scores a CVSS vector of the version that OSV's type of severity names; nothing if it is none.
    pub(crate) fn of_vector(kind: &str, vector: &str) -> Option<Self> {
        // A vector without one of them has no score, whatever the rest is.
        let mandatory = match kind {
            "CVSS_V2" => "AV AC Au C I A",
            "CVSS_V3" => "AV AC PR UI S C I A",
            "CVSS_V4" => "AV AC AT PR UI VC VI VA SC SI SA",
            _ => return None,
        };
        let has = |metric: &str| {
            let names = vector.split('/').filter_map(|part| part.split_once(':'));
            names.into_iter().any(|(name, _)| name == metric)
        };
        if !mandatory.split(' ').all(has) {
            return None;
        }
        let score = match kind {
            "CVSS_V2" => cvss::v2::Vector::from_str(vector).ok()?.score().value(),
            _ => cvss::Cvss::from_str(vector).ok()?.score(),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number is between 0 and 100"
        )]
        let tenths = (score * 10.0).round().clamp(0.0, 100.0) as u8;
        Some(Self {
            level: Level::of_score(tenths),
            score_tenths: Some(tenths),
            vector: Some(vector.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_the_scores_of_their_specifications() {
        for (kind, vector, tenths, level) in [
            ("CVSS_V2", "AV:N/AC:L/Au:N/C:N/I:N/A:C", 78, Level::High),
            (
                "CVSS_V3",
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H",
                100,
                Level::Critical,
            ),
            (
                "CVSS_V3",
                "CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N",
                61,
                Level::Medium,
            ),
            (
                "CVSS_V4",
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
                93,
                Level::Critical,
            ),
        ] {
            let severity = Severity::of_vector(kind, vector).unwrap();
            assert_eq!(
                (severity.score_tenths, severity.level),
                (Some(tenths), level),
                "{vector}"
            );
        }
        for (kind, vector) in [
            ("CVSS_V3", ""),
            ("CVSS_V3", "CVSS:3.1/AV:N"),
            ("CVSS_V2", "x"),
            ("Ubuntu", "high"),
        ] {
            assert_eq!(Severity::of_vector(kind, vector), None, "{kind} {vector}");
        }
    }

    #[test]
    fn levels_are_read_back() {
        for level in Level::ALL.into_iter().skip(1) {
            assert_eq!(Level::parse(level.as_str()), Some(level));
        }
        assert_eq!(Level::parse("MODERATE"), Some(Level::Medium));
        assert_eq!(Level::parse("unknown"), None);
    }
}
