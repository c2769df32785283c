//! Which hosts and addresses may be dialled.
//!
//! The URL is judged before a request, and the addresses of its name in the resolver that the connection itself uses:
//! there is no moment between check and use in which a name could change.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::{Refusal, address::is_public};

/// The hosts that a registry may send us to, by a redirect or for a token, besides itself.
///
/// Whatever is allowed here, only HTTPS and only public addresses are dialled, unless the registry is itself a local
/// host of the [`Network`](crate::Network): then it may name the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedHosts {
    /// No other host.
    None,
    /// The named hosts and everything below them.
    Below(Vec<String>),
    /// Any host, for people who pull from registries of their choice.
    AnyPublic,
}

impl AllowedHosts {
    /// Allows what belongs to AWS: Amazon ECR keeps layers in Amazon S3 and redirects there.
    pub fn amazon() -> Self {
        Self::Below(vec!["amazonaws.com".to_owned(), "amazonaws.com.cn".to_owned()])
    }

    pub(crate) fn contain(&self, url: &Url) -> bool {
        match self {
            Self::None => false,
            Self::AnyPublic => true,
            Self::Below(hosts) => match url.host() {
                Some(Host::Domain(name)) => hosts.iter().any(|host| is_at_or_below(plain(name), host)),
                _ => false,
            },
        }
    }
}

/// Finds the addresses of a name.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Returns all addresses of `name`.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the system's resolver.
pub(crate) struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0))
            .await?
            .map(|address| address.ip())
            .collect())
    }
}

/// How far away a host that may be dialled is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At a public address, by HTTPS.
    Public,
    /// One of the local hosts.
    Local,
}

/// A host that may be at an internal address: `host:port`, or `*.host:port` for everything below it.
#[derive(Debug, Clone)]
pub(crate) struct LocalHost {
    host: String,
    includes_below: bool,
    port: u16,
    scheme: &'static str,
}

impl LocalHost {
    /// Parses `[*.]host[:port]` for URLs with `scheme`.
    pub(crate) fn parse(text: &str, scheme: &'static str) -> Option<Self> {
        let (includes_below, authority) = match text.strip_prefix("*.") {
            Some(authority) => (true, authority),
            None => (false, text),
        };
        let url = base_url(scheme, authority)?;
        Some(Self {
            host: plain(url.host_str()?).to_owned(),
            includes_below,
            port: url.port_or_known_default()?,
            scheme,
        })
    }

    fn covers(&self, host: &str) -> bool {
        if self.includes_below {
            is_at_or_below(host, &self.host)
        } else {
            host == self.host
        }
    }
}

/// The rules that every request obeys.
pub(crate) struct DialRules {
    local_hosts: Vec<LocalHost>,
    lookup: Arc<dyn Lookup>,
}

impl DialRules {
    pub(crate) fn new(local_hosts: Vec<LocalHost>, lookup: Arc<dyn Lookup>) -> Self {
        Self { local_hosts, lookup }
    }

