//! Ignore rules: a file in which a team says what it lives with, why, and until when.
//!
//! ```yaml
//! rules:
//!   - id: CVE-2021-44228
//!     package: pkg:maven/org.apache.logging.log4j/log4j-core
//!     path: app/legacy
//!     reason: the class was taken out of the archive
//!     expires: 2027-03-31
//! ```

use jiff::civil::Date;
use serde::Deserialize;
use thiserror::Error;

use crate::{PlacedFinding, purl::PurlPattern};

/// One ignore rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IgnoreRule {
    pub(crate) id: String,
    package: Option<Named>,
    path: Option<String>,
    pub(crate) reason: String,
    pub(crate) expires: Date,
    pub(crate) source: String,
}

/// How a rule names packages.
#[derive(Debug, Clone, PartialEq)]
enum Named {
    Purl(PurlPattern),
    Name(String),
}

/// Why a file of ignore rules cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RulesError {
    /// It is not YAML or JSON of the right shape; the cause says where.
    #[error("the ignore rules are not what they should be")]
    Malformed(#[source] serde_yaml_ng::Error),
    /// A rule says nothing where it must say something, or something that cannot be meant.
    #[error("ignore rule {number}: {flaw}")]
    Rule {
        /// The rule's place in the file, from 1.
        number: usize,
        /// What is wrong.
        flaw: &'static str,
    },
    /// The file is longer than any that a person writes.
    #[error("the ignore rules are longer than {} KiB", MAX_BYTES >> 10)]
    TooLong,
}

const MAX_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    #[serde(default)]
    package: Option<String>,
    #[serde(default)]
    path: Option<String>,
    reason: String,
    expires: Date,
}

/// Reads a file of ignore rules; `source` is what reports call it.
pub(crate) fn read(source: &str, text: &[u8]) -> Result<Vec<IgnoreRule>, RulesError> {
    if text.len() > MAX_BYTES {
        return Err(RulesError::TooLong);
    }
    let file: File = serde_yaml_ng::from_slice(text).map_err(RulesError::Malformed)?;
    let rules = file.rules.into_iter().enumerate().map(|(index, rule)| {
        rule.check(source).map_err(|flaw| RulesError::Rule {
            number: index + 1,
            flaw,
        })
    });
    rules.collect()
}

impl Rule {
    fn check(self, source: &str) -> Result<IgnoreRule, &'static str> {
        let id = self.id.trim();
        if id.is_empty() || id.contains(char::is_whitespace) {
            return Err("the id must be one advisory's, such as CVE-2021-44228");
        }
        if self.reason.trim().is_empty() {
            return Err("the reason is empty; say why the finding does not count");
        }
        let package = match self.package.as_deref().map(str::trim) {
            None => None,
            Some("") => return Err("the package is empty; leave it out to mean every package"),
            Some(purl) if purl.starts_with("pkg:") => {
                let pattern = PurlPattern::parse(purl)
                    .ok_or("the package begins as a package URL does, but is none")?;
                Some(Named::Purl(pattern))
            }
            Some(name) => Some(Named::Name(name.to_owned())),
        };
        let path = self.path.as_deref().map(|path| path.trim_matches('/').to_owned());
        if path.as_deref() == Some("") {
            return Err("the path is empty; leave it out to mean every place");
        }
        Ok(IgnoreRule {
            id: id.to_owned(),
            package,
            path,
            reason: self.reason.trim().to_owned(),
            expires: self.expires,
            source: source.to_owned(),
        })
    }
}

impl IgnoreRule {
    /// Tells whether the rule is about a finding: all of what it names fits, and every place lies under its path.
    pub(crate) fn is_about(&self, found: &PlacedFinding) -> bool {
        let is_below = |file: &str, path: &str| {
            let rest = file.trim_start_matches('/').strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        found
            .finding
            .ids
            .iter()
            .any(|id| id.eq_ignore_ascii_case(&self.id))
            && match &self.package {
                None => true,
                Some(Named::Purl(pattern)) => pattern.matches(&found.finding.purl),
                Some(Named::Name(name)) => *name == found.name,
            }
            && self.path.as_ref().is_none_or(|path| {
                !found.places.is_empty() && found.places.iter().all(|place| is_below(&place.file, path))
            })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn rules_are_read_from_yaml_and_json() {
        let yaml =
            b"rules:\n- id: CVE-1\n  package: pkg:npm/a\n  path: /app/\n  reason: r\n  expires: 2027-01-31\n";
        let json = br#"{"rules": [{"id": "CVE-1", "package": "pkg:npm/a", "path": "app", "reason": "r", "expires": "2027-01-31"}]}"#;
        let rules = read("f", yaml).unwrap();
        assert_eq!(read("f", json).unwrap(), rules);
        assert_eq!(rules[0].path.as_deref(), Some("app"));
        assert_eq!(read("f", b"rules: []").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let rule =
            |fields: &str| format!("rules:\n- id: CVE-1\n  reason: r\n  expires: 2027-01-31\n{fields}");
        for (text, expected) in [
            (String::new(), "missing field `rules`"),
            ("rules: 1".to_owned(), "expected a sequence"),
            (rule("  until: 2027-01-31\n"), "unknown field `until`"),
            (
                "rules:\n- id: CVE-1\n  reason: r\n".to_owned(),
                "missing field `expires`",
            ),
            (
                "rules:\n- id: CVE-1\n  expires: 2027-01-31\n".to_owned(),
                "missing field `reason`",
            ),
            (rule("").replace("2027-01-31", "soon"), "expires"),
            (rule("").replace("2027-01-31", "2027-02-30"), "expires"),
            (
                rule("").replace("reason: r", "reason: ' '"),
                "ignore rule 1: the reason",
            ),
            (rule("").replace("CVE-1", "CVE-1 CVE-2"), "ignore rule 1: the id"),
            (rule("  package: ''\n"), "ignore rule 1: the package is empty"),
            (
                rule("  package: 'pkg:npm'\n"),
                "ignore rule 1: the package begins",
            ),
            (rule("  path: /\n"), "ignore rule 1: the path"),
        ] {
            let error = read("f", text.as_bytes()).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let said = format!("{error}: {}", cause.unwrap_or_default());
            assert!(said.contains(expected), "{text}: {said}");
        }
        let long = vec![b' '; MAX_BYTES + 1];
        assert!(matches!(read("f", &long), Err(RulesError::TooLong)));
    }

    #[test]
    fn a_bomb_of_references_is_refused() {
        let mut text = "rules: []\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let last = level - 1;
            let again = vec![format!("*a{last}"); 10].join(", ");
            writeln!(text, "a{level}: &a{level} [{again}]").unwrap();
        }
        assert!(read("f", text.as_bytes()).is_err());
    }
}
