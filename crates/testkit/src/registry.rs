//! A registry on loopback, inside the test's own process, that serves from memory, misbehaves as it is told and
//! remembers what it was asked.
//!
//! Source: OCI distribution specification; the token protocol is that of the CNCF distribution project.

mod access;
mod answer;
mod fault;
mod store;

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use portwarden_oci::{Digest, MediaType, RepositoryName, Tag};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use self::{access::Gate, fault::FaultPlan, store::Store};
use crate::image::Artifact;

pub use access::Access;
pub use fault::{Fault, Times};

/// A registry that listens on `127.0.0.1` until it is dropped.
pub struct RegistryServer {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// How a registry behaves towards every request.
#[derive(Clone)]
pub struct Settings {
    /// Who may read and write.
    pub access: Access,
    /// Whether blobs can be read in parts. Registries need not offer it.
    pub ranges: bool,
    /// Whether blobs are answered with a redirect to `/storage/…`, as Amazon ECR redirects to S3. Like S3, the storage
    /// refuses requests with an `Authorization` header: its URLs are signed already.
    pub redirect_blobs: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access: Access::Anonymous,
            ranges: true,
            redirect_blobs: false,
        }
    }
}

/// A request that the registry answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path without the query.
    pub path: String,
    /// The query.
    pub query: Option<String>,
    /// The headers; `Authorization` is marked as sensitive and not shown by `Debug`.
    pub headers: HeaderMap,
    /// The status that was answered.
    pub status: StatusCode,
}

struct State {
    address: SocketAddr,
    settings: Settings,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    store: Store,
    gate: Gate,
    faults: FaultPlan,
    requests: Vec<Request>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of one test's assertion must not hide itself behind another one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegistryServer {
    /// Starts a registry on a free port.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            address,
            settings,
            inner: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// Returns the registry's name as it stands in references: address and port.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// Returns the registry's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts `artifact` into `repository`, under its digests and `tag`.
    pub fn publish(&self, repository: &RepositoryName, tag: Option<&Tag>, artifact: &impl Artifact) {
        let mut inner = self.state.lock();
        for blob in artifact.blobs() {
            inner
                .store
                .put_blob(repository.as_str(), blob.digest(), blob.bytes.clone());
        }
        let own = artifact.manifest();
        let references = artifact
            .children()
            .into_iter()
            .map(|child| (child.digest().to_string(), child))
            .chain([(own.digest().to_string(), own)])
            .chain(tag.map(|tag| (tag.to_string(), own)));
        for (reference, blob) in references {
            let media_type = blob.descriptor.media_type.clone();
            inner
                .store
                .put_manifest(repository.as_str(), &reference, media_type, blob.bytes.clone());
        }
    }

    /// Puts `bytes` under a tag or digest as they are, even where the digest is not theirs.
    pub fn publish_manifest(
        &self,
        repository: &RepositoryName,
        reference: &str,
        media_type: MediaType,
        bytes: impl Into<Bytes>,
    ) {
        self.state
            .lock()
            .store
            .put_manifest(repository.as_str(), reference, media_type, bytes.into());
    }

    /// Puts `bytes` under `digest` as they are, even where the digest is not theirs.
    pub fn publish_blob(&self, repository: &RepositoryName, digest: Digest, bytes: impl Into<Bytes>) {
        self.state
            .lock()
            .store
            .put_blob(repository.as_str(), digest, bytes.into());
    }

    /// Returns the manifest that `repository` has under a tag or digest.
    pub fn manifest(&self, repository: &RepositoryName, reference: &str) -> Option<Bytes> {
        let inner = self.state.lock();
        let (_, bytes) = inner.store.manifest(repository.as_str(), reference)?;
        Some(bytes)
    }

    /// Returns the blob that `repository` has under `digest`.
    pub fn blob(&self, repository: &RepositoryName, digest: Digest) -> Option<Bytes> {
        self.state.lock().store.blob(repository.as_str(), digest)
    }

    /// Makes requests whose path contains `path_part` fail.
    ///
    /// Faults of one path are used up in the order in which they were added.
    pub fn fail(&self, path_part: &str, times: Times, fault: Fault) {
        self.state.lock().faults.add(path_part, times, fault);
    }

    /// Lists the requests so far, in the order in which they were answered.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().requests.clone()
    }

    /// Lists the digests of the blobs that were asked for with GET, sorted, each as often as it was asked for.
    pub fn fetched_blobs(&self) -> Vec<Digest> {
        let mut digests: Vec<Digest> = self
            .state
            .lock()
            .requests
            .iter()
            .filter(|request| request.method == Method::GET)
            .filter_map(|request| request.path.rsplit_once("/blobs/")?.1.parse().ok())
            .collect();
        digests.sort();
        digests
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state.lock().requests.clear();
    }

    /// Makes every token that was issued so far invalid, as if its time had run out.
    pub fn expire_tokens(&self) {
        self.state.lock().gate.expire_tokens();
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        // The connections belong to the task and end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(serve(&state, request).await) }
            });
            // An error here is a client that went away, or a fault that was asked for.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(state: &State, request: http::Request<hyper::body::Incoming>) -> answer::Response {
    let mut headers = request.headers().clone();
    if let Some(authorization) = headers.get_mut(AUTHORIZATION) {
        authorization.set_sensitive(true);
    }
    let mut record = Request {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(str::to_owned),
        headers,
        status: StatusCode::OK,
    };
    let response = answer::answer(state, request).await;
    record.status = response.status();
    state.lock().requests.push(record);
    response
}

#[cfg(test)]
mod tests;
