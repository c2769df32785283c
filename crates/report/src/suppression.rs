//! Findings that somebody has said do not count, and why.

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date, tz::Offset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ImageFindings, PlacedFinding, PlatformReport, Report,
    ignore::{self, IgnoreRule, RulesError},
    vex::{self, VexError, VexStatement},
};

/// Why a finding does not count, although it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub expires: Option<Date>,
}

/// Who says that a finding does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ExpiredRule {
    /// The advisory that the rule names.
    pub id: String,
    /// The file that has the rule.
    pub source: String,
    /// The last day on which it held, in UTC.
    #[schemars(with = "String", extend("format" = "date"))]
    pub expired: Date,
}

/// What people have said of findings: ignore rules, and `OpenVEX` statements.
#[derive(Debug, Clone, Default)]
pub struct Suppressions {
    rules: Vec<IgnoreRule>,
    statements: Vec<VexStatement>,
}

impl Suppressions {
    /// Adds the rules of a file, in YAML or JSON; `source` is what reports call it.
    pub fn add_rules(&mut self, source: &str, text: &[u8]) -> Result<(), RulesError> {
        self.rules.extend(ignore::read(source, text)?);
        Ok(())
    }

    /// Adds the statements of an `OpenVEX` document; `source` is what reports call it.
    pub fn add_vex(&mut self, source: &str, json: &[u8]) -> Result<(), VexError> {
        self.statements.extend(vex::read(source, json)?);
        Ok(())
    }

    /// Says of each finding whether it counts, and forgets what was said before.
    ///
    /// Of statements about the same finding the latest counts, whatever it says. `report` is what the findings are about;
    /// without it no statement about an image counts. Rules hold to the end of their last day, in UTC.
    pub fn apply(&self, findings: &mut ImageFindings, report: Option<&Report>, now: Timestamp) {
        let today = Offset::UTC.to_datetime(now).date();
        let mut expired = BTreeSet::new();
        for platform in &mut findings.platforms {
            let image = report.and_then(|report| {
                let own = report
                    .platforms
                    .iter()
                    .find(|own| own.digest == platform.digest)?;
                Some((report, own))
            });
            for found in &mut platform.findings {
                found.suppressed = self
                    .rule(found, today, &mut expired)
                    .or_else(|| self.statement(found, image));
            }
        }
        findings.expired_rules = expired.into_iter().collect();
        findings.count();
    }

    fn rule(
        &self,
        found: &PlacedFinding,
        today: Date,
        expired: &mut BTreeSet<ExpiredRule>,
    ) -> Option<Suppression> {
        let (current, over): (Vec<&IgnoreRule>, Vec<&IgnoreRule>) = self
            .rules
            .iter()
            .filter(|rule| rule.is_about(found))
            .partition(|rule| rule.expires >= today);
        let Some(rule) = current.into_iter().max_by_key(|rule| rule.expires) else {
            expired.extend(over.into_iter().map(|rule| ExpiredRule {
                id: rule.id.clone(),
                source: rule.source.clone(),
                expired: rule.expires,
            }));
            return None;
        };
        Some(Suppression {
            kind: SuppressionKind::IgnoreRule,
            reason: rule.reason.clone(),
            justification: None,
            source: rule.source.clone(),
            expires: Some(rule.expires),
        })
    }

    fn statement(
        &self,
        found: &PlacedFinding,
        image: Option<(&Report, &PlatformReport)>,
    ) -> Option<Suppression> {
        let about = self
            .statements
            .iter()
            .filter(|statement| statement.is_about(found, image));
        // The last one of those that are equally late.
        let statement = about.max_by_key(|statement| statement.at)?;
        let reason = if statement.notes.is_empty() {
            let words = statement.justification.as_deref().unwrap_or("the fix is there");
            words.replace('_', " ")
        } else {
            statement.notes.clone()
        };
        Some(Suppression {
            kind: statement.suppresses()?,
            reason,
            justification: statement.justification.clone(),
            source: statement.source.clone(),
            expires: None,
        })
    }
}
