//! Small pictures, drawn where a look says more than a number. Each says in words what it shows.

use maud::{Markup, html};

/// How wide a picture is, in its own units.
const WIDTH: u64 = 1000;

/// Draws parts of a whole as one bar: what each is called, how many it is, and its colour in the style.
pub(super) fn shares(parts: &[(&str, u64, &str)]) -> Markup {
    let total: u64 = parts.iter().map(|(_, number, _)| number).sum();
    let mut start = 0;
    let mut bars = Vec::new();
    for (name, number, colour) in parts.iter().filter(|(_, number, _)| *number > 0) {
        let end = start + number;
        // Whole units are wide enough, and a part that is there is seen.
        let (from, to) = (start * WIDTH / total.max(1), end * WIDTH / total.max(1));
        bars.push((*name, *number, *colour, from, (to - from).max(3)));
        start = end;
    }
    let words: Vec<String> = bars
        .iter()
        .map(|(name, number, ..)| format!("{number} {name}"))
        .collect();
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " 1" } preserveAspectRatio="none" role="img" aria-label=(words.join(", ")) {
            @for (_, _, colour, from, width) in &bars { rect.(colour) x=(from) y="0" width=(width) height="1" {} }
        }
        ul.legend aria-hidden="true" {
            @for (name, number, colour, ..) in &bars { li.(colour) { strong { (number) } " " (name) } }
        }
    }
}

/// Draws values of the same kind in the order of time as columns; the highest one fills the height.
///
/// `limit` is the value from which on a column is drawn as too high.
pub(super) fn columns(values: &[u64], limit: u64, words: &str) -> Markup {
    const HEIGHT: u64 = 100;
    let most = values.iter().copied().max().unwrap_or_default().max(1);
    let number = values.len();
    html! {
        svg.columns viewBox={ "0 0 " (number.max(1) * 10) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(words) {
            @for (index, value) in values.iter().enumerate() {
                @let height = (value * HEIGHT / most).max(4);
                rect.(if *value >= limit { "unsure" } else { "good" }) x=(index * 10 + 1) width="8" y=(HEIGHT - height) height=(height) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_bar_and_are_said_in_words() {
        let drawn = shares(&[
            ("event", 3, "good"),
            ("backfill", 0, "turn"),
            ("comparison", 1, "unsure"),
        ])
        .into_string();
        assert!(drawn.contains("aria-label=\"3 event, 1 comparison\""), "{drawn}");
        assert!(drawn.contains("x=\"0\" y=\"0\" width=\"750\""), "{drawn}");
        assert!(drawn.contains("x=\"750\" y=\"0\" width=\"250\""), "{drawn}");
        assert!(!shares(&[]).into_string().contains("rect"));
        // Nothing overflows, however much there is.
        let tiny = shares(&[("a", 1, "good"), ("b", 1_000_000_000_000, "bad")]).into_string();
        assert!(tiny.contains("width=\"3\""), "{tiny}");
    }

    #[test]
    fn the_highest_column_fills_the_height() {
        let drawn = columns(&[5, 10, 0], 10, "w").into_string();
        assert!(
            drawn.contains("height=\"50\"") && drawn.contains("height=\"100\""),
            "{drawn}"
        );
        assert_eq!(drawn.matches("unsure").count(), 1);
        assert!(!columns(&[], 1, "w").into_string().contains("rect"));
    }
}
