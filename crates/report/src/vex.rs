//! `OpenVEX`: what a product's makers say of its findings.

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use crate::{PlacedFinding, PlatformReport, Report, SuppressionKind, purl::PurlPattern};

/// One statement: a flaw, the products that it is about, and what is so with them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VexStatement {
    /// The flaw's names.
    names: Vec<String>,
    products: Vec<Product>,
    pub(crate) status: VexStatus,
    pub(crate) justification: Option<String>,
    /// In words of whoever says so; may be empty.
    pub(crate) notes: String,
    /// When it was known to be true; a later statement overrides an earlier one.
    pub(crate) at: Timestamp,
    pub(crate) source: String,
}

/// What is so with a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VexStatus {
    NotAffected,
    Affected,
    Fixed,
    UnderInvestigation,
}

#[derive(Debug, Clone, PartialEq)]
struct Product {
    purls: Vec<PurlPattern>,
    /// The product's SHA-256 hash, as an image has one.
    sha256: Option<String>,
    /// What of the product is meant; everything, if nothing is named.
    subcomponents: Vec<Vec<PurlPattern>>,
}

/// Why an `OpenVEX` document cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VexError {
    /// It is not JSON of the right shape; the cause says where.
    #[error("the OpenVEX document is not what it should be")]
    Malformed(#[source] serde_json::Error),
    /// Its context is another one.
    #[error("the document is not OpenVEX: its @context does not begin with {NAMESPACE}")]
    Context,
    /// A statement lacks what the specification demands.
    #[error("OpenVEX statement {number}: {flaw}")]
    Statement {
        /// The statement's place in the document, from 1.
        number: usize,
        /// What is wrong.
        flaw: &'static str,
    },
    /// It is longer than any that is of use.
    #[error("the OpenVEX document is longer than {} MiB", MAX_BYTES >> 20)]
    TooLong,
}

const NAMESPACE: &str = "https://openvex.dev/ns";
const MAX_BYTES: usize = 16 << 20;

/// Source: the `OpenVEX` specification, "Status Justifications".
const JUSTIFICATIONS: [&str; 5] = [
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
];

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@context")]
    context: String,
    timestamp: Timestamp,
    statements: Vec<Statement>,
}

#[derive(Deserialize)]
struct Statement {
    vulnerability: Vulnerability,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    last_updated: Option<Timestamp>,
    #[serde(default)]
    products: Vec<Component>,
    status: VexStatus,
    #[serde(default)]
    status_notes: Option<String>,
    #[serde(default)]
    justification: Option<String>,
    #[serde(rename = "impact_statement", default)]
    impact: Option<String>,
}

/// Documents before version 0.2 have a text here, and in place of a component.
#[derive(Deserialize)]
#[serde(untagged)]
enum Vulnerability {
    Text(String),
    Named {
        name: String,
        #[serde(default)]
        aliases: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Component {
    Text(String),
    Identified {
        #[serde(rename = "@id", default)]
        id: Option<String>,
        #[serde(default)]
        identifiers: Identifiers,
        #[serde(default)]
        hashes: Hashes,
        #[serde(default)]
        subcomponents: Vec<Component>,
    },
}

#[derive(Default, Deserialize)]
struct Identifiers {
    #[serde(default)]
    purl: Option<String>,
}

#[derive(Default, Deserialize)]
struct Hashes {
    #[serde(rename = "sha-256", default)]
    sha256: Option<String>,
}

/// Reads a document; `source` is what reports call it.
///
/// Sources: the `OpenVEX` specification 0.2.0, and 0.0.1 where its fields are texts. Fields that are not known are skipped,
/// since a document may have those of others.
pub(crate) fn read(source: &str, json: &[u8]) -> Result<Vec<VexStatement>, VexError> {
    if json.len() > MAX_BYTES {
        return Err(VexError::TooLong);
    }
    let document: Document = serde_json::from_slice(json).map_err(VexError::Malformed)?;
    if !document.context.starts_with(NAMESPACE) {
        return Err(VexError::Context);
    }
    let at = document.timestamp;
    let statements = document.statements.into_iter().enumerate();
    let checked = statements.map(|(index, statement)| {
        statement.check(source, at).map_err(|flaw| VexError::Statement {
            number: index + 1,
            flaw,
        })
    });
    checked.collect()
}

impl Statement {
    fn check(self, source: &str, issued: Timestamp) -> Result<VexStatement, &'static str> {
        let names = match self.vulnerability {
            Vulnerability::Text(name) => vec![name],
            Vulnerability::Named { name, aliases } => [vec![name], aliases].concat(),
        };
        if names[0].trim().is_empty() {
            return Err("the vulnerability has no name");
        }
        if self.products.is_empty() {
            return Err("it names no product, and there is no document around it that could");
        }
        let justification = self.justification.filter(|text| !text.is_empty());
        if let Some(justification) = &justification
            && !JUSTIFICATIONS.contains(&justification.as_str())
        {
            return Err("its justification is none of those that OpenVEX has");
        }
        let impact = self.impact.unwrap_or_default();
        if self.status == VexStatus::NotAffected && justification.is_none() && impact.trim().is_empty() {
            return Err("not_affected needs a justification or an impact_statement");
        }
        let notes = [impact, self.status_notes.unwrap_or_default()];
        let notes: Vec<&str> = notes
            .iter()
            .map(|note| note.trim())
            .filter(|note| !note.is_empty())
            .collect();
        Ok(VexStatement {
            names,
            products: self.products.into_iter().map(Product::of).collect(),
            status: self.status,
            notes: notes.join(" "),
            justification,
            at: self.last_updated.or(self.timestamp).unwrap_or(issued),
            source: source.to_owned(),
        })
    }
}

impl Component {
    fn take_apart(self) -> (Vec<PurlPattern>, Option<String>, Vec<Self>) {
        match self {
            Self::Text(text) => (PurlPattern::parse(&text).into_iter().collect(), None, Vec::new()),
            Self::Identified {
                id,
                identifiers,
                hashes,
                subcomponents,
            } => {
                let texts = [id, identifiers.purl];
                let mut purls: Vec<PurlPattern> = Vec::new();
                for purl in texts.iter().flatten().filter_map(|text| PurlPattern::parse(text)) {
                    if !purls.contains(&purl) {
                        purls.push(purl);
                    }
                }
                (purls, hashes.sha256, subcomponents)
            }
        }
    }
}

impl Product {
    fn of(component: Component) -> Self {
        let (purls, sha256, subcomponents) = component.take_apart();
        Self {
            purls,
            sha256,
            subcomponents: subcomponents
                .into_iter()
                .map(|component| component.take_apart().0)
                .collect(),
        }
    }

