use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Where a webhook is.
///
/// What can be judged by its text is judged when it is made: HTTPS, a name with a dot, a usual port, no user. Where the name
/// leads is judged whenever it is dialled, since that can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookUrl(String);

/// Why a text is no address of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// It is no URL, or longer than [`MAX_URL`], or has characters that no URL has.
    #[error(
        "expected an address such as https://hooks.example.com/portwarden, of at most {MAX_URL} characters"
    )]
    Malformed,
    /// It is not HTTPS.
    #[error("expected an https address: what is sent must not be read on the way")]
    NotHttps,
    /// It has a user or a password, which would be sent to whoever answers there.
    #[error("an address with a user name or a password is not taken; the signature says who sends")]
    User,
    /// Its port is another than 443 and 8443.
    #[error("only the ports 443 and 8443 are taken")]
    Port,
    /// Its host is an address, or a name of this machine or its network.
    #[error("expected a host that has a name in public DNS")]
    Host,
}

/// How long an address is at most, in characters.
pub const MAX_URL: usize = 2048;

/// The ports that may be dialled: enough for servers of people, and no scan of others' networks.
const PORTS: [u16; 2] = [443, 8443];

impl WebhookUrl {
    /// Takes an address in the public internet.
    pub fn parse(text: &str) -> Result<Self, WebhookUrlError> {
        let url = plain(text)?;
        if url.scheme() != "https" {
            return Err(WebhookUrlError::NotHttps);
        }
        if !PORTS.contains(&url.port_or_known_default().unwrap_or_default()) {
            return Err(WebhookUrlError::Port);
        }
        match url.host() {
            Some(Host::Domain(name)) if is_public_name(name) => Ok(Self(url.into())),
            _ => Err(WebhookUrlError::Host),
        }
    }

    /// Takes an address of this machine, too, by plain HTTP and at any port: for a deployment to an emulator.
    pub fn parse_beside_emulator(text: &str) -> Result<Self, WebhookUrlError> {
        let url = plain(text)?;
        let is_local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            _ => false,
        };
        if is_local && url.scheme() == "http" {
            Ok(Self(url.into()))
        } else {
            Self::parse(text)
        }
    }

    /// Returns the address as text. Its path may be as good as a password: it is shown to its tenant, and never logged.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a URL as it is written: the parser itself would drop tabs and line ends, and turn around backslashes.
fn plain(text: &str) -> Result<Url, WebhookUrlError> {
    let is_plain = text.len() <= MAX_URL && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let url = Url::parse(text).ok().filter(|_| is_plain);
    let url = url.ok_or(WebhookUrlError::Malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(WebhookUrlError::User);
    }
    if url.fragment().is_some() {
        return Err(WebhookUrlError::Malformed);
    }
    Ok(url)
}

/// Tells whether a name can be one of public DNS; names for special use cannot.
///
/// Source: IANA, "Special-Use Domain Names"; RFC 9476.
fn is_public_name(name: &str) -> bool {
    const SPECIAL: [&str; 9] = [
        "alt",
        "arpa",
        "example",
        "internal",
        "invalid",
        "local",
        "localhost",
        "onion",
        "test",
    ];
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains('.') && name.split('.').all(|label| !label.is_empty()) && !SPECIAL.contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_a_public_name_is_taken() {
        for good in [
            "https://hooks.example.com/a?b=c",
            "https://hooks.example.com:8443/",
            "https://xn--bcher-kva.example.com/",
        ] {
            assert_eq!(WebhookUrl::parse(good).unwrap().as_str(), good);
        }
        for (url, expected) in [
            ("", WebhookUrlError::Malformed),
            ("hooks.example.com", WebhookUrlError::Malformed),
            ("https://", WebhookUrlError::Malformed),
            ("https://hooks.example.com/\r\nx: y", WebhookUrlError::Malformed),
            ("https://hooks.exam\tple.com/", WebhookUrlError::Malformed),
            (" https://hooks.example.com/", WebhookUrlError::Malformed),
            ("https://hooks.example.com/#x", WebhookUrlError::Malformed),
            ("https:\\\\hooks.example.com", WebhookUrlError::Malformed),
            ("https://hooks.example.com/ü", WebhookUrlError::Malformed),
            ("http://hooks.example.com/", WebhookUrlError::NotHttps),
            ("file:///etc/passwd", WebhookUrlError::NotHttps),
            ("gopher://hooks.example.com/", WebhookUrlError::NotHttps),
            ("https://user@hooks.example.com/", WebhookUrlError::User),
            ("https://:word@hooks.example.com/", WebhookUrlError::User),
            (
                "https://hooks.example.com@169.254.169.254/",
                WebhookUrlError::User,
            ),
            ("https://hooks.example.com:22/", WebhookUrlError::Port),
            ("https://hooks.example.com:80/", WebhookUrlError::Port),
            ("https://hooks.example.com:0/", WebhookUrlError::Port),
            ("https://127.0.0.1/", WebhookUrlError::Host),
            ("https://2130706433/", WebhookUrlError::Host),
            ("https://0x7f.1/", WebhookUrlError::Host),
            ("https://169.254.169.254/latest/meta-data/", WebhookUrlError::Host),
            ("https://10.0.0.1/", WebhookUrlError::Host),
            ("https://8.8.8.8/", WebhookUrlError::Host),
            ("https://[::1]/", WebhookUrlError::Host),
            ("https://[fd00:ec2::254]/", WebhookUrlError::Host),
            ("https://localhost/", WebhookUrlError::Host),
            ("https://a.localhost./", WebhookUrlError::Host),
            ("https://intranet/", WebhookUrlError::Host),
            ("https://169.254.169../", WebhookUrlError::Host),
            ("https://hooks..example.com/", WebhookUrlError::Host),
            ("https://printer.local/", WebhookUrlError::Host),
            (
                "https://ip-10-0-0-1.eu-west-1.compute.internal/",
                WebhookUrlError::Host,
            ),
        ] {
            assert_eq!(WebhookUrl::parse(url), Err(expected), "{url}");
        }
        let long = format!("https://hooks.example.com/{}", "a".repeat(MAX_URL));
        assert_eq!(WebhookUrl::parse(&long), Err(WebhookUrlError::Malformed));
    }

    #[test]
    fn beside_an_emulator_this_machine_is_taken_and_nothing_else() {
        for good in [
            "http://127.0.0.1:8080/hook",
            "http://localhost:8080/",
            "https://hooks.example.com/",
        ] {
            assert!(WebhookUrl::parse_beside_emulator(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1:8080/",
            "http://hooks.example.com/",
            "https://127.0.0.1/",
            "http://u@127.0.0.1:8080/",
            "http://169.254.169.254/",
        ] {
            assert!(WebhookUrl::parse_beside_emulator(bad).is_err(), "{bad}");
        }
    }
}
