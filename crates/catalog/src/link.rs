//! Symbolic links on the way to what exists once in an image.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    cataloguer::{homes, wanted_by},
    dpkg,
    path::{ancestors, normalise, split},
};

/// Tells whether a symbolic link is kept: it is on the way to a place where something is looked for, or near the root,
/// where merged directories are linked (`bin`, `lib64`, `usr/sbin`), or it lends a package another one's licences.
pub(crate) fn is_kept(path: &str) -> bool {
    let is_on_the_way = |home: &str| {
        home.strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    ancestors(path).count() < 2 || homes().any(is_on_the_way) || dpkg::is_doc_folder(path)
}

/// Tells whether a file that exists once in an image is not in its place.
pub(crate) fn is_stray(path: &str) -> bool {
    let is_at = |home: &str| {
        path.strip_prefix(home)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    wanted_by(path).is_some_and(|cataloguer| {
        let homes = cataloguer.homes();
        !homes.is_empty() && !homes.iter().copied().any(is_at)
    })
}

/// Returns where a link leads, from the root; nothing if that is no path.
pub(crate) fn target(path: &str, written: &[u8]) -> Option<String> {
    let (folder, _) = split(path);
    let from_root = match written {
        [b'/', ..] => written.to_owned(),
        relative => [folder.as_bytes(), b"/", relative].concat(),
    };
    Some(normalise(&from_root)?.into_owned())
}

/// The links of an image.
pub(crate) struct Links<'a>(HashMap<&'a str, &'a str>);

impl<'a> Links<'a> {
    pub(crate) fn new(links: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(links.into_iter().collect())
    }

    /// Returns the path that a path leads to. One that goes in circles leads nowhere in particular.
    pub(crate) fn resolve<'p>(&self, path: &'p str) -> Cow<'p, str> {
        self.hops(path)
            .last()
            .map_or(Cow::Borrowed(path), |(_, next)| Cow::Owned(next))
    }

    /// Returns the last link that is followed on the way that a path leads, if there is any.
    pub(crate) fn last_on_the_way(&self, path: &str) -> Option<String> {
        self.hops(path).last().map(|(link, _)| link)
    }

    /// Follows link after link: each with the path that is left to be resolved.
    fn hops(&self, path: &str) -> impl Iterator<Item = (String, String)> {
        std::iter::successors(self.hop(path), |(_, path)| self.hop(path)).take(MAX_HOPS)
    }

    /// Follows the first link on the way.
    fn hop(&self, path: &str) -> Option<(String, String)> {
        if self.0.is_empty() {
            return None;
        }
        ancestors(path).chain([path]).find_map(|link| {
            let target = self.0.get(link)?;
            let rest = &path[link.len()..];
            let next = match *target {
                "" => rest.trim_start_matches('/').to_owned(),
                target => format!("{target}{rest}"),
            };
            Some((link.to_owned(), next))
        })
    }
}

/// As many as Linux follows.
const MAX_HOPS: usize = 40;

/// The places where something is looked for, as an image's links have moved them.
pub(crate) struct Homes(Vec<(String, &'static str)>);

impl Homes {
    pub(crate) fn new(links: &Links<'_>) -> Self {
        Self(
            homes()
                .map(|home| (links.resolve(home).into_owned(), home))
                .collect(),
        )
    }

    /// Lists the paths by which a file is looked for, given where it lies.
    pub(crate) fn names_of<'p>(&'p self, path: &'p str) -> impl Iterator<Item = Cow<'p, str>> {
        self.0.iter().filter_map(move |(moved, home)| {
            let rest = path.strip_prefix(moved.as_str())?;
            // A place that is a file has nothing below it.
            let is_file = || wanted_by(home).is_some();
            (rest.is_empty() || rest.starts_with('/') && !is_file()).then(|| {
                if moved == home {
                    Cow::Borrowed(path)
                } else {
                    Cow::Owned(format!("{home}{rest}"))
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn links_on_the_way_to_a_database_are_kept() {
        for path in [
            "lib",
            "usr/lib64",
            "var/lib",
            "var/lib/dpkg",
            "var/lib/dpkg/status",
            "usr/share/doc/libgcc-s1",
        ] {
            assert!(is_kept(path), "{path}");
        }
        for path in ["usr/bin/sh", "var/lib/dpk", "var/lib/dpkg/info/a.list"] {
            assert!(!is_kept(path), "{path}");
        }
    }

    #[test]
    fn targets_are_relative_to_the_links_folder_or_to_the_root() {
        for (path, written, expected) in [
            ("etc/os-release", "../usr/lib/os-release", "usr/lib/os-release"),
            ("lib", "usr/lib", "usr/lib"),
            ("var/lib/rpm", "/usr/share/rpm/", "usr/share/rpm"),
            ("a/b", "../../../x", "x"),
            ("a", "/", ""),
        ] {
            assert_eq!(target(path, written.as_bytes()).unwrap(), expected);
        }
        assert_eq!(target("a", b"b\0"), None);
    }

    #[test]
    fn paths_are_resolved_through_several_links() {
        let links = Links::new([("lib", "usr/lib"), ("usr/lib/x", "y"), ("y/z", ""), ("o", "o")]);
        for (path, expected) in [
            ("lib/a", "usr/lib/a"),
            ("lib/x/b", "y/b"),
            ("lib/x/z/b", "b"),
            ("libx", "libx"),
            ("o", "o"),
        ] {
            assert_eq!(links.resolve(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn resolving_ends(links in prop::collection::vec(("[ab](/[ab]){0,2}", "[ab](/[ab]){0,2}"), 0..5), path in "[ab](/[ab]){0,3}") {
            let links = Links::new(links.iter().map(|(path, target)| (path.as_str(), target.as_str())));
            links.resolve(&path);
        }
    }
}
