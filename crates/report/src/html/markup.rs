//! HTML that a stranger's text cannot break out of.

/// A piece of a page. Markup is what is written in this program; everything else is escaped.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Adds markup of our own.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, for content and for values of attributes in quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(' '),
                // What steers or turns text around would show something else than is there.
                c if c.is_control() || is_direction(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: usize) -> &mut Self {
        self.0.push_str(&number.to_string());
        self
    }

    /// Adds text between two pieces of markup.
    pub(super) fn wrap(&mut self, before: &'static str, text: &str, after: &'static str) -> &mut Self {
        self.raw(before).text(text).raw(after)
    }

    /// Adds a link; text alone if it leads to anything else than the web.
    pub(super) fn link(&mut self, url: &str, text: &str) -> &mut Self {
        if url.starts_with("https://") || url.starts_with("http://") {
            self.raw("<a rel=\"noreferrer\" href=\"").text(url).raw("\">");
            self.text(text).raw("</a>")
        } else {
            self.text(text)
        }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let mut markup = Markup::default();
        markup.text("<a href=\"x\" title='y'>&amp;\u{202e}\u{0}\n\u{1b}");
        assert_eq!(
            markup.into_string(),
            "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;\u{fffd}\u{fffd} \u{fffd}"
        );
    }

    #[test]
    fn only_addresses_of_the_web_become_links() {
        let link = |url: &str| {
            let mut markup = Markup::default();
            markup.link(url, "text");
            markup.into_string()
        };
        assert_eq!(
            link("https://a.example/?b=\"c"),
            "<a rel=\"noreferrer\" href=\"https://a.example/?b=&quot;c\">text</a>"
        );
        for url in [
            "javascript:alert(1)",
            "data:text/html,x",
            "//a.example",
            "JAVASCRIPT:x",
            "",
        ] {
            assert_eq!(link(url), "text", "{url}");
        }
    }
}
