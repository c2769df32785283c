//! Links that other formats take.

/// Tells whether a link may stand where a schema wants a URI (RFC 3986); advisories have odd ones.
pub(crate) fn is_uri(link: &str) -> bool {
    let is_escaped = |rest: &str| {
        let hex = rest.as_bytes().get(..2);
        hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    let is_allowed = |c: char| c.is_ascii_graphic() && !"<>\"{}|\\^`".contains(c);
    link.chars().all(is_allowed) && link.split('%').skip(1).all(is_escaped)
}

#[cfg(test)]
mod tests {
    use super::is_uri;

    #[test]
    fn what_no_uri_may_hold_makes_none() {
        for (link, is_one) in [
            ("https://a.example/b?c=%20#d", true),
            ("https://a.example/\u{fc}", false),
            ("https://a.example/%", false),
            ("https://a.example/%zz", false),
            ("https://a.example/<b>", false),
            ("https://a.example/ b", false),
        ] {
            assert_eq!(is_uri(link), is_one, "{link}");
        }
    }
}
