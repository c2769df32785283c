use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use aws_sdk_ecr::{
    Client,
    config::{Builder, IdentityCache, Region as SdkRegion},
    error::{ProvideErrorMetadata, SdkError},
    types::{ImageDetail, ImageFailureCode, ImageIdentifier, ImageStatus},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use portwarden_core::{
    ecr::{
        DescribeImage, EcrError, EcrImage, ListRegistry, Listing, PageToken, ProbeEcr, RegistryId,
        RegistryLogin,
    },
    receipt::CallCounter,
    session::Session,
};
use portwarden_oci::{Digest, RepositoryName};
use secrecy::SecretString;

use crate::{
    Aws,
    config::counted,
    failure::{Failure, Kind},
};

/// Amazon ECR's API, in the region and with the session of each call.
#[derive(Debug, Clone)]
pub struct Ecr {
    pub(crate) client: Client,
    calls: Arc<CallCounter>,
}

/// How many things a probe lists: one is enough to know that it may, some more to find one that is not empty.
const PROBED: i32 = 10;

/// How many things a page of a listing has: the most that ECR gives.
///
/// Source: Amazon ECR API reference, `DescribeRepositories` and `DescribeImages`.
const PAGE: i32 = 1000;

impl Ecr {
    /// Makes the one client of the process; its own region and credentials are never used.
    pub fn new(aws: &Aws) -> Self {
        Self {
            client: Client::new(&aws.sdk),
            calls: aws.calls(),
        }
    }

    /// Signs one call with a session; the client and its connections stay the same, and no session is kept for the next.
    pub(crate) fn caller(&self, session: &Session, registry: &RegistryId) -> Builder {
        Builder::new()
            .region(SdkRegion::new(registry.region.as_str().to_owned()))
            .credentials_provider(counted(session, &self.calls))
            .identity_cache(IdentityCache::no_cache())
    }
}

#[async_trait]
impl DescribeImage for Ecr {
    async fn describe_image(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<EcrImage>, EcrError> {
        let answer = self
            .client
            .describe_images()
            .registry_id(registry.account.as_str())
            .repository_name(repository.as_str())
            .image_ids(image_id(digest))
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        let answer = found("ecr:DescribeImages", answer)?;
        let details = answer.and_then(|answer| answer.image_details).unwrap_or_default();
        Ok(details.first().map(image))
    }

    async fn login(&self, session: &Session, registry: &RegistryId) -> Result<RegistryLogin, EcrError> {
        const ACTION: &str = "ecr:GetAuthorizationToken";
        let answer = self
            .client
            .get_authorization_token()
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        let answer = answer.map_err(|error| ecr_error(ACTION, Failure::of(ACTION, &error)))?;
        answer
            .authorization_data()
            .first()
            .and_then(|data| data.authorization_token())
            .and_then(registry_login)
            .ok_or_else(|| {
                let failure = Failure::unreachable(ACTION, "the answer has no user name and password");
                EcrError::Unreachable(failure.into())
            })
    }
}

#[async_trait]
impl ListRegistry for Ecr {
    async fn list_repositories(
        &self,
        session: &Session,
        registry: &RegistryId,
        next: Option<&PageToken>,
    ) -> Result<Listing<RepositoryName>, EcrError> {
        const ACTION: &str = "ecr:DescribeRepositories";
        let answer = self
            .client
            .describe_repositories()
            .registry_id(registry.account.as_str())
            .max_results(PAGE)
            .set_next_token(next.map(|token| token.0.clone()))
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        let answer = answer.map_err(|error| ecr_error(ACTION, Failure::of(ACTION, &error)))?;
        let names = answer.repositories.unwrap_or_default().into_iter();
        Ok(Listing {
            items: names
                .filter_map(|repository| repository.repository_name?.parse().ok())
                .collect(),
            next: answer.next_token.map(PageToken),
        })
    }

    async fn list_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        next: Option<&PageToken>,
    ) -> Result<Option<Listing<(Digest, EcrImage)>>, EcrError> {
        const ACTION: &str = "ecr:DescribeImages";
        let answer = self
            .client
            .describe_images()
            .registry_id(registry.account.as_str())
            .repository_name(repository.as_str())
            .max_results(PAGE)
            .set_next_token(next.map(|token| token.0.clone()))
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        let Some(answer) = found(ACTION, answer)? else {
            return Ok(None);
        };
        let details = answer.image_details.unwrap_or_default();
        let items = details
            .iter()
            .filter_map(|detail| Some((detail.image_digest()?.parse().ok()?, image(detail))));
        Ok(Some(Listing {
            items: items.collect(),
            next: answer.next_token.map(PageToken),
        }))
    }
}

#[async_trait]
impl ProbeEcr for Ecr {
    async fn describe_repositories(
        &self,
        session: &Session,
        registry: &RegistryId,
    ) -> Result<Vec<RepositoryName>, EcrError> {
        let answer = self
            .client
            .describe_repositories()
            .registry_id(registry.account.as_str())
            .max_results(PROBED)
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        let repositories = found("ecr:DescribeRepositories", answer)?.and_then(|answer| answer.repositories);
        let names = repositories
            .unwrap_or_default()
            .into_iter()
            .filter_map(|repository| repository.repository_name?.parse().ok());
        Ok(names.collect())
    }

    async fn describe_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        let answer = self
            .client
            .describe_images()
            .registry_id(registry.account.as_str())
            .repository_name(repository.as_str())
            .max_results(PROBED)
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        let images = found("ecr:DescribeImages", answer)?.and_then(|answer| answer.image_details);
        let digests = images
            .unwrap_or_default()
            .into_iter()
            .filter_map(|image| image.image_digest?.parse().ok());
        Ok(digests.collect())
    }

    async fn list_images(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
    ) -> Result<Vec<Digest>, EcrError> {
        let answer = self
            .client
            .list_images()
            .registry_id(registry.account.as_str())
            .repository_name(repository.as_str())
            .max_results(PROBED)
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        let images = found("ecr:ListImages", answer)?.and_then(|answer| answer.image_ids);
        let digests = images
            .unwrap_or_default()
            .into_iter()
            .filter_map(|image| image.image_digest?.parse().ok());
        Ok(digests.collect())
    }

    async fn batch_get_image(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, EcrError> {
        const ACTION: &str = "ecr:BatchGetImage";
        let answer = self
            .client
            .batch_get_image()
            .registry_id(registry.account.as_str())
            .repository_name(repository.as_str())
            .image_ids(image_id(digest))
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        let Some(answer) = found(ACTION, answer)? else {
            return Ok(None);
        };
        if let Some(image) = answer.images().first() {
            return Ok(image.image_manifest().map(|text| text.as_bytes().to_vec()));
        }
        // A missing image is no error of the call but a failure inside of its answer.
        match answer.failures().first() {
            None => Ok(None),
            Some(failure) if failure.failure_code() == Some(&ImageFailureCode::ImageNotFound) => Ok(None),
            Some(failure) => {
                let code = failure.failure_code().map_or("no code", ImageFailureCode::as_str);
                let reason = format!("{code}: {}", failure.failure_reason().unwrap_or("no reason"));
                Err(EcrError::Unreachable(
                    Failure::unreachable(ACTION, &reason).into(),
                ))
            }
        }
    }

    async fn get_download_url_for_layer(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        layer: &Digest,
    ) -> Result<(), EcrError> {
        let answer = self
            .client
            .get_download_url_for_layer()
            .registry_id(registry.account.as_str())
            .repository_name(repository.as_str())
            .layer_digest(layer.to_string())
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        found("ecr:GetDownloadUrlForLayer", answer).map(drop)
    }

    async fn batch_check_layer_availability(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        layer: &Digest,
    ) -> Result<(), EcrError> {
        let answer = self
            .client
            .batch_check_layer_availability()
            .registry_id(registry.account.as_str())
            .repository_name(repository.as_str())
            .layer_digests(layer.to_string())
            .customize()
            .config_override(self.caller(session, registry))
            .send()
            .await;
        found("ecr:BatchCheckLayerAvailability", answer).map(drop)
    }

    async fn get_authorization_token(
        &self,
        session: &Session,
        registry: &RegistryId,
    ) -> Result<(), EcrError> {
        self.login(session, registry).await.map(drop)
    }
}

pub(crate) fn image_id(digest: &Digest) -> ImageIdentifier {
    ImageIdentifier::builder()
        .image_digest(digest.to_string())
        .build()
}

/// Takes an answer; `None` where ECR says that there is no such thing, which it says only to those who may ask.
fn found<T, E>(action: &'static str, answer: Result<T, SdkError<E>>) -> Result<Option<T>, EcrError>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    const MISSING: [&str; 4] = [
        "RepositoryNotFoundException",
        "ImageNotFoundException",
        "LayersNotFoundException",
        // A layer whose image is gone.
        "LayerInaccessibleException",
    ];
    let failure = match answer {
        Ok(answer) => return Ok(Some(answer)),
        Err(error) => Failure::of(action, &error),
    };
    if MISSING.iter().any(|code| failure.has_code(code)) {
        return Ok(None);
    }
    Err(ecr_error(action, failure))
}

