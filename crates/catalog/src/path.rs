use std::borrow::Cow;

/// Brings an archive's path into the one form that this crate compares: relative to the image's root, without `.`, `..`
/// and empty components, the root itself being empty. Nothing leads above the root, as in `Clean` of Go's `path`, by
/// which container runtimes unpack layers. Bytes that are not UTF-8 are replaced. `None` if the path holds a NUL.
pub(crate) fn normalise(raw: &[u8]) -> Option<Cow<'_, str>> {
    let trimmed = trim(raw);
    if memchr::memchr(0, raw).is_some() {
        return None;
    }
    let text = String::from_utf8_lossy(trimmed);
    if is_normal(text.as_bytes()) {
        return Some(text);
    }
    let mut components: Vec<&str> = Vec::new();
    for component in text.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    Some(Cow::Owned(components.join("/")))
}

/// Takes off what nearly every archive writes: a leading `./` or `/`, and the `/` behind a directory.
fn trim(raw: &[u8]) -> &[u8] {
    let raw = raw
        .strip_prefix(b".")
        .filter(|rest| rest.starts_with(b"/"))
        .unwrap_or(raw);
    let raw = raw.strip_prefix(b"/").unwrap_or(raw);
    raw.strip_suffix(b"/").unwrap_or(raw)
}

fn is_normal(text: &[u8]) -> bool {
    let is_bad_start = |rest: &[u8]| {
        let end = memchr::memchr(b'/', rest).unwrap_or(rest.len().min(3));
        matches!(&rest[..end], b"" | b"." | b"..")
    };
    text.is_empty()
        || (!is_bad_start(text)
            && memchr::memchr_iter(b'/', text).all(|slash| !is_bad_start(&text[slash + 1..])))
}

/// Splits a normalised path into its directory and its name.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Lists the directories above a normalised path, the root left out.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    memchr::memchr_iter(b'/', path.as_bytes()).map(|slash| &path[..slash])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_brought_into_one_form() {
        for (raw, normal) in [
            ("", ""),
            (".", ""),
            ("/", ""),
            ("./", ""),
            ("..", ""),
            ("a", "a"),
            ("./a/b/", "a/b"),
            ("/a//b/./c", "a/b/c"),
            ("a/../../../etc/passwd", "etc/passwd"),
            ("../../var/lib/dpkg/status", "var/lib/dpkg/status"),
            (".a/..b/c.", ".a/..b/c."),
            ("a/..", ""),
            (".wh.a", ".wh.a"),
            ("./.wh..wh..opq", ".wh..wh..opq"),
        ] {
            assert_eq!(normalise(raw.as_bytes()).unwrap(), normal, "{raw:?}");
        }
        assert_eq!(normalise(b"a\0b"), None);
        assert_eq!(normalise(b"a/\xff").unwrap(), "a/\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_root_and_normal_ones_stay(raw in "[a./]{0,12}") {
            let normal = normalise(raw.as_bytes()).unwrap().into_owned();
            for component in normal.split('/').filter(|_| !normal.is_empty()) {
                prop_assert!(!["", ".", ".."].contains(&component), "{:?} of {:?}", normal, raw);
            }
            prop_assert_eq!(normalise(normal.as_bytes()).unwrap(), normal.as_str());
        }

        #[test]
        fn any_bytes_are_normalised_or_refused(raw: Vec<u8>) {
            prop_assert_eq!(normalise(&raw).is_none(), raw.contains(&0));
        }
    }
}
