use std::{fmt, str::FromStr};

use crate::{Digest, DigestError, NameError, RepositoryName, Tag};

/// Names an image in a registry: `[registry/]repository[:tag][@digest]`.
///
/// A missing registry means Docker Hub and a missing version the tag `latest`, as in every container tool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: RepositoryName,
    version: Version,
}

/// Which of a repository's images is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    /// The image that a tag points to now.
    Tag(Tag),
    /// The one image with this manifest digest.
    Digest(Digest),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Reference {
    /// Names an image of a registry, given as `host` or `host:port`.
    pub fn new(registry: impl Into<String>, repository: RepositoryName, version: Version) -> Self {
        Self {
            registry: registry.into(),
            repository,
            version,
        }
    }

    /// Returns the registry as `host` or `host:port`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository's name.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// Returns the tag or digest; the digest where the text had both.
    pub fn version(&self) -> &Version {
        &self.version
    }
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The registry is not a host with an optional port.
    #[error("the registry is not a host name with an optional port")]
    Registry,
    /// The repository's name or the tag does not follow the grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The digest is malformed.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        // A colon behind the last slash starts a tag; one before it belongs to the registry's port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse::<Tag>()?)),
            _ => (name, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest.to_owned())
            }
            Some(_) => (DOCKER_HUB, name.to_owned()),
            // Docker Hub's official images live below `library`.
            None => (DOCKER_HUB, format!("library/{name}")),
        };
        if !is_host_with_optional_port(registry) {
            return Err(ReferenceError::Registry);
        }
        let version = match (digest, tag) {
            (Some(digest), _) => Version::Digest(digest),
            (None, Some(tag)) => Version::Tag(tag),
            (None, None) => Version::Tag("latest".parse()?),
        };
        Ok(Self::new(registry, repository.parse()?, version))
    }
}

const DOCKER_HUB: &str = "docker.io";

fn is_host_with_optional_port(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "443"));
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.version {
            Version::Tag(_) => ':',
            Version::Digest(_) => '@',
        };
        write!(
            f,
            "{}/{}{separator}{}",
            self.registry, self.repository, self.version
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fills_in_what_container_tools_fill_in() {
        let digest = Digest::of(b"x");
        for (text, full) in [
            ("alpine", "docker.io/library/alpine:latest".to_owned()),
            ("shop/web", "docker.io/shop/web:latest".to_owned()),
            ("localhost/web:1", "localhost/web:1".to_owned()),
            ("localhost:5000/web", "localhost:5000/web:latest".to_owned()),
            ("r.example/a/b:1.2", "r.example/a/b:1.2".to_owned()),
            (
                &format!("r.example/a:1@{digest}"),
                format!("r.example/a@{digest}"),
            ),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), full);
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, error) in [
            ("", ReferenceError::Name(NameError::Repository)),
            ("r.example/", ReferenceError::Name(NameError::Repository)),
            ("r.example/A", ReferenceError::Name(NameError::Repository)),
            ("r.example/a:", ReferenceError::Name(NameError::Tag)),
            (
                "r.example/a@sha256:1",
                ReferenceError::Digest(DigestError::Encoding),
            ),
            ("r.example:99999/a", ReferenceError::Registry),
            ("r.example:/a", ReferenceError::Registry),
            ("user@r.example/a", ReferenceError::Digest(DigestError::Algorithm)),
            ("r..example/a", ReferenceError::Registry),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn display_is_parsed_to_the_same(text in "[a-z.:/@0-9]{1,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
        }
    }
}