    /// Returns the scheme to reach a registry with.
    pub(crate) fn scheme_for(&self, authority: &str) -> &'static str {
        let is_plain = |local: &&LocalHost| {
            base_url(local.scheme, authority).is_some_and(|url| {
                url.host_str().is_some_and(|host| local.covers(plain(host)))
                    && url.port_or_known_default() == Some(local.port)
            })
        };
        self.local_hosts
            .iter()
            .find(is_plain)
            .map_or("https", |local| local.scheme)
    }

    /// Judges all of a URL that can be judged before its name is resolved.
    pub(crate) fn judge(&self, url: &Url) -> Result<Reach, Refusal> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::CredentialsInUrl);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::NotHttps);
        }
        let host = url.host().ok_or(Refusal::NoTarget)?;
        let name = url.host_str().map(plain).unwrap_or_default();
        let mut is_named = false;
        for local in self.local_hosts.iter().filter(|local| local.covers(name)) {
            if local.scheme == url.scheme() && url.port_or_known_default() == Some(local.port) {
                return Ok(Reach::Local);
            }
            is_named = true;
        }
        if url.scheme() != "https" {
            return Err(Refusal::NotHttps);
        }
        let is_public = match host {
            Host::Domain(_) => !is_localhost(name),
            Host::Ipv4(address) => is_public(address.into()),
            Host::Ipv6(address) => is_public(address.into()),
        };
        // The resolver sees no port, so a local host's other ports are refused here.
        if is_public && !is_named {
            Ok(Reach::Public)
        } else {
            Err(Refusal::InternalAddress)
        }
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if is_localhost(name) {
            // RFC 6761, 6.3: never asked of any server. `judge` lets only local hosts come this far.
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut addresses = self.lookup.addresses(name).await?;
        if !self.local_hosts.iter().any(|local| local.covers(name)) {
            let count = addresses.len();
            addresses.retain(|address| is_public(*address));
            if count > 0 && addresses.is_empty() {
                return Err(io::Error::other(Refusal::InternalAddress));
            }
        }
        Ok(addresses)
    }
}

