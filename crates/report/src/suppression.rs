//! Findings that somebody has said do not count, and why.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Why a finding does not count, although it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Who says so.
    pub kind: SuppressionKind,
    /// Why, in the words of whoever said so.
    pub reason: String,
    /// The `OpenVEX` justification, such as `vulnerable_code_not_present`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
    /// The file or document that says so.
    pub source: String,
    /// The last day on which it holds, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Date>,
}

/// Who says that a finding does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionKind {
    /// A rule of a file of ignore rules.
    IgnoreRule,
    /// An `OpenVEX` statement that the product is not affected.
    VexNotAffected,
    /// An `OpenVEX` statement that the product has the fix.
    VexFixed,
}

/// A rule that counts no more, since its day is over, but would have suppressed a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExpiredRule {
    /// The advisory that the rule names.
    pub id: String,
    /// The file that has the rule.
    pub source: String,
    /// The last day on which it held, in UTC.
    pub expired: Date,
}
