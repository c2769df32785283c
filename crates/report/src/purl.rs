//! Package URLs that stand for more than one package.

use std::{collections::HashMap, str::FromStr as _};

use packageurl::PackageUrl;

use crate::{PlatformReport, Report};

/// A package URL that names packages: what it leaves out may be anything.
///
/// Source: the reference implementation of `OpenVEX`, as its specification names no rule: type, namespace and name are
/// equal, and so are a version and qualifiers, where the pattern has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PurlPattern(PackageUrl<'static>);

impl PurlPattern {
    /// Reads a package URL; nothing if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        PackageUrl::from_str(text).ok().map(Self)
    }

    /// Tells whether a package is one of those that are meant.
    pub(crate) fn matches(&self, purl: &str) -> bool {
        let Self(pattern) = self;
        let Ok(purl) = PackageUrl::from_str(purl) else {
            return false;
        };
        let is_same =
            (pattern.ty(), pattern.namespace(), pattern.name()) == (purl.ty(), purl.namespace(), purl.name());
        is_same
            && pattern
                .version()
                .is_none_or(|version| purl.version() == Some(version))
            && self
                .qualifiers()
                .all(|(key, value)| purl.qualifiers().get(key).is_some_and(|own| own == value))
    }

    /// Tells whether an image is meant, or the platform's image of an index.
    ///
    /// Source: the package-url specification, type `oci`: the name is the last part of the repository's, the version a
    /// digest, and `repository_url`, `tag` and `arch` say more.
    pub(crate) fn matches_image(&self, report: &Report, platform: &PlatformReport) -> bool {
        let Self(pattern) = self;
        let repository = &report.image.repository;
        let name = repository.rsplit('/').next().unwrap_or_default();
        let digests = [report.image.digest, platform.digest].map(|digest| digest.to_string());
        let is_qualified = |key: &str, value: &str| match key {
            "repository_url" => repository.eq_ignore_ascii_case(value.trim_end_matches('/')),
            "tag" => report.image.tags.iter().any(|tag| tag.to_string() == value),
            "arch" => platform
                .platform
                .as_ref()
                .is_some_and(|platform| platform.architecture == value),
            _ => false,
        };
        pattern.ty() == "oci"
            && pattern.name().eq_ignore_ascii_case(name)
            && pattern
                .version()
                .is_none_or(|version| digests.iter().any(|digest| digest == version))
            && self.qualifiers().all(|(key, value)| is_qualified(key, value))
    }

    fn qualifiers(&self) -> impl Iterator<Item = (&str, &str)> {
        let qualifiers: &HashMap<_, _> = self.0.qualifiers();
        qualifiers.iter().map(|(key, value)| (&**key, &**value))
    }
}

/// Names a package whatever its version: type, namespace and name; the text itself if it is no package URL.
pub(crate) fn versionless(purl: &str) -> String {
    match PackageUrl::from_str(purl) {
        Ok(mut parsed) => {
            parsed.without_version().clear_qualifiers().without_subpath();
            parsed.to_string()
        }
        Err(_) => purl.to_owned(),
    }
}

/// Takes a package URL apart for people: name and version.
pub(crate) fn name_and_version(purl: &str) -> (String, Option<String>) {
    match PackageUrl::from_str(purl) {
        Ok(parsed) => {
            let is_distributions = matches!(parsed.ty(), "deb" | "apk" | "rpm");
            let separator = if parsed.ty() == "maven" { ":" } else { "/" };
            let name = match parsed.namespace().filter(|_| !is_distributions) {
                Some(namespace) => format!("{namespace}{separator}{}", parsed.name()),
                None => parsed.name().to_owned(),
            };
            (name, parsed.version().map(str::to_owned))
        }
        Err(_) => (purl.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_leaves_out_may_be_anything() {
        let purl = "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12";
        for (pattern, is_match) in [
            ("pkg:deb/debian/libssl3", true),
            ("pkg:deb/debian/libssl3@3.0.11-1", true),
            ("pkg:deb/debian/libssl3@3.0.11-1?arch=amd64", true),
            ("pkg:deb/debian/libssl3?distro=debian-12&arch=amd64", true),
            ("pkg:deb/debian/libssl3@3.0.11-2", false),
            ("pkg:deb/debian/libssl3?arch=arm64", false),
            ("pkg:deb/debian/libssl3?epoch=1", false),
            ("pkg:deb/ubuntu/libssl3", false),
            ("pkg:deb/libssl3", false),
            ("pkg:rpm/debian/libssl3", false),
        ] {
            assert_eq!(
                PurlPattern::parse(pattern).unwrap().matches(purl),
                is_match,
                "{pattern}"
            );
        }
        assert_eq!(PurlPattern::parse("openssl"), None);
        assert!(!PurlPattern::parse("pkg:npm/a").unwrap().matches("not a purl"));
    }

    #[test]
    fn packages_are_named_for_people_and_without_their_versions() {
        for (purl, name, version, bare) in [
            (
                "pkg:deb/debian/a@1%2B2?arch=x",
                "a",
                Some("1+2"),
                "pkg:deb/debian/a",
            ),
            ("pkg:npm/%40b/c@3", "@b/c", Some("3"), "pkg:npm/%40b/c"),
            ("pkg:maven/g.h/i@4", "g.h:i", Some("4"), "pkg:maven/g.h/i"),
            ("odd", "odd", None, "odd"),
        ] {
            assert_eq!(
                name_and_version(purl),
                (name.to_owned(), version.map(str::to_owned)),
                "{purl}"
            );
            assert_eq!(versionless(purl), bare);
        }
    }
}
