//! One registry's host: requests to it, with its permits, its tokens and the redirects that it may send.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};
use portwarden_oci::{RepositoryName, Version};
use reqwest::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::{
    AllowedHosts, Credentials, ErrorCode, FetchedManifest, Network, Outage, Refusal, RegistryError,
    access::{Access, Token, authorize},
    dial::{Reach, base_url},
    header,
    retry::{self, Retries, RetryBudget},
};

/// How many requests one registry gets from us at once, downloads included.
const CONCURRENT_REQUESTS: usize = 8;
/// How many redirects are followed for one request; Amazon ECR and Docker Hub need one.
const MAX_REDIRECTS: u32 = 3;
/// How much of an error's body is read, in bytes.
const MAX_ERROR_BODY: usize = 16 * 1024;

/// A registry's host and all that requests to it share.
pub(crate) struct Endpoint {
    network: Network,
    base: Url,
    reach: Reach,
    allowed_hosts: AllowedHosts,
    access: Access,
    permits: Arc<Semaphore>,
    retry_budget: RetryBudget,
}

/// What to ask of a repository.
pub(crate) struct Request<'a> {
    pub(crate) repository: &'a RepositoryName,
    pub(crate) path: String,
    /// What people call it.
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
}

/// A good answer whose body has not been read; it counts as a request until it is dropped.
pub(crate) struct Answer {
    response: Response,
    _permit: OwnedSemaphorePermit,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        header_text(&self.response, name)
    }

    pub(crate) fn host(&self) -> &str {
        self.response.url().authority()
    }

    /// Reads the next piece of the body.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let piece = self.response.chunk().await;
        piece.map_err(|error| RegistryError::unreachable(self.host(), error))
    }
}

fn header_text(response: &Response, name: impl http::header::AsHeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

impl Endpoint {
    pub(crate) fn new(
        network: &Network,
        host: &str,
        credentials: Credentials,
        allowed_hosts: AllowedHosts,
    ) -> Result<Self, RegistryError> {
        // Docker Hub's API lives at another host than its name.
        let dialled = match host {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        };
        let base = base_url(network.scheme_for(dialled), dialled)
            .ok_or_else(|| RegistryError::Host(host.to_owned()))?;
        let reach = network.judge(&base).map_err(|why| refused(&base, why))?;
        Ok(Self {
            network: network.clone(),
            base,
            reach,
            allowed_hosts,
            access: Access::new(credentials),
            permits: Arc::new(Semaphore::new(CONCURRENT_REQUESTS)),
            retry_budget: RetryBudget::new(),
        })
    }

    /// Returns the registry's host, with its port where that is not HTTPS's own.
    pub(crate) fn authority(&self) -> &str {
        self.base.authority()
    }

    pub(crate) fn retries(&self) -> Retries<'_> {
        Retries::new(&*self.network.pacing, &self.retry_budget)
    }

    pub(crate) async fn back_off(&self, failures: u32) {
        retry::back_off(&*self.network.pacing, failures, Duration::ZERO).await;
    }

    pub(crate) async fn fetch_manifest(
        &self,
        request: &Request<'_>,
        version: &Version,
    ) -> Result<FetchedManifest, RegistryError> {
        let answer = self.get(request).await?;
        let content_type = answer.header(CONTENT_TYPE).map(str::to_owned);
        let claimed = answer
            .header("docker-content-digest")
            .and_then(|text| text.parse().ok());
        let host = answer.host().to_owned();
        let Some(bytes) = read_up_to(answer.response, FetchedManifest::MAX_SIZE, &host).await? else {
            return Err(RegistryError::TooLarge {
                limit: FetchedManifest::MAX_SIZE,
            });
        };
        let expected = match version {
            Version::Digest(digest) => Some(*digest),
            Version::Tag(_) => claimed,
        };
        FetchedManifest::verify(bytes, expected, content_type.as_deref())
    }

    /// Sends a request once, following redirects and the registry's wish for a token.
    pub(crate) async fn get(&self, request: &Request<'_>) -> Result<Answer, RegistryError> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let offered = self.access.authorization(request.repository).await;
        let mut response = self.follow(request, offered.as_ref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.is_own(response.url()) {
            let renewed = self
                .access
                .renew(request.repository, response.headers(), offered.as_ref(), self)
                .await?;
            if renewed.is_some() {
                response = self.follow(request, renewed.as_ref()).await?;
            }
        }
        Ok(Answer {
            response: expect_success(response, &request.subject).await?,
            _permit: permit,
        })
    }

    /// Sends a request and follows redirects; the authorization is sent to the registry's own origin only.
    async fn follow(
        &self,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let path = format!("v2/{}/{}", request.repository, request.path);
        let mut url = self
            .base
            .join(&path)
            .map_err(|_| RegistryError::Host(self.base.authority().to_owned()))?;
        let mut authorization = authorization;
        for _ in 0..=MAX_REDIRECTS {
            let builder = self
                .network
                .client
                .get(url.clone())
                .headers(request.headers.clone());
            let response = self.send(authorize(builder, authorization), &url).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let target = header_text(&response, LOCATION).and_then(|text| url.join(text).ok());
            let Some(target) = target else {
                return Err(refused(&url, Refusal::NoTarget));
            };
            self.permit(&target).map_err(|why| refused(&target, why))?;
            if !self.is_own(&target) {
                authorization = None;
            }
            url = target;
        }
        Err(refused(&url, Refusal::TooManyRedirects))
    }

    async fn send(&self, builder: reqwest::RequestBuilder, url: &Url) -> Result<Response, RegistryError> {
        let response = builder.send().await;
        response.map_err(|error| RegistryError::unreachable(url.authority(), error))
    }

    /// Fetches a token for the service at `url`; redirects are not followed, since they would carry credentials away.
    pub(crate) async fn fetch_token(
        &self,
        url: Url,
        credentials: Option<HeaderValue>,
    ) -> Result<Token, RegistryError> {
        self.permit(&url).map_err(|why| refused(&url, why))?;
        let builder = authorize(self.network.client.get(url.clone()), credentials.as_ref());
        let response = self.send(builder, &url).await?;
        if is_redirect(response.status()) {
            return Err(refused(&url, Refusal::TooManyRedirects));
        }
        let host = url.authority();
        let response = expect_success(response, &format!("the token service of {host}")).await?;
        let answer = read_up_to(response, Token::MAX_ANSWER, host).await?;
        answer
            .and_then(|answer| Token::parse(&answer))
            .ok_or_else(|| RegistryError::Protocol {
                host: host.to_owned(),
                what: "its answer holds no token".to_owned(),
            })
    }

    /// Judges whether the registry may send us to `url`.
    fn permit(&self, url: &Url) -> Result<(), Refusal> {
        match (self.network.judge(url)?, self.reach) {
            _ if self.is_own(url) => Ok(()),
            (Reach::Local, Reach::Local) => Ok(()),
            (Reach::Local, Reach::Public) => Err(Refusal::InternalAddress),
            (Reach::Public, _) if self.allowed_hosts.contain(url) => Ok(()),
            (Reach::Public, _) => Err(Refusal::HostNotAllowed),
        }
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn refused(url: &Url, why: Refusal) -> RegistryError {
    RegistryError::Refused {
        host: match url.host_str() {
            // Not `authority`, which holds a user name and a password where there are any.
            Some(host) => url
                .port()
                .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            None => format!("a {} URL", url.scheme()),
        },
        why,
    }
}

/// Reads a body of at most `limit` bytes; `None` when there is more.
async fn read_up_to(
    mut response: Response,
    limit: usize,
    host: &str,
) -> Result<Option<Bytes>, RegistryError> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if piece.len() > limit - body.len() => return Ok(None),
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return Ok(Some(body.freeze())),
            Err(error) => return Err(RegistryError::unreachable(host, error)),
        }
    }
}

