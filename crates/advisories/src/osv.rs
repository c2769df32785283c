//! OSV records: lenient where feeds are odd, exact where it decides.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::{
    Interval, Level, Severity,
    ecosystem::{normalise_name, scheme},
    null::or_default,
    range::{self, Event},
};

/// Reads a record.
///
/// Source: the OSV schema 1.7. Unknown fields, ecosystems and kinds of ranges are skipped.
pub fn parse(json: &[u8]) -> Result<Advisory, OsvError> {
    let record: Record = serde_json::from_slice(json).map_err(OsvError::Malformed)?;
    let timestamp = |text: &str| text.parse::<Timestamp>().ok();
    let is_id = |id: &str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    if !is_id(&record.id) {
        return Err(OsvError::Id);
    }
    let modified = timestamp(&record.modified).ok_or(OsvError::Modified)?;
    let mut flaws = Vec::new();
    let mut affected = Vec::new();
    for entry in &record.affected {
        affected.extend(entry.read(&mut flaws));
    }
    let mut upstream = record.upstream;
    if upstream.is_empty() && record.aliases.is_empty() {
        // Some distributions name the flaws that they fix as related only.
        upstream = record
            .related
            .into_iter()
            .filter(|id| id.starts_with("CVE-"))
            .collect();
    }
    let ids = |mut ids: Vec<String>| {
        ids.retain(|id| is_id(id) && *id != record.id);
        ids.sort();
        ids.dedup();
        ids
    };
    Ok(Advisory {
        severity: severity(
            &record.id,
            &record.severity,
            &record.affected,
            &record.database_specific,
        ),
        aliases: ids(record.aliases),
        upstream: ids(upstream),
        modified,
        published: record.published.as_deref().and_then(timestamp),
        is_withdrawn: record.withdrawn.is_some(),
        summary: summary(record.summary.as_deref(), record.details.as_deref()),
        links: links(&record.references),
        id: record.id,
        affected,
        flaws,
    })
}

/// A published vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisory {
    /// The identifier, such as `GHSA-jfh8-c2jp-5v3q`.
    pub id: String,
    /// Other names of the same flaw.
    pub aliases: Vec<String>,
    /// The flaws that a distribution's advisory is about.
    pub upstream: Vec<String>,
    /// When it was last changed.
    pub modified: Timestamp,
    /// When it was first published.
    pub published: Option<Timestamp>,
    /// Whether it was taken back.
    pub is_withdrawn: bool,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub summary: String,
    /// Where to read more: advisories and fixes first.
    pub links: Vec<String>,
    /// What is affected.
    pub affected: Vec<Affected>,
    /// What could not be used, for people.
    pub flaws: Vec<String>,
}

/// A package that an advisory affects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Affected {
    /// The ecosystem with its release, such as `Debian:12`.
    pub ecosystem: String,
    /// The name, as the ecosystem compares names.
    pub name: String,
    /// The affected versions, in order.
    pub intervals: Vec<Interval>,
    /// Further affected versions, outside of the intervals.
    pub versions: Vec<String>,
}

/// Why a record cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OsvError {
    /// It is not JSON of the right shape.
    #[error("the record is not an OSV record")]
    Malformed(#[source] serde_json::Error),
    /// There is no usable identifier.
    #[error("the record has no usable id")]
    Id,
    /// There is no usable time of the last change.
    #[error("the record has no usable time of its last change")]
    Modified,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    modified: String,
    #[serde(default)]
    published: Option<String>,
    #[serde(default)]
    withdrawn: Option<Value>,
    #[serde(default, deserialize_with = "or_default")]
    aliases: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    upstream: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    related: Vec<String>,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    details: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    severity: Vec<Rating>,
    #[serde(default, deserialize_with = "or_default")]
    affected: Vec<Entry>,
    #[serde(default, deserialize_with = "or_default")]
    references: Vec<Reference>,
    #[serde(default)]
    database_specific: Value,
}

#[derive(Deserialize)]
struct Rating {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    score: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    package: Option<Named>,
    #[serde(default, deserialize_with = "or_default")]
    severity: Vec<Rating>,
    #[serde(default, deserialize_with = "or_default")]
    ranges: Vec<Range>,
    #[serde(default, deserialize_with = "or_default")]
    versions: Vec<String>,
    #[serde(default)]
    ecosystem_specific: Value,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    ecosystem: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    events: Vec<RawEvent>,
}

