//! Texts of strangers, as people may be shown them.

use std::borrow::Cow;

/// Makes visible what would steer or hide a text: control characters, and those that turn its direction.
///
/// Escaping markup is another thing, which whoever writes HTML has done for all texts.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.contains(is_hidden) {
        Cow::Owned(text.chars().map(visible).collect())
    } else {
        Cow::Borrowed(text)
    }
}

fn visible(c: char) -> char {
    match c {
        '\n' | '\t' => ' ',
        c if is_hidden(c) => '\u{fffd}',
        c => c,
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hidden_stays_hidden() {
        assert!(matches!(shown("Größe & <b>"), Cow::Borrowed("Größe & <b>")));
        assert_eq!(
            shown("a\u{0}b\u{202e}c\r\n\u{200b}\td\u{61c}\u{1b}"),
            "a\u{fffd}b\u{fffd}c\u{fffd} \u{fffd} d\u{fffd}\u{fffd}"
        );
    }
}
