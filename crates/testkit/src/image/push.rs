use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION},
};
use portwarden_oci::{RepositoryName, Tag};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};

use super::{Artifact, Blob};

/// Where to push to.
#[derive(Debug, Clone)]
#[must_use]
pub struct PushTarget {
    base: Url,
    namespace: Option<String>,
    headers: HeaderMap,
}

/// Why a push failed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The registry's address is no URL to which paths can be added.
    #[error("{0:?} is not the base URL of a registry")]
    Address(String),
    /// The value cannot be sent in a header.
    #[error("the value for the header {0} has characters that a header cannot have")]
    Header(http::HeaderName),
    /// The registry did not answer.
    #[error("the registry did not answer a request for {path}")]
    Unreachable {
        /// The request's path.
        path: String,
        /// What the client says.
        #[source]
        source: reqwest::Error,
    },
    /// The registry answered with another status than the specification's.
    #[error("the registry answered {status} to a request for {path}: {body}")]
    Refused {
        /// The answer's status.
        status: StatusCode,
        /// The request's path.
        path: String,
        /// The answer's body.
        body: String,
    },
    /// The registry did not say where to put a blob.
    #[error("the registry opened an upload for {path} without a usable location")]
    Location {
        /// The request's path.
        path: String,
    },
}

impl PushTarget {
    /// Names a registry by its base URL, such as `http://127.0.0.1:5000`.
    pub fn new(base: &str) -> Result<Self, PushError> {
        let url: Url = base.parse().map_err(|_| PushError::Address(base.to_owned()))?;
        if url.cannot_be_a_base() {
            return Err(PushError::Address(base.to_owned()));
        }
        Ok(Self {
            base: url,
            namespace: None,
            headers: HeaderMap::new(),
        })
    }

    /// Sends `host` in place of the base URL's host, for names that do not resolve.
    pub fn with_host(self, host: &str) -> Result<Self, PushError> {
        self.with_header(HOST, host)
    }

    /// Names the upstream registry in the query parameter `ns` of each request, as containerd does for mirrors.
    pub fn with_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Sends `value`, such as `Basic …` or `Bearer …`, in the header `Authorization`.
    pub fn with_authorization(self, value: &str) -> Result<Self, PushError> {
        self.with_header(AUTHORIZATION, value)
    }

    fn with_header(mut self, name: http::HeaderName, value: &str) -> Result<Self, PushError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| PushError::Header(name.clone()))?;
        value.set_sensitive(name == AUTHORIZATION);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Returns the URL of `path`, which may have a query.
    ///
    /// A location that a registry answers may carry a host that does not resolve here, so only its path counts.
    fn url(&self, path: &str) -> Result<Url, PushError> {
        let mut url = self
            .base
            .join(path)
            .map_err(|_| PushError::Address(path.to_owned()))?;
        // A host that is not the base's came from the other side; the request goes to the base all the same.
        let address = PushError::Address(path.to_owned());
        if url.set_scheme(self.base.scheme()).is_err()
            || url.set_host(self.base.host_str()).is_err()
            || url.set_port(self.base.port()).is_err()
        {
            return Err(address);
        }
        if let Some(namespace) = &self.namespace
            && !url.query_pairs().any(|(name, _)| name == "ns")
        {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }
}

/// Pushes `artifact` to `repository`: the blobs that the registry lacks, then every manifest by its digest, then its
/// own manifest by `tag` if there is one.
///
/// Source: OCI distribution specification, "Push".
pub async fn push(
    target: &PushTarget,
    repository: &RepositoryName,
    tag: Option<&Tag>,
    artifact: &impl Artifact,
) -> Result<(), PushError> {
    let session = Session::new(target, repository)?;
    for blob in artifact.blobs() {
        session.push_blob(blob).await?;
    }
    for child in artifact.children() {
        session.push_manifest(child, &child.digest().to_string()).await?;
    }
    let own = artifact.manifest();
    let reference = tag.map_or_else(|| own.digest().to_string(), Tag::to_string);
    session.push_manifest(own, &reference).await
}

struct Session<'a> {
    target: &'a PushTarget,
    repository: &'a RepositoryName,
    client: Client,
}

impl<'a> Session<'a> {
    fn new(target: &'a PushTarget, repository: &'a RepositoryName) -> Result<Self, PushError> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            // Tests and the local cloud talk to this machine only.
            .no_proxy()
            .build()
            .map_err(|source| PushError::Unreachable {
                path: target.base.path().to_owned(),
                source,
            })?;
        Ok(Self {
            target,
            repository,
            client,
        })
    }

    async fn push_blob(&self, blob: &Blob) -> Result<(), PushError> {
        let digest = blob.digest();
        let path = format!("/v2/{}/blobs/{digest}", self.repository);
        let head = self.send(self.client.head(self.target.url(&path)?)).await?;
        match head.status() {
            StatusCode::OK => return Ok(()),
            StatusCode::NOT_FOUND => {}
            _ => return Err(refusal(head).await),
        }
        let path = format!("/v2/{}/blobs/uploads/", self.repository);
        let opened = self.send(self.client.post(self.target.url(&path)?)).await?;
        if opened.status() != StatusCode::ACCEPTED {
            return Err(refusal(opened).await);
        }
        let location = opened
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| self.target.url(location).ok());
        let Some(mut location) = location else {
            return Err(PushError::Location { path });
        };
        location
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let put = self
            .client
            .put(location)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(blob.bytes.clone());
        self.expect_created(put).await
    }

    async fn push_manifest(&self, manifest: &Blob, reference: &str) -> Result<(), PushError> {
        let path = format!("/v2/{}/manifests/{reference}", self.repository);
        let put = self
            .client
            .put(self.target.url(&path)?)
            .header(CONTENT_TYPE, manifest.descriptor.media_type.as_str())
            .body(manifest.bytes.clone());
        self.expect_created(put).await
    }

    async fn expect_created(&self, request: RequestBuilder) -> Result<(), PushError> {
        let response = self.send(request).await?;
        if response.status() == StatusCode::CREATED {
            Ok(())
        } else {
            Err(refusal(response).await)
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, PushError> {
        request
            .headers(self.target.headers.clone())
            .send()
            .await
            .map_err(|source| PushError::Unreachable {
                path: source.url().map(Url::path).unwrap_or_default().to_owned(),
                source,
            })
    }
}

async fn refusal(response: Response) -> PushError {
    PushError::Refused {
        status: response.status(),
        path: response.url().path().to_owned(),
        body: response.text().await.unwrap_or_default(),
    }
}