/// Gives reqwest's connections only the addresses that [`DialRules`] allow.
pub(crate) struct Resolver(pub(crate) Arc<DialRules>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = rules.resolve(plain(name.as_str())).await?;
            let addresses: Addrs = Box::new(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

/// Makes a URL of a scheme and `host[:port]`, and refuses everything that says more.
pub(crate) fn base_url(scheme: &str, authority: &str) -> Option<Url> {
    // `Url` would decode, fold and map whatever else it can make a host of.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !authority.bytes().all(is_plain) {
        return None;
    }
    let url = Url::parse(&format!("{scheme}://{authority}/")).ok()?;
    url.host_str().is_some_and(|host| !host.is_empty()).then_some(url)
}

/// Takes the dot off a fully qualified name; `Url` has made it lower case.
fn plain(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn is_at_or_below(name: &str, host: &str) -> bool {
    name.strip_suffix(host)
        .is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

fn is_localhost(name: &str) -> bool {
    is_at_or_below(name, "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoLookup;

    #[async_trait]
    impl Lookup for NoLookup {
        async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            panic!("{name} was looked up");
        }
    }

    fn rules(local_hosts: &[(&str, &'static str)]) -> DialRules {
        let local_hosts = local_hosts
            .iter()
            .map(|(text, scheme)| LocalHost::parse(text, scheme).unwrap())
            .collect();
        DialRules::new(local_hosts, Arc::new(NoLookup))
    }

    fn judge(rules: &DialRules, url: &str) -> Result<Reach, Refusal> {
        rules.judge(&Url::parse(url).unwrap())
    }

    #[test]
    fn only_public_https_is_dialled() {
        let rules = rules(&[]);
        for (url, expected) in [
            ("https://registry.example/v2/", Ok(Reach::Public)),
            ("https://8.8.8.8/", Ok(Reach::Public)),
            ("http://registry.example/", Err(Refusal::NotHttps)),
            ("http://127.0.0.1/", Err(Refusal::NotHttps)),
            ("file:///etc/passwd", Err(Refusal::NotHttps)),
            ("ftp://registry.example/", Err(Refusal::NotHttps)),
            ("https://169.254.169.254/", Err(Refusal::InternalAddress)),
            // Other spellings of 127.0.0.1 and of 169.254.169.254.
            ("https://2130706433/", Err(Refusal::InternalAddress)),
            ("https://0x7f.1/", Err(Refusal::InternalAddress)),
            ("https://0251.0376.0251.0376/", Err(Refusal::InternalAddress)),
            ("https://[::ffff:169.254.169.254]/", Err(Refusal::InternalAddress)),
            ("https://[fd00:ec2::254]/", Err(Refusal::InternalAddress)),
            ("https://localhost/", Err(Refusal::InternalAddress)),
            ("https://LOCALHOST./", Err(Refusal::InternalAddress)),
            ("https://a.localhost/", Err(Refusal::InternalAddress)),
            ("https://user@registry.example/", Err(Refusal::CredentialsInUrl)),
            ("https://:p@registry.example/", Err(Refusal::CredentialsInUrl)),
        ] {
            assert_eq!(judge(&rules, url), expected, "{url}");
        }
    }

    #[test]
    fn local_hosts_are_dialled_at_their_port_and_scheme_only() {
        let rules = rules(&[
            ("localhost:5000", "http"),
            ("*.ecr.eu-west-1.localhost:4566", "http"),
            ("registry.corp", "https"),
        ]);
        for (url, expected) in [
            ("http://localhost:5000/v2/", Ok(Reach::Local)),
            ("http://localhost.:5000/v2/", Ok(Reach::Local)),
            ("http://localhost:5001/v2/", Err(Refusal::NotHttps)),
            ("https://localhost:5000/v2/", Err(Refusal::InternalAddress)),
            ("http://1.ecr.eu-west-1.localhost:4566/", Ok(Reach::Local)),
            ("http://1xecr.eu-west-1.localhost:4566/", Err(Refusal::NotHttps)),
            ("https://registry.corp/", Ok(Reach::Local)),
            ("https://registry.corp:8443/", Err(Refusal::InternalAddress)),
            ("http://registry.corp/", Err(Refusal::NotHttps)),
        ] {
            assert_eq!(judge(&rules, url), expected, "{url}");
        }
        assert_eq!(rules.scheme_for("localhost:5000"), "http");
        assert_eq!(rules.scheme_for("1.ecr.eu-west-1.localhost:4566"), "http");
        assert_eq!(rules.scheme_for("localhost:5001"), "https");
        assert_eq!(rules.scheme_for("registry.example"), "https");
    }

    #[test]
    fn hosts_are_allowed_by_whole_labels() {
        let amazon = AllowedHosts::amazon();
        for (url, expected) in [
            ("https://bucket.s3.eu-west-1.amazonaws.com/x", true),
            ("https://bucket.s3.cn-north-1.amazonaws.com.cn/x", true),
            ("https://amazonaws.com./x", true),
            ("https://evilamazonaws.com/x", false),
            ("https://amazonaws.com.evil.example/x", false),
            ("https://8.8.8.8/x", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(amazon.contain(&url), expected, "{url}");
            assert!(AllowedHosts::AnyPublic.contain(&url));
            assert!(!AllowedHosts::None.contain(&url));
        }
    }

    #[tokio::test]
    async fn names_below_localhost_are_loopback_without_a_lookup() {
        let addresses = rules(&[]).resolve("1.dkr.ecr.eu-west-1.localhost").await.unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback) && addresses.len() == 2);
    }

    struct Fixed(&'static [&'static str]);

    #[async_trait]
    impl Lookup for Fixed {
        async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.iter().map(|text| text.parse().unwrap()).collect())
        }
    }

    #[tokio::test]
    async fn internal_addresses_of_a_name_are_dropped_unless_it_is_a_local_host() {
        let mixed = Arc::new(Fixed(&["10.0.0.1", "1.1.1.1"]));
        let local = LocalHost::parse("registry.corp", "https").unwrap();
        let rules = DialRules::new(vec![local], mixed);
        let addresses: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "1.1.1.1".parse().unwrap()];
        assert_eq!(rules.resolve("rebinding.example").await.unwrap(), addresses[1..]);
        assert_eq!(rules.resolve("registry.corp").await.unwrap(), addresses);
        let internal = DialRules::new(vec![], Arc::new(Fixed(&["169.254.169.254", "fe80::1"])));
        let error = internal.resolve("rebinding.example").await.unwrap_err();
        assert_eq!(
            error.get_ref().and_then(|e| e.downcast_ref()),
            Some(&Refusal::InternalAddress)
        );
    }
}
