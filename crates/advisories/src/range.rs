//! Which versions an advisory affects.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::Scheme;

/// Versions from one on, up to a bound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval {
    /// The first version; empty if all versions up to the bound are affected.
    pub introduced: String,
    /// Where it ends.
    pub until: Bound,
}

/// Where affected versions end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Bound {
    /// Nowhere: there is no fix.
    Never,
    /// Before this version, which fixes it.
    Fixed(String),
    /// After this version.
    LastAffected(String),
    /// Before this version, which is on another branch.
    Limit(String),
}

/// What happens at a version, as OSV writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Introduced(String),
    Fixed(String),
    LastAffected(String),
    Limit(String),
}

impl Interval {
    /// Tells whether a version lies in here; nothing if it cannot be compared.
    pub fn contains(&self, scheme: Scheme, version: &str) -> Option<bool> {
        contains(scheme, version, &self.introduced, self.until.as_parts())
    }
}

/// As [`Interval::contains`], for texts that lie somewhere else.
pub(crate) fn contains(
    scheme: Scheme,
    version: &str,
    introduced: &str,
    (kind, until): (u8, &str),
) -> Option<bool> {
    let is_after_start = introduced.is_empty() || scheme.compare(version, introduced)?.is_ge();
    let is_before_end = match kind {
        Bound::NEVER => scheme.is_valid(version).then_some(true)?,
        Bound::LAST_AFFECTED => scheme.compare(version, until)?.is_le(),
        _ => scheme.compare(version, until)?.is_lt(),
    };
    Some(is_after_start && is_before_end)
}

impl Bound {
    pub(crate) const NEVER: u8 = 0;
    pub(crate) const FIXED: u8 = 1;
    pub(crate) const LAST_AFFECTED: u8 = 2;
    pub(crate) const LIMIT: u8 = 3;

    pub(crate) fn as_parts(&self) -> (u8, &str) {
        match self {
            Self::Never => (Self::NEVER, ""),
            Self::Fixed(version) => (Self::FIXED, version),
            Self::LastAffected(version) => (Self::LAST_AFFECTED, version),
            Self::Limit(version) => (Self::LIMIT, version),
        }
    }
}

/// Makes intervals of a range's events; nothing if a version in them is none.
///
/// Source: the evaluation algorithm of the OSV schema. Events at one version happen in the order in which they stand.
pub(crate) fn intervals(scheme: Scheme, events: &[Event]) -> Option<Vec<Interval>> {
    let mut limit: Option<&str> = None;
    let mut has_limit = false;
    let mut points: Vec<(&str, &Event)> = Vec::new();
    for event in events {
        match event {
            Event::Limit(version) if version == "*" => (has_limit, limit) = (true, None),
            Event::Limit(version) => {
                // A version is affected if it is below any limit.
                let is_higher = match limit {
                    Some(limit) => scheme.compare(version, limit)?.is_gt(),
                    None => !has_limit && scheme.is_valid(version).then_some(true)?,
                };
                if is_higher {
                    (has_limit, limit) = (true, Some(version.as_str()));
                }
            }
            Event::Introduced(version) if version == "0" => points.push(("", event)),
            Event::Introduced(version) | Event::Fixed(version) | Event::LastAffected(version) => {
                scheme.is_valid(version).then_some(())?;
                points.push((version, event));
            }
        }
    }
    let order = |a: &str, b: &str| match (a.is_empty(), b.is_empty()) {
        (false, false) => scheme.compare(a, b).unwrap_or(Ordering::Equal),
        (a, b) => b.cmp(&a),
    };
    points.sort_by(|(a, _), (b, _)| order(a, b));
    let mut intervals = Vec::new();
    let mut open: Option<&str> = None;
    let mut close = |introduced: &str, until: Bound| {
        intervals.push(Interval {
            introduced: introduced.to_owned(),
            until,
        });
    };
    for (version, event) in points {
        match (event, open) {
            (Event::Introduced(_), None) => open = Some(version),
            (Event::Fixed(_), Some(introduced)) => {
                if order(introduced, version).is_lt() {
                    close(introduced, Bound::Fixed(version.to_owned()));
                }
                open = None;
            }
            (Event::LastAffected(_), Some(introduced)) => {
                close(introduced, Bound::LastAffected(version.to_owned()));
                open = None;
            }
            _ => {}
        }
    }
    if let Some(introduced) = open {
        close(introduced, Bound::Never);
    }
    if let Some(limit) = limit {
        intervals.retain_mut(|interval| {
            let ends_before = match &interval.until {
                Bound::Never => false,
                Bound::LastAffected(version) => order(version, limit).is_lt(),
                Bound::Fixed(version) | Bound::Limit(version) => order(version, limit).is_le(),
            };
            if !ends_before {
                interval.until = Bound::Limit(limit.to_owned());
            }
            order(&interval.introduced, limit).is_lt()
        });
    }
    Some(intervals)
}
