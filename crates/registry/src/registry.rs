use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, RANGE},
};
use portwarden_oci::{Descriptor, Digest, MediaType, RepositoryName, Version};

use crate::{
    AllowedHosts, Blob, Credentials, FetchedManifest, ImageSource, Network, RegistryError, download,
    endpoint::{Answer, Endpoint, Request},
    source::refuse_foreign,
};

/// A registry that speaks the OCI distribution protocol, seen with one set of credentials.
#[derive(Clone)]
pub struct Registry(Arc<Endpoint>);

impl Registry {
    /// Names a registry by `host[:port]`, as in [`Reference::registry`](portwarden_oci::Reference::registry).
    pub fn new(
        network: &Network,
        host: &str,
        credentials: Credentials,
        allowed_hosts: AllowedHosts,
    ) -> Result<Self, RegistryError> {
        let endpoint = Endpoint::new(network, host, credentials, allowed_hosts)?;
        Ok(Self(Arc::new(endpoint)))
    }

    /// Names one of the registry's repositories.
    pub fn repository(&self, name: RepositoryName) -> Repository {
        Repository {
            endpoint: Arc::clone(&self.0),
            name,
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.0.authority()).finish()
    }
}

/// One repository of a [`Registry`].
#[derive(Clone)]
pub struct Repository {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) name: RepositoryName,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint.authority(), self.name)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({self})")
    }
}

#[async_trait]
impl ImageSource for Repository {
    async fn manifest(&self, version: &Version) -> Result<FetchedManifest, RegistryError> {
        let accepted = MediaType::accepted_manifests();
        let accepted = accepted.each_ref().map(MediaType::as_str).join(", ");
        let request = Request {
            repository: &self.name,
            path: format!("manifests/{version}"),
            subject: format!("the manifest {version} of {self}"),
            headers: header_of(ACCEPT, &accepted),
        };
        let mut retries = self.endpoint.retries();
        loop {
            match self.endpoint.fetch_manifest(&request, version).await {
                Err(error) => retries.pause_after(error).await?,
                Ok(manifest) => return Ok(manifest),
            }
        }
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<Blob, RegistryError> {
        refuse_foreign(descriptor)?;
        download::open(self, descriptor).await
    }
}

impl Repository {
    /// Asks for a blob's bytes from `offset` on.
    pub(crate) async fn fetch_blob(&self, digest: Digest, offset: u64) -> Result<Answer, RegistryError> {
        let request = Request {
            repository: &self.name,
            path: format!("blobs/{digest}"),
            subject: format!("the blob {digest} of {self}"),
            headers: match offset {
                0 => HeaderMap::new(),
                offset => header_of(RANGE, &format!("bytes={offset}-")),
            },
        };
        let mut retries = self.endpoint.retries();
        loop {
            match self.endpoint.get(&request).await {
                Err(error) => retries.pause_after(error).await?,
                Ok(answer) => return Ok(answer),
            }
        }
    }
}

fn header_of(name: HeaderName, value: &str) -> HeaderMap {
    HeaderValue::from_str(value)
        .map(|value| HeaderMap::from_iter([(name, value)]))
        .unwrap_or_default()
}
