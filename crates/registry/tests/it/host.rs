//! Where a registry may send us, and what goes along.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use portwarden_registry::{
    AllowedHosts, Credentials, ImageSource as _, Lookup, Network, NetworkError, Refusal, Registry,
    RegistryError, Repository,
};

use crate::server::{Answer, BASIC, NoWait, Server, basic, descriptor, network, repository_in};

/// Knows one answer, and remembers what it was asked.
struct Known {
    addresses: Vec<IpAddr>,
    asked: Mutex<Vec<String>>,
}

impl Known {
    fn at(addresses: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            asked: Mutex::default(),
        })
    }
}

#[async_trait]
impl Lookup for Known {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        Ok(self.addresses.clone())
    }
}

async fn refusal(repository: &Repository) -> (String, Refusal) {
    match repository.blob(&descriptor(b"x")).await {
        Err(RegistryError::Refused { host, why }) => (host, why),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn redirects_to_forbidden_places_are_refused() {
    let victim = Server::start(|_| Answer::new(200, "x")).await;
    for (target, host, why) in [
        (
            "http://169.254.169.254/latest/meta-data/",
            "169.254.169.254",
            Refusal::NotHttps,
        ),
        (
            "https://169.254.169.254/latest/",
            "169.254.169.254",
            Refusal::InternalAddress,
        ),
        (
            "https://[::ffff:169.254.169.254]/",
            "[::ffff:a9fe:a9fe]",
            Refusal::InternalAddress,
        ),
        (
            "https://127.0.0.1:8443/",
            "127.0.0.1:8443",
            Refusal::InternalAddress,
        ),
        ("https://10.0.0.1/", "10.0.0.1", Refusal::InternalAddress),
        ("https://x.localhost/", "x.localhost", Refusal::InternalAddress),
        (
            &format!("http://{}/", victim.authority),
            &victim.authority,
            Refusal::NotHttps,
        ),
        (
            "http://bucket.s3.amazonaws.com/",
            "bucket.s3.amazonaws.com",
            Refusal::NotHttps,
        ),
        ("file:///etc/passwd", "a file URL", Refusal::NotHttps),
        ("data:text/plain,x", "a data URL", Refusal::NotHttps),
        (
            "https://evil.example/?sig=canary",
            "evil.example",
            Refusal::HostNotAllowed,
        ),
        (
            "https://evilamazonaws.com/",
            "evilamazonaws.com",
            Refusal::HostNotAllowed,
        ),
        (
            "https://me:canary@bucket.s3.amazonaws.com/",
            "bucket.s3.amazonaws.com",
            Refusal::CredentialsInUrl,
        ),
        ("https://[", "", Refusal::NoTarget),
    ] {
        let location = target.to_owned();
        let server = Server::start(move |_| Answer::redirect(307, location.clone())).await;
        let lookup = Known::at(&["8.8.8.8"]);
        let network = network(&[&server])
            .lookup(Arc::clone(&lookup) as _)
            .build()
            .unwrap();
        let repository = Registry::new(&network, &server.authority, basic(), AllowedHosts::amazon())
            .unwrap()
            .repository("shop/web".parse().unwrap());
        let host = if why == Refusal::NoTarget {
            &server.authority
        } else {
            host
        };
        assert_eq!(refusal(&repository).await, (host.to_owned(), why), "{target}");
        assert!(lookup.asked.lock().unwrap().is_empty(), "{target}");
        assert_eq!(server.seen().len(), 1, "{target}: a refusal is final");
    }
    assert_eq!(victim.seen(), []);
}

#[tokio::test]
async fn a_name_with_an_internal_address_is_not_dialled() {
    for address in [
        "169.254.169.254",
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
    ] {
        let server =
            Server::start(|_| Answer::redirect(302, "https://layers.s3.amazonaws.com/x?sig=canary")).await;
        let lookup = Known::at(&[address]);
        let network = network(&[&server])
            .lookup(Arc::clone(&lookup) as _)
            .build()
            .unwrap();
        let repository = repository_in(&network, &server, Credentials::Anonymous);
        let expected = ("layers.s3.amazonaws.com".to_owned(), Refusal::InternalAddress);
        assert_eq!(refusal(&repository).await, expected, "{address}");
        assert_eq!(*lookup.asked.lock().unwrap(), ["layers.s3.amazonaws.com"]);
    }
}

#[tokio::test]
async fn the_registry_itself_must_be_public_or_named() {
    let network = Network::builder()
        .pacing(Arc::new(NoWait::default()))
        .lookup(Known::at(&["192.168.0.1"]))
        .build()
        .unwrap();
    let registry = |host| Registry::new(&network, host, Credentials::Anonymous, AllowedHosts::None);
    for host in ["127.0.0.1:5000", "localhost:5000", "169.254.169.254"] {
        match registry(host) {
            Err(RegistryError::Refused {
                host: refused,
                why: Refusal::InternalAddress,
            }) => assert_eq!(refused, host),
            other => panic!("{other:?}"),
        }
    }
    let repository = registry("registry.corp")
        .unwrap()
        .repository("a".parse().unwrap());
    assert_eq!(
        refusal(&repository).await,
        ("registry.corp".to_owned(), Refusal::InternalAddress)
    );
    for host in [
        "",
        "a/b",
        "a@b",
        "user:p@a",
        "a b",
        "a#",
        "a?b",
        "a:99999",
        "dok˳",
        "%6cocalhost",
    ] {
        assert!(
            matches!(registry(host), Err(RegistryError::Host(text)) if text == host),
            "{host:?}"
        );
    }
    for text in ["", "*.", "a/b", "http://a"] {
        let built = Network::builder().plain_http(text).build();
        assert!(
            matches!(built, Err(NetworkError::LocalHost(named)) if named == text),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn names_below_localhost_reach_loopback_with_their_own_host_header() {
    let server = Server::start(|_| Answer::new(200, "x")).await;
    let port = server.authority.rsplit_once(':').unwrap().1;
    let host = format!("111122223333.dkr.ecr.eu-west-1.localhost:{port}");
    let lookup = Known::at(&["8.8.8.8"]);
    let network = Network::builder()
        .plain_http(format!("*.dkr.ecr.eu-west-1.localhost:{port}"))
        .lookup(Arc::clone(&lookup) as _)
        .build()
        .unwrap();
    let registry = Registry::new(&network, &host, basic(), AllowedHosts::amazon()).unwrap();
    let blob = registry
        .repository("a".parse().unwrap())
        .blob(&descriptor(b"x"))
        .await
        .unwrap();
    assert_eq!(blob.read_to_end(1).await.unwrap(), "x");
    let seen = &server.seen()[0];
    assert_eq!(
        (seen.header("host"), seen.header("authorization")),
        (Some(&host[..]), Some(BASIC))
    );
    assert!(lookup.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn credentials_stay_with_the_registry() {
    let storage = Server::start(|_| Answer::new(200, "x")).await;
    let target = format!("http://{}/layer?sig=canary", storage.authority);
    let server = Server::start(move |_| Answer::redirect(307, target.clone())).await;
    let network = network(&[&server, &storage]).build().unwrap();
    let repository = repository_in(&network, &server, basic());
    let blob = repository.blob(&descriptor(b"x")).await.unwrap();
    assert_eq!(blob.read_to_end(1).await.unwrap(), "x");
    assert_eq!(server.seen()[0].header("authorization"), Some(BASIC));
    assert_eq!(storage.seen()[0].path, "/layer?sig=canary");
    assert_eq!(storage.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn credentials_do_not_come_back_after_a_detour() {
    let way_back = Arc::new(Mutex::new(String::new()));
    let target = Arc::clone(&way_back);
    let other = Server::start(move |_| Answer::redirect(307, target.lock().unwrap().clone())).await;
    let detour = format!("http://{}/", other.authority);
    let server = Server::start(move |seen| match seen.number {
        0 => Answer::redirect(307, detour.clone()),
        _ => Answer::new(200, "x"),
    })
    .await;
    *way_back.lock().unwrap() = format!("http://{}/elsewhere", server.authority);
    let network = network(&[&server, &other]).build().unwrap();
    repository_in(&network, &server, basic())
        .blob(&descriptor(b"x"))
        .await
        .unwrap();
    let authorizations: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.headers.contains_key("authorization"))
        .collect();
    assert_eq!(authorizations, [true, false]);
}

#[tokio::test]
async fn a_401_of_another_host_gets_no_answer() {
    let storage = Server::start(|_| {
        Answer::new(401, "").with("www-authenticate", "Bearer realm=\"http://127.0.0.1:1/token\"")
    })
    .await;
    let target = format!("http://{}/", storage.authority);
    let server = Server::start(move |_| Answer::redirect(307, target.clone())).await;
    let network = network(&[&server, &storage]).build().unwrap();
    let refused = repository_in(&network, &server, basic())
        .blob(&descriptor(b"x"))
        .await;
    assert!(
        matches!(&refused, Err(RegistryError::Unauthorized { host, .. }) if *host == storage.authority),
        "{refused:?}"
    );
    assert_eq!(storage.seen().len(), 1);
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|seen| Answer::redirect(302, format!("/again/{}", seen.number))).await;
    let network = network(&[&server]).build().unwrap();
    let repository = repository_in(&network, &server, Credentials::Anonymous);
    assert_eq!(
        refusal(&repository).await,
        (server.authority.clone(), Refusal::TooManyRedirects)
    );
    assert_eq!(server.seen().len(), 4);
    let server = Server::start(|_| Answer::new(302, "")).await;
    let network = self::network(&[&server]).build().unwrap();
    let repository = repository_in(&network, &server, Credentials::Anonymous);
    assert_eq!(
        refusal(&repository).await,
        (server.authority.clone(), Refusal::NoTarget)
    );
}

#[tokio::test]
async fn no_error_shows_a_signed_url() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let target = format!("http://{gone}/layer?sig=canary");
    let server = Server::start(move |_| Answer::redirect(307, target.clone())).await;
    let network = network(&[&server]).plain_http(gone.to_string()).build().unwrap();
    let error = repository_in(&network, &server, basic())
        .blob(&descriptor(b"x"))
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable { .. }));
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let mut cause = Some(&error as &dyn std::error::Error);
    while let Some(error) = cause {
        assert!(!error.to_string().contains("canary"), "{error}");
        cause = error.source();
    }
}
