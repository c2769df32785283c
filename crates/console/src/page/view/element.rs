//! What several pages show in the same way.

use std::borrow::Cow;

use jiff::Timestamp;
use maud::{Markup, html};
use portwarden_core::problem::Problem;
pub use portwarden_core::shown::shown;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As it must be.
    Good,
    /// Something is to be mended.
    Bad,
    /// It could not be found out, or is to be looked at some day.
    Unsure,
    /// It is the reader's turn.
    Turn,
    /// It is still to come.
    Waiting,
}

impl Mark {
    /// Returns its name in the style.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unsure => "unsure",
            Self::Turn => "turn",
            Self::Waiting => "waiting",
        }
    }

    fn glyph(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Bad => "✗",
            Self::Unsure => "?",
            Self::Turn => "→",
            Self::Waiting => "·",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Good => "done",
            Self::Bad => "failed",
            Self::Unsure => "not known",
            Self::Turn => "your turn",
            Self::Waiting => "waiting",
        }
    }
}

/// Shows how something stands, to eyes and to ears.
pub fn mark(mark: Mark) -> Markup {
    html! {
        span class={ "mark " (mark.class()) } aria-hidden="true" { (mark.glyph()) }
        span.unseen { (mark.word()) ": " }
    }
}

/// Shows a state in a word or two.
pub fn badge(mark: Mark, words: &str) -> Markup {
    html! { span class={ "badge " (mark.class()) } { (words) } }
}

/// Shows the beginning of a text that may be of any length.
pub fn clipped(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        Some((end, _)) => Cow::Owned(format!("{}…", shown(&text[..end]))),
        None => shown(text),
    }
}

/// Shows a value with a button that copies it; the script makes the button work, and shows it.
pub fn copyable(name: &str, value: &str) -> Markup {
    html! {
        span.copyable {
            code { (shown(value)) }
            (copy_button(name, value))
        }
    }
}

/// Makes a button that copies a text.
pub fn copy_button(name: &str, value: &str) -> Markup {
    html! {
        button.copy type="button" hidden data-copy=(value) aria-label={ "Copy " (name) } { "Copy" }
    }
}

/// Shows a time; the script says how long ago it was.
pub fn time(at: Timestamp) -> Markup {
    let machine = format!("{at:.0}");
    let people = at.strftime("%-d %b %Y, %H:%M UTC").to_string();
    html! { time datetime=(machine) title=(people) { (people) } }
}

/// Shows what is wrong, and how it is mended.
pub fn problem(problem: &Problem) -> Markup {
    html! {
        div.problem {
            p.cause { (shown(&problem.message)) " " code.code { (shown(&problem.code)) } }
            div.fix {
                p {
                    strong { "Fix: " }
                    @for (index, line) in problem.fix.lines().enumerate() { @if index > 0 { br; } (shown(line)) }
                }
                (copy_button("the fix", &problem.fix))
            }
        }
    }
}

/// Writes a count with its noun.
pub fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {many}")
    }
}

/// Writes a number of bytes for people.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if number < 1000 {
        return format!("{number} B");
    }
    // A tenth of a unit is all that is shown.
    #[expect(clippy::cast_precision_loss)]
    let mut value = number as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hidden_stays_hidden_and_markup_is_text() {
        let hostile = "a\u{0}b\u{202e}c\r\u{200b}<script>alert(1)</script>";
        let html = html! { p { (shown(hostile)) } }.into_string();
        assert_eq!(
            html,
            "<p>a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}&lt;script&gt;alert(1)&lt;/script&gt;</p>"
        );
        let copied = copy_button("\"it\"", "\"><script>").into_string();
        assert!(
            !copied.contains("\"><script>") && !copied.contains("\"it\""),
            "{copied}"
        );
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
    }
}
