//! Names that people give to things.

/// Takes a name: something to read, of 1 to 100 characters, on one line, without what turns the direction of text.
pub fn parse_name(text: &str) -> Result<String, NameError> {
    let name = text.trim();
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let is_readable = (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(is_unsafe);
    is_readable.then(|| name.to_owned()).ok_or(NameError)
}

/// How long a name is at most, in characters.
pub const MAX_NAME: usize = 100;

/// A text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a name of 1 to 100 characters on one line")]
pub struct NameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_readable_line() {
        assert_eq!(parse_name(" Größe & Söhne ").as_deref(), Ok("Größe & Söhne"));
        assert!(parse_name(&"x".repeat(MAX_NAME)).is_ok());
        for text in [
            "",
            "  ",
            "a\nb",
            "a\u{202e}b",
            "a\u{7f}",
            &"x".repeat(MAX_NAME + 1),
        ] {
            assert_eq!(parse_name(text), Err(NameError), "{text:?}");
        }
    }
}
