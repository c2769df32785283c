//! Text for a terminal: aligned, and safe to show.

use std::borrow::Cow;

/// Replaces characters that steer a terminal or turn text around: images and answers are strangers' texts.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_unsafe) {
        Cow::Owned(text.replace(is_unsafe, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A column of a table.
pub(crate) struct Column {
    title: &'static str,
    max_width: usize,
}

impl Column {
    /// Names a column that is as wide as its longest text.
    pub(crate) fn new(title: &'static str) -> Self {
        Self::up_to(title, usize::MAX)
    }

    /// Names a column of at most `max_width` characters; a longer text is shown whole and moves the rest of its line.
    pub(crate) fn up_to(title: &'static str, max_width: usize) -> Self {
        Self { title, max_width }
    }
}

/// Writes rows below the columns' titles.
pub(crate) fn table<const N: usize>(columns: &[Column; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[Cow<'_, str>; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| printable(cell)))
        .collect();
    let mut widths = columns.each_ref().map(|column| column.title.len());
    for row in &rows {
        for ((width, cell), column) in widths.iter_mut().zip(row).zip(columns) {
            *width = cell.chars().count().min(column.max_width).max(*width);
        }
    }
    let titles = columns.each_ref().map(|column| Cow::Borrowed(column.title));
    let mut text = String::new();
    for row in std::iter::once(&titles).chain(&rows) {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Writes a number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths, so that no digit depends on how a machine rounds.
    let mut tenths = count.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Quotes a word for a POSIX shell, if it needs quotes.
pub(crate) fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@+".contains(&b);
    if !word.is_empty() && word.bytes().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_no_wider_than_they_may() {
        let rows = [["a", "1", "x"], ["long-name", "22", "y"]].map(|row| row.map(str::to_owned));
        let columns = [Column::up_to("NAME", 6), Column::new("N"), Column::new("LAST")];
        assert_eq!(
            table(&columns, &rows),
            "NAME    N   LAST\n\
             a       1   x\n\
             long-name  22  y\n"
        );
        assert_eq!(table(&columns, &[]), "NAME  N  LAST\n");
    }

    #[test]
    fn nothing_in_a_cell_steers_the_terminal() {
        let rows = [["evil\u{1b}]0;title\u{7}".to_owned(), "\u{202e}gnp".to_owned()]];
        let text = table(&[Column::new("A"), Column::new("B")], &rows);
        assert_eq!(
            text.lines().nth(1),
            Some("evil\u{fffd}]0;title\u{fffd}  \u{fffd}gnp")
        );
    }

    #[test]
    fn sizes_are_cut_and_not_rounded_up() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (50_434_867, "48.0 MiB"),
            (u64::MAX, "1677721.5 TiB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("i-0:=x"), "i-0:=x");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("a b$(c)"), "'a b$(c)'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
