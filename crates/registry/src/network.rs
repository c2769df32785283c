use std::{sync::Arc, time::Duration};

use url::Url;

use crate::{
    Lookup, Pacing, RealTime, Refusal,
    dial::{DialRules, LocalHost, Reach, Resolver, SystemLookup},
};

/// What all registries share: connections, and the rules of what may be dialled.
///
/// It is built once in a process. It follows no redirect by itself, and takes no proxy and nothing else from the
/// environment: a proxy would resolve names itself, behind the back of the rules.
#[derive(Clone)]
pub struct Network {
    pub(crate) client: reqwest::Client,
    pub(crate) pacing: Arc<dyn Pacing>,
    rules: Arc<DialRules>,
}

/// Why a network cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A local host is not `host:port` or `*.host:port`.
    #[error("the local host {0:?} is not a host with an optional port")]
    LocalHost(String),
    /// The HTTP client cannot be set up, for example without any trusted certificate authority.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Network {
    /// Starts with the defaults: HTTPS to public addresses only, in real time.
    pub fn builder() -> NetworkBuilder {
        NetworkBuilder {
            local_hosts: Vec::new(),
            lookup: Arc::new(SystemLookup),
            pacing: Arc::new(RealTime),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        }
    }

    /// Returns the client for a request to `url` that is not a registry's, if the rules allow it: HTTPS to a public
    /// address, or a named local host. Its name is judged once more where it is resolved.
    pub fn client_for(&self, url: &Url) -> Result<&reqwest::Client, Refusal> {
        self.rules.judge(url).map(|_| &self.client)
    }

    pub(crate) fn judge(&self, url: &Url) -> Result<Reach, Refusal> {
        self.rules.judge(url)
    }

    pub(crate) fn scheme_for(&self, authority: &str) -> &'static str {
        self.rules.scheme_for(authority)
    }
}

/// Sets up a [`Network`].
#[must_use]
pub struct NetworkBuilder {
    local_hosts: Vec<(String, &'static str)>,
    lookup: Arc<dyn Lookup>,
    pacing: Arc<dyn Pacing>,
    connect_timeout: Duration,
    read_timeout: Duration,
}

impl NetworkBuilder {
    /// Lets `host:port` be reached by plain HTTP, also at an internal address; `*.host:port` is everything below.
    pub fn plain_http(mut self, authority: impl Into<String>) -> Self {
        self.local_hosts.push((authority.into(), "http"));
        self
    }

    /// Lets `host[:port]` be at an internal address, such as an organisation's own registry, by HTTPS.
    pub fn internal(mut self, authority: impl Into<String>) -> Self {
        self.local_hosts.push((authority.into(), "https"));
        self
    }

    /// Finds addresses with `lookup` instead of the system's resolver.
    pub fn lookup(mut self, lookup: Arc<dyn Lookup>) -> Self {
        self.lookup = lookup;
        self
    }

    /// Waits between attempts with `pacing` instead of in real time.
    pub fn pacing(mut self, pacing: Arc<dyn Pacing>) -> Self {
        self.pacing = pacing;
        self
    }

    /// Gives up a connection after `timeout`; 10 seconds at first.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Gives up waiting for the next bytes after `timeout`; 30 seconds at first. There is no limit for a whole answer.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// Builds the network.
    pub fn build(self) -> Result<Network, NetworkError> {
        let local_hosts = self
            .local_hosts
            .into_iter()
            .map(|(text, scheme)| LocalHost::parse(&text, scheme).ok_or(NetworkError::LocalHost(text)))
            .collect::<Result<_, _>>()?;
        let rules = Arc::new(DialRules::new(local_hosts, self.lookup));
        let client = reqwest::Client::builder()
            .user_agent(concat!("portwarden/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .dns_resolver(Resolver(Arc::clone(&rules)))
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .build()
            .map_err(|error| NetworkError::Client(error.into()))?;
        Ok(Network {
            client,
            pacing: self.pacing,
            rules,
        })
    }
}
