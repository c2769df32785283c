/// One line of a file of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `Key: value`.
    Field(&'a str, &'a str),
    /// A line that continues the value above.
    Continuation(&'a str),
    /// An empty line, which ends a stanza.
    Blank,
    /// None of these.
    Junk,
}

/// Reads lines of fields as Debian's control files and Internet messages have them.
///
/// Sources: Debian policy, 5.1 "Syntax of control files"; RFC 5322, 2.2.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.split('\n').map(|line| {
        let line = line.trim_end();
        if line.is_empty() {
            Line::Blank
        } else if line.starts_with([' ', '\t']) {
            Line::Continuation(line.trim_start())
        } else {
            match line.split_once(':') {
                Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) => {
                    Line::Field(key, value.trim_start())
                }
                _ => Line::Junk,
            }
        }
    })
}
