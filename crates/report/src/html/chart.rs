//! Bars of how many findings there are of each severity.

use std::collections::BTreeMap;

use portwarden_advisories::Level;

use super::markup::Markup;

/// How many findings of each severity there are.
pub(super) type Counts = BTreeMap<Level, usize>;

/// Draws one bar; its full width stands for `most` findings.
pub(super) fn bar(markup: &mut Markup, counts: &Counts, most: usize) {
    let total: usize = counts.values().sum();
    let words: Vec<String> = counts
        .iter()
        .rev()
        .map(|(level, count)| format!("{count} {}", level.as_str()))
        .collect();
    markup
        .raw("<svg class=\"bar\" preserveAspectRatio=\"none\" viewBox=\"0 0 ")
        .number(most.max(1))
        .raw(" 1\" role=\"img\" aria-label=\"")
        .text(&if total == 0 {
            "none".to_owned()
        } else {
            words.join(", ")
        })
        .raw("\">");
    let mut start = 0;
    for (level, count) in counts.iter().rev() {
        markup
            .raw("<rect class=\"")
            .text(level.as_str())
            .raw("\" x=\"")
            .number(start);
        markup
            .raw("\" y=\"0\" height=\"1\" width=\"")
            .number(*count)
            .raw("\"/>");
        start += count;
    }
    markup.raw("</svg>");
}

/// Names the colours.
pub(super) fn legend(markup: &mut Markup, counts: &Counts) {
    markup.raw("<ul class=\"legend\">");
    for (level, count) in counts.iter().rev() {
        markup
            .raw("<li class=\"")
            .text(level.as_str())
            .raw("\"><span class=\"dot\"></span>");
        markup.number(*count).raw(" ").text(level.as_str()).raw("</li>");
    }
    markup.raw("</ul>");
}
