//! Bars of how many findings there are of each severity.

use std::collections::BTreeMap;

use maud::{Markup, html};
use portwarden_advisories::Level;

/// How many findings of each severity there are.
pub(super) type Counts = BTreeMap<Level, usize>;

/// Says in words how many there are of each, the worst first.
pub(super) fn words(counts: &Counts) -> String {
    let words: Vec<String> = counts
        .iter()
        .rev()
        .map(|(level, count)| format!("{count} {}", level.as_str()))
        .collect();
    words.join(", ")
}

/// Draws one bar; its full width stands for `most` findings.
pub(super) fn bar(counts: &Counts, most: usize) -> Markup {
    let total: usize = counts.values().sum();
    let words = if total == 0 {
        "none".to_owned()
    } else {
        words(counts)
    };
    let starts = counts.values().rev().scan(0, |next, count| {
        let start = *next;
        *next += count;
        Some(start)
    });
    html! {
        svg.bar preserveAspectRatio="none" viewBox={ "0 0 " (most.max(1)) " 1" } role="img" aria-label=(words) {
            @for ((level, count), start) in counts.iter().rev().zip(starts) {
                rect class=(level.as_str()) x=(start) y="0" height="1" width=(count) {}
            }
        }
    }
}

/// Names the colours.
pub(super) fn legend(counts: &Counts) -> Markup {
    html! {
        ul.legend {
            @for (level, count) in counts.iter().rev() {
                li class=(level.as_str()) { span.dot {} (count) " " (level.as_str()) }
            }
        }
    }
}