#[derive(Deserialize)]
struct RawEvent {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    url: String,
}

impl Entry {
    fn read(&self, flaws: &mut Vec<String>) -> Option<Affected> {
        let Named { ecosystem, name } = self.package.as_ref()?;
        // What an ecosystem is that we do not know is no flaw of the record.
        let scheme = scheme(ecosystem).filter(|_| !name.is_empty())?;
        let mut intervals = Vec::new();
        for range in self.ranges.iter().filter(|range| range.kind != "GIT") {
            let events: Vec<Event> = range.events.iter().flat_map(RawEvent::events).collect();
            match range::intervals(scheme, &events) {
                Some(found) => intervals.extend(found),
                None => flaws.push(format!("{ecosystem} {name}: a range has a version that is none")),
            }
        }
        intervals.sort();
        intervals.dedup();
        let mut versions: Vec<String> = self
            .versions
            .iter()
            .filter(|version| {
                !intervals
                    .iter()
                    .any(|i| i.contains(scheme, version) == Some(true))
            })
            .cloned()
            .collect();
        versions.sort();
        versions.dedup();
        (!intervals.is_empty() || !versions.is_empty()).then(|| Affected {
            name: normalise_name(ecosystem, name).into_owned(),
            ecosystem: ecosystem.clone(),
            intervals,
            versions,
        })
    }
}

impl RawEvent {
    fn events(&self) -> impl Iterator<Item = Event> {
        let all = [
            self.introduced.clone().map(Event::Introduced),
            self.fixed.clone().map(Event::Fixed),
            self.last_affected.clone().map(Event::LastAffected),
            self.limit.clone().map(Event::Limit),
        ];
        all.into_iter().flatten()
    }
}

/// A distribution's own word counts first, then the newest CVSS vector, then the database's word.
fn severity(id: &str, ratings: &[Rating], affected: &[Entry], specific: &Value) -> Severity {
    let all = || {
        ratings
            .iter()
            .chain(affected.iter().flat_map(|entry| &entry.severity))
    };
    let vector = all()
        .filter_map(|rating| Some((&rating.kind, Severity::of_vector(&rating.kind, &rating.score)?)))
        .max_by(|(a, left), (b, right)| a.cmp(b).then(left.score_tenths.cmp(&right.score_tenths)))
        .map(|(_, severity)| severity);
    let own = all()
        .filter(|rating| !rating.kind.starts_with("CVSS"))
        .filter_map(|rating| Level::parse(&rating.score))
        .max();
    let word = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).and_then(Level::parse);
    let urgency = affected
        .iter()
        .filter_map(|entry| word(&entry.ecosystem_specific, "urgency"))
        .max();
    let mut severity = match vector {
        Some(severity) => severity,
        None if id.starts_with("MAL-") => Severity::of_word(Level::Critical),
        None => Severity::of_word(word(specific, "severity").unwrap_or_default()),
    };
    if let Some(level) = own.or(urgency) {
        severity.level = level;
    }
    severity
}

/// One line of at most 200 characters; the first of the details if there is no summary.
fn summary(summary: Option<&str>, details: Option<&str>) -> String {
    let first_line = |text: &str| {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        let plain: String = line.trim_start_matches(['#', ' ']).chars().take(200).collect();
        (!plain.is_empty()).then_some(plain)
    };
    summary
        .and_then(first_line)
        .or_else(|| details.and_then(first_line))
        .unwrap_or_default()
}

/// At most three links of the web.
fn links(references: &[Reference]) -> Vec<String> {
    let rank = |kind: &str| match kind {
        "ADVISORY" => 0,
        "FIX" => 1,
        "REPORT" => 2,
        _ => 3,
    };
    let is_link = |url: &str| {
        ["https://", "http://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
            && url.len() <= 300
            && !url.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    let mut links: Vec<&Reference> = references.iter().filter(|link| is_link(&link.url)).collect();
    links.sort_by_key(|link| rank(&link.kind));
    links.into_iter().take(3).map(|link| link.url.clone()).collect()
}
