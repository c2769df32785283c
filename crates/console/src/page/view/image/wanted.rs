//! What a reader wants to see of a report.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portwarden_advisories::Level;
use portwarden_catalog::Package;
use portwarden_report::Side;
use serde::Deserialize;

use crate::finding::Filter;

/// What a reader wants to see of a report: the page's query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Findings, packages or layers.
    pub view: View,
    /// Only what contains this text.
    pub q: String,
    /// Only findings that are at least this bad.
    pub severity: String,
    /// Only findings and packages of this side: `base` or `yours`.
    pub side: String,
    /// What comes first: the worst findings, or else `package` or `layer`.
    pub by: String,
    /// Only findings that have a fix.
    pub fixable: String,
    /// Which platform, by its digest.
    pub platform: String,
    /// Which page of the rows, from 0.
    pub page: usize,
}

/// A way to look at a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The findings, the worst first.
    #[default]
    Findings,
    /// The packages.
    Packages,
    /// The layers.
    Layers,
    /// What came and went since the image before.
    Changes,
}

impl View {
    pub(super) const ALL: [Self; 4] = [Self::Findings, Self::Packages, Self::Layers, Self::Changes];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Findings => "findings",
            Self::Packages => "packages",
            Self::Layers => "layers",
            Self::Changes => "changes",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Findings => "Findings",
            Self::Packages => "Packages",
            Self::Layers => "Layers",
            Self::Changes => "Changes",
        }
    }
}

impl Wanted {
    /// Writes the page's query.
    pub(super) fn query(&self) -> String {
        let mut query = format!("?view={}", self.view.name());
        for (name, value) in [
            ("q", &self.q),
            ("severity", &self.severity),
            ("side", &self.side),
            ("by", &self.by),
            ("fixable", &self.fixable),
            ("platform", &self.platform),
        ] {
            if !value.is_empty() {
                // Writing to a text cannot fail.
                let _ = write!(query, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
        }
        if self.page > 0 {
            let _ = write!(query, "&page={}", self.page);
        }
        query
    }

    pub(super) fn filter(&self) -> Filter {
        Filter {
            least: Level::parse(&self.severity).unwrap_or_default(),
            text: self.q.clone(),
            side: match self.side.as_str() {
                "base" => Some(Side::Base),
                "yours" => Some(Side::Yours),
                _ => None,
            },
            fixable: (!self.fixable.is_empty()).then_some(true),
            ..Filter::default()
        }
    }

    pub(super) fn takes_package(&self, package: &Package, side: Option<Side>) -> bool {
        let needle = self.q.to_lowercase();
        self.filter().side.is_none_or(|wanted| side == Some(wanted))
            && (needle.is_empty()
                || package.purl.to_lowercase().contains(&needle)
                || package.name.to_lowercase().contains(&needle)
                || package.file.to_lowercase().contains(&needle))
    }
}
