//! What is asked of Amazon ECR's own API; manifests and layers come through the registry API.

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName, Tag};
use secrecy::SecretString;

use crate::{
    id::{AccountId, Region},
    session::Session,
};

/// Which registry: each account has one in each region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryId {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
}

impl RegistryId {
    /// Returns the registry's host name on AWS.
    pub fn host(&self) -> String {
        let suffix = if self.region.partition() == "aws-cn" {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        format!("{}.dkr.ecr.{}.{suffix}", self.account, self.region)
    }
}

impl fmt::Display for RegistryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

/// What ECR says of an image now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcrImage {
    /// The tags that point to it.
    pub tags: BTreeSet<Tag>,
    /// When it was pushed.
    pub pushed_at: Option<Timestamp>,
    /// Its compressed size in bytes, where ECR says one.
    pub size: Option<u64>,
    /// Whether it is archived, so that its layers cannot be read.
    pub archived: bool,
}

/// What signs in to a registry.
#[derive(Clone)]
pub struct RegistryLogin {
    /// The user name, `AWS`.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLogin")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Asks ECR about one image.
#[async_trait]
pub trait DescribeImage: Send + Sync {
    /// Returns what ECR says of the image, or `None` if it, or its repository, is not there.
    async fn describe_image(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<EcrImage>, EcrError>;

    /// Signs in to the registry; the password is valid for twelve hours at most and for no longer than the session.
    async fn login(&self, session: &Session, registry: &RegistryId) -> Result<RegistryLogin, EcrError>;
}

/// Lists what a registry holds, page by page.
#[async_trait]
pub trait ListRegistry: Send + Sync {
    /// Returns a page of the names of all repositories.
    async fn list_repositories(
        &self,
        session: &Session,
        registry: &RegistryId,
        next: Option<&PageToken>,
    ) -> Result<Listing<RepositoryName>, EcrError>;

    /// Returns a page of what ECR says of a repository's images, in no order, or `None` if the repository is not there.
    async fn list_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        next: Option<&PageToken>,
    ) -> Result<Option<Listing<(Digest, EcrImage)>>, EcrError>;
}

/// A page of a listing of ECR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What asks for the next page, if there is one: an empty page need not be the last.
    pub next: Option<PageToken>,
}

/// What asks ECR for the next page; only ECR knows what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken(pub String);

/// Tries each action that a role needs, for the verifier; nothing of what is read is kept.
#[async_trait]
pub trait ProbeEcr: Send + Sync {
    /// Returns the names of some repositories.
    async fn describe_repositories(
        &self,
        session: &Session,
        registry: &RegistryId,
    ) -> Result<Vec<RepositoryName>, EcrError>;

    /// Returns the digests of some images, described.
    async fn describe_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError>;

    /// Returns the digests of some images, listed.
    async fn list_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError>;

    /// Returns a manifest.
    async fn batch_get_image(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, EcrError>;

    /// Asks where a layer may be read.
    async fn get_download_url_for_layer(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        layer: &Digest,
    ) -> Result<(), EcrError>;

    /// Asks whether a layer may be read.
    async fn batch_check_layer_availability(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        layer: &Digest,
    ) -> Result<(), EcrError>;

    /// Signs in to the registry and drops what it gets.
    async fn get_authorization_token(&self, session: &Session, registry: &RegistryId)
    -> Result<(), EcrError>;
}

/// Why ECR did not answer.
#[derive(Debug, thiserror::Error)]
pub enum EcrError {
    /// The role may not do this.
    #[error("the role may not call {action}")]
    Denied {
        /// The action, such as `ecr:DescribeImages`.
        action: &'static str,
        /// What ECR said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key that encrypts the repository is closed to the role.
    #[error("the key of the repository is closed to the role")]
    KeyClosed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The session has ended or was revoked.
    #[error("the session has expired")]
    Expired,
    /// ECR is asked too much; these calls count against the tenant's quota.
    #[error("ECR is throttled")]
    Throttled,
    /// ECR cannot be reached, or failed.
    #[error("ECR is unreachable")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
