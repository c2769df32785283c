//! Where the template lies for anybody to read: which buckets, under which keys, and the rights that publishing takes.

use std::{fmt, str::FromStr};

use async_trait::async_trait;

use crate::id::Region;

/// A bucket that anybody may read templates from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateBucket {
    name: String,
    region: Region,
}

/// A text is not a bucket's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bucket has a name of 3 to 63 lower-case letters, digits and hyphens")]
pub struct BucketNameError;

/// The version of a published template: a number from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateVersion(String);

/// A text is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is a number from 1, of up to 9 digits")]
pub struct TemplateVersionError;

/// Which of the published templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edition {
    /// The one that links lead to.
    Latest,
    /// One that is never changed.
    Version(TemplateVersion),
}

/// The name of a published object; all lie below one prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateKey(String);

const PREFIX: &str = "public-templates/";

const FILE: &str = "ecr-integration.template";

impl TemplateBucket {
    /// Names a bucket. Names with periods are refused, since no certificate covers their host names.
    pub fn new(name: &str, region: Region) -> Result<Self, BucketNameError> {
        let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_valid = (3..=63).contains(&name.len())
            && name.bytes().all(is_inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if is_valid {
            let name = name.to_owned();
            Ok(Self { name, region })
        } else {
            Err(BucketNameError)
        }
    }

    /// Names the bucket of one region among those that share a prefix, `<prefix>-<region>`.
    pub fn regional(prefix: &str, region: &Region) -> Result<Self, BucketNameError> {
        Self::new(&format!("{prefix}-{region}"), region.clone())
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the region.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Returns the address of a template, as CloudFormation and people take it.
    pub fn url(&self, edition: &Edition) -> String {
        let Self { name, region } = self;
        let suffix = match region.partition() {
            "aws-cn" => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        format!(
            "https://{name}.s3.{region}.{suffix}/{}",
            TemplateKey::template(edition)
        )
    }
}

impl fmt::Display for TemplateBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.name, self.region)
    }
}

impl FromStr for TemplateVersion {
    type Err = TemplateVersionError;

    fn from_str(text: &str) -> Result<Self, TemplateVersionError> {
        let is_valid = (1..=9).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && !text.starts_with('0');
        if is_valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(TemplateVersionError)
        }
    }
}

impl fmt::Display for TemplateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Version(version) => version.fmt(f),
        }
    }
}

impl TemplateKey {
    /// Names a template.
    pub fn template(edition: &Edition) -> Self {
        Self(format!("{PREFIX}{edition}/{FILE}"))
    }

    /// Names the SHA-256 beside a template, as `sha256sum --check` reads it.
    pub fn checksum(edition: &Edition) -> Self {
        Self(format!("{PREFIX}{edition}/{FILE}.sha256"))
    }

    /// Returns what the names of all published objects start with.
    pub fn prefix() -> &'static str {
        PREFIX
    }

    /// Takes the name of an object that was found; `None` if it is not one of ours.
    pub fn found(name: &str) -> Option<Self> {
        name.starts_with(PREFIX).then(|| Self(name.to_owned()))
    }
}

impl fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads, writes and removes published templates.
#[async_trait]
pub trait TemplateBuckets: Send + Sync {
    /// Returns an object's content, if it is there.
    async fn read(&self, bucket: &TemplateBucket, key: &TemplateKey) -> Result<Option<Vec<u8>>, BucketError>;

    /// Writes an object unless there is one, and tells whether it did.
    async fn create(
        &self,
        bucket: &TemplateBucket,
        key: &TemplateKey,
        content: &[u8],
    ) -> Result<bool, BucketError>;

    /// Writes an object in the place of the one that may be there.
    async fn replace(
        &self,
        bucket: &TemplateBucket,
        key: &TemplateKey,
        content: &[u8],
    ) -> Result<(), BucketError>;

    /// Removes an object, which need not be there.
    async fn remove(&self, bucket: &TemplateBucket, key: &TemplateKey) -> Result<(), BucketError>;

    /// Lists all published objects.
    async fn list(&self, bucket: &TemplateBucket) -> Result<Vec<TemplateKey>, BucketError>;
}

/// Why a bucket did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// It is not there.
    #[error("there is no bucket {0}")]
    Missing(TemplateBucket),
    /// We may not do this in it.
    #[error("access to bucket {0} is denied")]
    Denied(TemplateBucket, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not answer, or failed.
    #[error("bucket {0} is unavailable")]
    Unavailable(TemplateBucket, #[source] Box<dyn std::error::Error + Send + Sync>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_names_that_a_certificate_covers() {
        let region: Region = "eu-west-1".parse().unwrap();
        let longest = "a".repeat(63);
        for name in ["abc", "portwarden-templates-111122223333-eu-west-1", &longest] {
            assert!(TemplateBucket::new(name, region.clone()).is_ok(), "{name}");
        }
        let longer = "a".repeat(64);
        for name in [
            "", "ab", "a.b.c", "-abc", "abc-", "Abc", "a/../b", "a?b", "a\nb", &longer,
        ] {
            assert_eq!(
                TemplateBucket::new(name, region.clone()),
                Err(BucketNameError),
                "{name:?}"
            );
        }
    }

    #[test]
    fn addresses_are_those_of_the_partition() {
        let version = Edition::Version("2".parse().unwrap());
        let url = |region: &str, edition: &Edition| {
            TemplateBucket::regional("acme", &region.parse().unwrap())
                .unwrap()
                .url(edition)
        };
        assert_eq!(
            url("us-east-1", &Edition::Latest),
            "https://acme-us-east-1.s3.us-east-1.amazonaws.com/public-templates/latest/ecr-integration.template"
        );
        assert_eq!(
            url("cn-north-1", &version),
            "https://acme-cn-north-1.s3.cn-north-1.amazonaws.com.cn/public-templates/2/ecr-integration.template"
        );
    }

    #[test]
    fn versions_are_numbers_and_never_another_path() {
        assert_eq!("12".parse::<TemplateVersion>().unwrap().to_string(), "12");
        for text in ["", "0", "01", "1.0", "-1", "latest", "../1", "1234567890", "１"] {
            assert_eq!(
                text.parse::<TemplateVersion>(),
                Err(TemplateVersionError),
                "{text:?}"
            );
        }
        assert_eq!(TemplateKey::found("other/x"), None);
    }
}