    /// Tells whether the product is the image and the package is meant, or the product is the package itself.
    ///
    /// A product that is another package of the image says nothing here: what uses what within an image is not known.
    fn covers(&self, found: &PlacedFinding, image: Option<(&Report, &PlatformReport)>) -> bool {
        let is_package = |purls: &[PurlPattern]| purls.iter().any(|purl| purl.matches(&found.finding.purl));
        let is_image = image.is_some_and(|(report, platform)| {
            let has_hash = |hash: &String| {
                [report.image.digest, platform.digest]
                    .iter()
                    .any(|digest| digest.hex().eq_ignore_ascii_case(hash))
            };
            self.sha256.as_ref().is_some_and(has_hash)
                || self.purls.iter().any(|purl| purl.matches_image(report, platform))
        });
        if self.subcomponents.is_empty() {
            is_image || is_package(&self.purls)
        } else {
            is_image && self.subcomponents.iter().any(|purls| is_package(purls))
        }
    }
}

impl VexStatement {
    /// Tells whether the statement is about a finding.
    pub(crate) fn is_about(&self, found: &PlacedFinding, image: Option<(&Report, &PlatformReport)>) -> bool {
        let is_named = self
            .names
            .iter()
            .any(|name| found.finding.ids.iter().any(|id| id.eq_ignore_ascii_case(name)));
        is_named && self.products.iter().any(|product| product.covers(found, image))
    }

    /// Returns what the statement makes of a finding; nothing if it counts all the same.
    pub(crate) fn suppresses(&self) -> Option<SuppressionKind> {
        match self.status {
            VexStatus::NotAffected => Some(SuppressionKind::VexNotAffected),
            VexStatus::Fixed => Some(SuppressionKind::VexFixed),
            VexStatus::Affected | VexStatus::UnderInvestigation => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(statement: &Value) -> Vec<u8> {
        let document = json!({
            "@context": "https://openvex.dev/ns/v0.2.0",
            "@id": "https://openvex.dev/docs/example/vex-1",
            "author": "shop",
            "timestamp": "2026-01-08T18:02:03.647787998-06:00",
            "version": 1,
            "statements": [statement],
        });
        document.to_string().into_bytes()
    }

    fn statement(change: &Value) -> Value {
        let mut statement = json!({
            "vulnerability": {"name": "CVE-1"},
            "products": [{"@id": "pkg:npm/a"}],
            "status": "not_affected",
            "justification": "vulnerable_code_not_present",
        });
        for (key, value) in change.as_object().unwrap() {
            statement[key] = value.clone();
        }
        statement
    }

    #[test]
    fn a_statement_takes_its_time_from_the_document_unless_it_has_its_own() {
        let read = |change| read("f", &document(&statement(&change))).unwrap().remove(0);
        let plain = read(json!({}));
        assert_eq!(plain.at.to_string(), "2026-01-09T00:02:03.647787998Z");
        let own = read(json!({"timestamp": "2026-02-01T00:00:00Z", "unknown": true}));
        assert_eq!(own.at.to_string(), "2026-02-01T00:00:00Z");
        let updated =
            read(json!({"timestamp": "2026-02-01T00:00:00Z", "last_updated": "2026-03-01T00:00:00Z"}));
        assert_eq!(updated.at.to_string(), "2026-03-01T00:00:00Z");
    }

    #[test]
    fn older_documents_have_texts_for_structures() {
        let old = statement(&json!({"vulnerability": "CVE-1", "products": ["pkg:npm/a"]}));
        let new = statement(&json!({}));
        assert_eq!(
            read("f", &document(&old)).unwrap(),
            read("f", &document(&new)).unwrap()
        );
    }

    #[test]
    fn incomplete_statements_are_refused_with_their_place() {
        for (change, expected) in [
            (json!({"status": "harmless"}), "unknown variant `harmless`"),
            (
                json!({"vulnerability": {"name": " "}}),
                "statement 1: the vulnerability",
            ),
            (json!({"products": []}), "statement 1: it names no product"),
            (
                json!({"justification": "trust me"}),
                "statement 1: its justification",
            ),
            (
                json!({"justification": ""}),
                "statement 1: not_affected needs a justification",
            ),
        ] {
            let error = read("f", &document(&statement(&change))).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let said = format!("{error}: {}", cause.unwrap_or_default());
            assert!(said.contains(expected), "{change}: {said}");
        }
        let other = document(&statement(&json!({})));
        let other = String::from_utf8(other)
            .unwrap()
            .replace("openvex.dev", "example.org");
        assert!(matches!(read("f", other.as_bytes()), Err(VexError::Context)));
        assert!(matches!(read("f", b"{}"), Err(VexError::Malformed(_))));
        assert!(matches!(read("f", b"[1"), Err(VexError::Malformed(_))));
    }
}