/// Turns every answer but a good one into its error.
async fn expect_success(response: Response, subject: &str) -> Result<Response, RegistryError> {
    let status = response.status();
    if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Ok(response);
    }
    let host = response.url().authority().to_owned();
    let retry_after = header_text(&response, RETRY_AFTER)
        .and_then(|text| header::retry_after(text, header_text(&response, DATE)));
    Err(match status.as_u16() {
        401 => RegistryError::Unauthorized {
            code: error_code(response, &host).await,
            host,
        },
        403 => RegistryError::Denied {
            code: error_code(response, &host).await,
            host,
            subject: subject.to_owned(),
        },
        404 => RegistryError::NotFound {
            subject: subject.to_owned(),
        },
        429 => RegistryError::Throttled { host, retry_after },
        408 | 500..=599 => RegistryError::Unavailable {
            host,
            source: Outage::Status {
                status: status.as_u16(),
                retry_after,
            },
        },
        other => RegistryError::Protocol {
            host,
            what: format!("unexpected status {other}"),
        },
    })
}

async fn error_code(response: Response, host: &str) -> Option<ErrorCode> {
    let body = read_up_to(response, MAX_ERROR_BODY, host).await.ok()??;
    ErrorCode::find(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_registry_may_not_send_us_to_local_hosts() {
        let network = Network::builder()
            .plain_http("localhost:4566")
            .plain_http("localhost:5000")
            .build()
            .unwrap();
        let permit = |registry: &str, url: &str| {
            let allowed = AllowedHosts::Below(vec!["localhost".to_owned(), "example".to_owned()]);
            let registry = Endpoint::new(&network, registry, Credentials::Anonymous, allowed).unwrap();
            registry.permit(&Url::parse(url).unwrap())
        };
        for (registry, url, expected) in [
            (
                "registry.example",
                "http://localhost:4566/",
                Err(Refusal::InternalAddress),
            ),
            ("registry.example", "https://storage.example/", Ok(())),
            (
                "registry.example",
                "https://storage.test/",
                Err(Refusal::HostNotAllowed),
            ),
            ("registry.test", "https://registry.test/elsewhere", Ok(())),
            (
                "registry.test",
                "https://registry.test:8443/",
                Err(Refusal::HostNotAllowed),
            ),
            ("localhost:5000", "http://localhost:4566/", Ok(())),
            ("localhost:5000", "http://localhost:4567/", Err(Refusal::NotHttps)),
        ] {
            assert_eq!(permit(registry, url), expected, "{registry} to {url}");
        }
    }

    #[test]
    fn docker_hub_is_dialled_at_its_api() {
        let network = Network::builder().build().unwrap();
        let base = |host| {
            Endpoint::new(&network, host, Credentials::Anonymous, AllowedHosts::None)
                .unwrap()
                .base
                .to_string()
        };
        assert_eq!(base("docker.io"), "https://registry-1.docker.io/");
        assert_eq!(base("ghcr.io"), "https://ghcr.io/");
    }
}
