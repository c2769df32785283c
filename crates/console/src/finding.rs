//! What is wrong with images: which findings somebody wants to see, and where a package or a flaw is.

use futures_util::future::try_join_all;
use portwarden_advisories::Level;
use portwarden_core::{
    image::{Cursor, ImageSummary, List},
    inventory::Holder,
    scope::TenantScope,
    store::StoreError,
};
use portwarden_oci::Digest;
use portwarden_report::{PlacedFinding, Side};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::context::Context;

/// Which findings of an image are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Only those that are at least this bad.
    pub(crate) least: Level,
    /// Only those whose package, name or line contains this text.
    pub(crate) text: String,
    /// Only those of packages whose name contains this text.
    pub(crate) package: String,
    /// Only the flaw with this name.
    pub(crate) id: String,
    /// Only those whose package this side has brought.
    pub(crate) side: Option<Side>,
    /// Only those that have a fix, or only those that have none.
    pub(crate) fixable: Option<bool>,
    /// Only those that stand so.
    pub(crate) state: FindingState,
}

/// Whether a finding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FindingState {
    /// It counts.
    #[default]
    Open,
    /// Somebody has said that it does not count.
    Suppressed,
    /// Either.
    All,
}

impl Filter {
    /// Tells whether a finding is wanted.
    pub(crate) fn takes(&self, found: &PlacedFinding) -> bool {
        let finding = &found.finding;
        let is_in =
            |text: &str, part: &str| part.is_empty() || text.to_lowercase().contains(&part.to_lowercase());
        let is_suppressed = found.suppressed.is_some();
        finding.severity.level >= self.least
            && match self.state {
                FindingState::Open => !is_suppressed,
                FindingState::Suppressed => is_suppressed,
                FindingState::All => true,
            }
            && self
                .fixable
                .is_none_or(|fixable| finding.fixed.is_some() == fixable)
            && self.side.is_none_or(|side| found.side() == Some(side))
            && (is_in(&found.name, &self.package) || is_in(&finding.purl, &self.package))
            && (self.id.is_empty() || finding.ids.contains(&flaw_name(&self.id)))
            && (is_in(&found.name, &self.text)
                || is_in(&finding.summary, &self.text)
                || finding.ids.iter().any(|id| is_in(id, &self.text)))
    }
}

/// Writes a flaw's name as advisories do, however somebody has typed it.
pub(crate) fn flaw_name(text: &str) -> String {
    let text = text.trim();
    match text.split_once('-') {
        Some((kind, rest)) if kind.eq_ignore_ascii_case("GHSA") => format!("GHSA-{}", rest.to_lowercase()),
        Some((kind, rest)) if kind.eq_ignore_ascii_case("CVE") => format!("CVE-{rest}"),
        _ => text.to_owned(),
    }
}

/// Returns the images that hold a package whose name, or its last part, begins with a text.
pub(crate) async fn holders(
    console: &Context,
    scope: &TenantScope,
    text: &str,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<List<(Holder, ImageSummary)>, StoreError> {
    let list = console
        .inventory
        .search_packages(scope, text, after, limit)
        .await?;
    let summaries = summaries(console, scope, list.items.iter().map(|holder| holder.digest)).await?;
    let items = list.items.into_iter().zip(summaries);
    Ok(List {
        items: items
            .filter_map(|(holder, summary)| Some((holder, summary?)))
            .collect(),
        next: list.next,
    })
}

/// Returns the images that have a flaw, by any of its names.
pub(crate) async fn with_flaw(
    console: &Context,
    scope: &TenantScope,
    name: &str,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<List<ImageSummary>, StoreError> {
    let name = flaw_name(name);
    let list = console
        .inventory
        .images_with_finding(scope, &name, after, limit)
        .await?;
    Ok(List {
        items: summaries(console, scope, list.items.into_iter())
            .await?
            .into_iter()
            .flatten()
            .collect(),
        next: list.next,
    })
}

/// Reads images as lists show them, all at once.
pub(crate) async fn summaries(
    console: &Context,
    scope: &TenantScope,
    digests: impl Iterator<Item = Digest>,
) -> Result<Vec<Option<ImageSummary>>, StoreError> {
    let read = async |digest: Digest| console.images.summary(scope, &digest).await;
    try_join_all(digests.map(read)).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found() -> PlacedFinding {
        serde_json::from_value(json!({
            "id": "CVE-2021-44228", "ids": ["CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q"],
            "purl": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1", "fixed": "2.15.0",
            "severity": { "level": "critical" }, "summary": "Remote code", "links": [], "modified": "2021-12-10T00:00:00Z",
            "name": "log4j-core",
            "places": [{ "file": "a.jar", "layer": { "index": 1, "digest": Digest::of(b"a") }, "side": "yours" }],
        }))
        .unwrap()
    }

    #[test]
    fn each_filter_takes_and_leaves() {
        let found = found();
        let takes = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.takes(&found)
        };
        assert!(takes(&|_| {}));
        assert!(takes(&|filter| filter.least = Level::Critical));
        for (text, is_there) in [
            ("REMOTE", true),
            ("jfh8", true),
            ("log4j", true),
            ("local", false),
        ] {
            assert_eq!(takes(&|filter| filter.text = text.to_owned()), is_there, "{text}");
        }
        for (package, is_it) in [("Log4J", true), ("org.apache", true), ("remote", false)] {
            assert_eq!(
                takes(&|filter| filter.package = package.to_owned()),
                is_it,
                "{package}"
            );
        }
        for (id, is_it) in [
            ("cve-2021-44228", true),
            ("ghsa-JFH8-c2jp-5v3q", true),
            ("CVE-2021-4422", false),
        ] {
            assert_eq!(takes(&|filter| filter.id = id.to_owned()), is_it, "{id}");
        }
        assert!(takes(&|filter| filter.side = Some(Side::Yours)));
        assert!(!takes(&|filter| filter.side = Some(Side::Base)));
        assert!(takes(&|filter| filter.fixable = Some(true)));
        assert!(!takes(&|filter| filter.fixable = Some(false)));
        assert!(takes(&|filter| filter.state = FindingState::All));
        assert!(!takes(&|filter| filter.state = FindingState::Suppressed));
    }
}
