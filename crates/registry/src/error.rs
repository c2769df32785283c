use std::{error::Error, fmt, io, str::FromStr, time::Duration};

use portwarden_oci::{Digest, ManifestError};

use crate::{ArchiveError, LayoutError};

/// Why a manifest or blob cannot be had.
///
/// No variant holds a secret, a URL's path or a URL's query, so all of them may be shown and logged.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The repository, manifest or blob is unknown to its source.
    #[error("{subject} does not exist")]
    NotFound {
        /// What was asked for.
        subject: String,
    },
    /// The registry does not accept the credentials, or wants some and has got none.
    #[error("{host} does not accept the credentials")]
    Unauthorized {
        /// Who said so.
        host: String,
        /// The registry's own word for it.
        code: Option<ErrorCode>,
    },
    /// The credentials are good, and do not permit this.
    #[error("{host} denies access to {subject}")]
    Denied {
        /// Who said so.
        host: String,
        /// What was asked for.
        subject: String,
        /// The registry's own word for it.
        code: Option<ErrorCode>,
    },
    /// The registry wants fewer requests, and went on wanting it while we waited.
    #[error("{host} is throttling requests")]
    Throttled {
        /// Who said so.
        host: String,
        /// How long the registry wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The registry is failing or cannot be reached, and went on so while we tried.
    #[error("{host} is unavailable")]
    Unavailable {
        /// Who is unavailable.
        host: String,
        /// What was seen last.
        source: Outage,
    },
    /// A host is not dialled, because the rules forbid it.
    #[error("{host} is not dialled: {why}")]
    Refused {
        /// The host, without path and query.
        host: String,
        /// Which rule forbids it.
        why: Refusal,
    },
    /// A manifest is not the one that was asked for.
    #[error("the manifest has the digest {actual} instead of {expected}")]
    DigestMismatch {
        /// The digest that was asked for, or that the registry claims.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// A manifest is larger than the limit.
    #[error("the manifest is larger than {limit} bytes")]
    TooLarge {
        /// The greatest size in bytes.
        limit: usize,
    },
    /// A manifest cannot be used.
    #[error(transparent)]
    Malformed(#[from] ManifestError),
    /// A layer may not be distributed by registries, and is never fetched from elsewhere.
    #[error("the layer {0} is foreign: it is kept outside the registry and is not fetched")]
    ForeignLayer(Digest),
    /// An answer does not follow the distribution protocol.
    #[error("{host} does not follow the distribution protocol: {what}")]
    Protocol {
        /// Who answered.
        host: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// The registry's name is not a host.
    #[error("{0:?} is not a host name with an optional port")]
    Host(String),
    /// An image layout on disk cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An archive of images cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl RegistryError {
    /// Tells whether the same request may go well a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unavailable { .. })
    }

    /// Returns how long the registry wants to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. }
            | Self::Unavailable {
                source: Outage::Status { retry_after, .. },
                ..
            } => *retry_after,
            _ => None,
        }
    }

    /// Classifies why a request to `host` got no answer.
    pub(crate) fn unreachable(host: &str, error: reqwest::Error) -> Self {
        // Signed URLs carry secrets in their query, and reqwest's errors carry the URL.
        let error = error.without_url();
        let host = host.to_owned();
        if is_refusal(&error) {
            return Self::Refused {
                host,
                why: Refusal::InternalAddress,
            };
        }
        Self::Unavailable {
            host,
            source: Outage::Connection(Box::new(error)),
        }
    }
}

/// Tells whether the dialling rules are the cause, however deep.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<Refusal>() {
            return true;
        }
        // An io::Error passes over its inner error when it is asked for its source.
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    false
}

/// What was seen of a host that is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    /// It answered with a server error.
    #[error("it answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The connection failed, broke off or timed out.
    #[error("the connection failed")]
    Connection(#[source] Box<dyn Error + Send + Sync>),
}

/// The rule that forbids to dial a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The URL has another scheme, such as `http` or `file`.
    #[error("only HTTPS is allowed")]
    NotHttps,
    /// The host is, or resolves to, a loopback, private, link-local or otherwise internal address.
    #[error("it is at an internal address")]
    InternalAddress,
    /// The host is none that the registry may send us to.
    #[error("the registry may not send us to this host")]
    HostNotAllowed,
    /// The URL carries a user name or a password.
    #[error("its URL carries credentials")]
    CredentialsInUrl,
    /// One redirect follows the other.
    #[error("there are too many redirects")]
    TooManyRedirects,
    /// A redirect has no target that can be understood.
    #[error("the redirect has no valid target")]
    NoTarget,
}

/// A registry's own word for an error, such as `MANIFEST_UNKNOWN`.
///
/// The rest of a registry's error message is text of a stranger and is not kept.
/// Source: the distribution specification, "Error codes".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorCode(String);

impl ErrorCode {
    /// Finds the first error's code in an answer's body.
    pub(crate) fn find(body: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Body {
            errors: Vec<Item>,
        }
        #[derive(serde::Deserialize)]
        struct Item {
            code: String,
        }
        let body: Body = serde_json::from_slice(body).ok()?;
        body.errors.first()?.code.parse().ok()
    }
}

impl FromStr for ErrorCode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(is_word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(())
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