pub(crate) fn ecr_error(action: &'static str, failure: Failure) -> EcrError {
    if failure.has_code("KmsException") {
        return EcrError::KeyClosed(failure.into());
    }
    match failure.kind() {
        Kind::Denied => EcrError::Denied {
            action,
            source: failure.into(),
        },
        Kind::Expired => EcrError::Expired,
        Kind::Throttled => EcrError::Throttled,
        Kind::Refused | Kind::Unreachable => EcrError::Unreachable(failure.into()),
    }
}

fn image(detail: &ImageDetail) -> EcrImage {
    let tags = detail.image_tags().iter().filter_map(|tag| tag.parse().ok());
    // Layers can be read again only when a restored image is active.
    let archived = matches!(
        detail.image_status(),
        Some(ImageStatus::Archived | ImageStatus::Activating)
    );
    EcrImage {
        tags: tags.collect::<BTreeSet<_>>(),
        pushed_at: detail
            .image_pushed_at()
            .and_then(|time| Timestamp::from_second(time.secs()).ok()),
        size: detail
            .image_size_in_bytes()
            .and_then(|size| u64::try_from(size).ok()),
        archived,
    }
}

/// Reads an authorization token: the base64 of a user name, a colon and a password.
fn registry_login(token: &str) -> Option<RegistryLogin> {
    let text = String::from_utf8(BASE64_STANDARD.decode(token).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(RegistryLogin {
        username: username.to_owned(),
        password: SecretString::from(password),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_token_is_a_name_and_a_password() {
        let login = registry_login(&BASE64_STANDARD.encode("AWS:pass:word")).unwrap();
        assert_eq!(
            (login.username.as_str(), login.password.expose_secret()),
            ("AWS", "pass:word")
        );
        for garbled in [
            "",
            "!",
            &BASE64_STANDARD.encode("AWS"),
            &BASE64_STANDARD.encode(b"A:\xff"),
        ] {
            assert!(registry_login(garbled).is_none(), "{garbled:?}");
        }
    }

    #[test]
    fn an_image_is_read_as_ecr_describes_it() {
        let detail = ImageDetail::builder()
            .image_tags("1.4")
            .image_tags("latest")
            .image_size_in_bytes(7)
            .image_pushed_at(aws_sdk_ecr::primitives::DateTime::from_secs(60));
        let expected = EcrImage {
            tags: ["1.4", "latest"].map(|tag| tag.parse().unwrap()).into(),
            pushed_at: Some("1970-01-01T00:01:00Z".parse().unwrap()),
            size: Some(7),
            archived: false,
        };
        assert_eq!(image(&detail.clone().build()), expected);
        for (status, archived) in [("ACTIVE", false), ("ARCHIVED", true), ("ACTIVATING", true)] {
            let detail = detail.clone().image_status(status.into()).build();
            assert_eq!(image(&detail).archived, archived, "{status}");
        }
        let nothing = image(&ImageDetail::builder().build());
        assert_eq!(
            (nothing.tags.len(), nothing.pushed_at, nothing.size),
            (0, None, None)
        );
    }
}
