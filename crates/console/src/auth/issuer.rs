//! The issuer of tokens: its metadata, its keys, and the check of what it signed.
//!
//! Sources: OpenID Connect Core 1.0, sections 2 and 3.1.3.7; OpenID Connect Discovery 1.0, section 4; RFC 8725, "JSON Web
//! Token Best Current Practices".

use std::{fmt, str::FromStr, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use portwarden_core::{access::Person, clock::Clock};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::Mutex;
use url::{Host, Url};

use super::fetch::{Fetch, FetchError};

/// Which issuer's tokens count, and which of them.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// The issuer.
    pub issuer: IssuerUrl,
    /// The client that signs people in: a public one, with PKCE.
    pub client_id: String,
    /// Who bearer tokens must be for; the client, unless the issuer makes tokens for APIs of their own.
    pub audience: Option<String>,
}

/// The address of an issuer: over TLS, or on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl(String);

/// A text is not an issuer's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an https address without a query, such as https://login.example.com")]
pub struct IssuerUrlError;

/// Where an issuer's parts are, and the keys that it signs with.
#[derive(Clone)]
struct Known {
    metadata: Arc<Metadata>,
    keys: Arc<JwkSet>,
    read_at: Timestamp,
}

/// What an issuer publishes of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    jwks_uri: String,
}

/// Checks tokens of one issuer.
pub struct Issuer {
    settings: IssuerSettings,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<Known>>,
}

/// What a token says.
#[derive(Debug, Clone, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Why a token proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// It is not a valid token of the issuer for us.
    #[error("the token is refused: {0}")]
    Invalid(&'static str),
    /// The issuer's keys cannot be read.
    #[error(transparent)]
    Unreachable(#[from] FetchError),
}

/// How long an issuer's keys are taken for current.
const KEYS_LAST: SignedDuration = SignedDuration::from_hours(1);

/// How soon they are read again because of a key that is not among them: anybody can name one.
const KEYS_REST: SignedDuration = SignedDuration::from_mins(1);

/// How much clocks may differ.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

impl FromStr for IssuerUrl {
    type Err = IssuerUrlError;

    fn from_str(text: &str) -> Result<Self, IssuerUrlError> {
        let url = Url::parse(text).map_err(|_| IssuerUrlError)?;
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if is_safe(&url) && is_plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(IssuerUrlError)
        }
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// TLS, or loopback, where nobody listens in.
fn is_safe(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

impl Metadata {
    /// An issuer that speaks of another one, or of places in clear text, is none.
    fn check(self, issuer: &IssuerUrl) -> Result<Self, FetchError> {
        let addresses = [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri];
        let is_safe = |text: &&String| Url::parse(text).is_ok_and(|url| is_safe(&url));
        if self.issuer == issuer.0 && addresses.iter().all(is_safe) {
            Ok(self)
        } else {
            Err(FetchError("the metadata is not that of the issuer".into()))
        }
    }
}

impl Issuer {
    /// Knows nothing of the issuer yet; it is asked when its first token comes.
    pub fn new(settings: IssuerSettings, fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            fetch,
            clock,
            known: Mutex::new(None),
        }
    }

    pub(super) fn client_id(&self) -> &str {
        &self.settings.client_id
    }

    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, FetchError> {
        Ok(self.known(KEYS_LAST).await?.metadata)
    }

    /// Says who sent a bearer token.
    pub async fn verify_bearer(&self, token: &str) -> Result<Person, TokenRefused> {
        let audience = self.settings.audience.as_deref().unwrap_or(self.client_id());
        let claims = self.verify(token, audience).await?;
        Ok(claims.person())
    }

    /// Says who has signed in, if the token answers the sign-in that has this nonce.
    pub(super) async fn verify_sign_in(&self, token: &str, nonce: &str) -> Result<Person, TokenRefused> {
        let claims = self.verify(token, self.client_id()).await?;
        let is_ours = claims
            .azp
            .as_deref()
            .is_none_or(|party| party == self.client_id());
        if claims.nonce.as_deref() != Some(nonce) {
            return Err(TokenRefused::Invalid("another nonce"));
        }
        if !is_ours {
            return Err(TokenRefused::Invalid("another client"));
        }
        Ok(claims.person())
    }

    async fn verify(&self, token: &str, audience: &str) -> Result<Claims, TokenRefused> {
        if token.len() > MAX_TOKEN {
            return Err(TokenRefused::Invalid("too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenRefused::Invalid("no token"))?;
        // What the token says of itself chooses among two ways and never opens another one.
        let algorithm = match header.alg {
            Algorithm::RS256 | Algorithm::ES256 => header.alg,
            _ => return Err(TokenRefused::Invalid("another algorithm")),
        };
        let kid = header.kid.ok_or(TokenRefused::Invalid("no key is named"))?;
        let mut known = self.known(KEYS_LAST).await?;
        if known.keys.find(&kid).is_none() {
            known = self.known(KEYS_REST).await?;
        }
        let key = known
            .keys
            .find(&kid)
            .ok_or(TokenRefused::Invalid("unknown key"))?;
        let key = decoding_key(key, algorithm)?;
        let claims: Claims = jsonwebtoken::decode(token, &key, &signature_of(algorithm))
            .map_err(|_| TokenRefused::Invalid("wrong signature or claims"))?
            .claims;
        claims.check(&self.settings.issuer, audience, self.clock.now())?;
        Ok(claims)
    }

    /// Returns what is known of the issuer, read again if it is older than `age`.
    ///
    /// When it cannot be read again, what is known still counts.
    async fn known(&self, age: SignedDuration) -> Result<Known, FetchError> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some(known) = known.as_ref()
            && now.duration_since(known.read_at) < age
        {
            return Ok(known.clone());
        }
        let read = match (self.read(now).await, known.take()) {
            (Ok(read), _) => read,
            (Err(_), Some(old)) => Known {
                // And is not asked again for each request meanwhile.
                read_at: now,
                ..old
            },
            (Err(error), None) => return Err(error),
        };
        *known = Some(read.clone());
        Ok(read)
    }

    async fn read(&self, now: Timestamp) -> Result<Known, FetchError> {
        let issuer = &self.settings.issuer;
        let address = format!(
            "{}/.well-known/openid-configuration",
            issuer.0.trim_end_matches('/')
        );
        let metadata: Metadata = self.document(&address).await?;
        let metadata = metadata.check(issuer)?;
        // Keys that we do not know how to use are left out, and are no reason to refuse the others.
        let keys: Keys = self.document(&metadata.jwks_uri).await?;
        let keys = keys
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok());
        Ok(Known {
            metadata: Arc::new(metadata),
            keys: Arc::new(JwkSet { keys: keys.collect() }),
            read_at: now,
        })
    }

    async fn document<T: DeserializeOwned>(&self, url: &str) -> Result<T, FetchError> {
        let fetched = self.fetch.get(url).await?;
        if fetched.status != 200 {
            return Err(FetchError(format!("it answers {}", fetched.status).into()));
        }
        serde_json::from_slice(&fetched.body).map_err(|error| FetchError(error.into()))
    }

    pub(super) fn fetch(&self) -> &dyn Fetch {
        &*self.fetch
    }
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<serde_json::Value>,
}

/// Takes a key for the one algorithm that it may be used with.
fn decoding_key(key: &Jwk, algorithm: Algorithm) -> Result<DecodingKey, TokenRefused> {
    let expected = match algorithm {
        Algorithm::ES256 => KeyAlgorithm::ES256,
        _ => KeyAlgorithm::RS256,
    };
    let is_for_it = key.common.key_algorithm.is_none_or(|stated| stated == expected);
    let signs = key
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|usage| *usage == PublicKeyUse::Signature);
    if !is_for_it || !signs {
        return Err(TokenRefused::Invalid("the key is for something else"));
    }
    DecodingKey::from_jwk(key).map_err(|_| TokenRefused::Invalid("the key cannot be used"))
}

/// The signature is left to the library; what the claims must be is said below, by our clock.
fn signature_of(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}

impl Claims {
    fn check(&self, issuer: &IssuerUrl, audience: &str, now: Timestamp) -> Result<(), TokenRefused> {
        let (now, skew) = (now.as_second(), SKEW.as_secs());
        let is_for = match &self.aud {
            Audience::One(one) => one == audience,
            Audience::Several(several) => several.iter().any(|one| one == audience),
        };
        let refusal = if self.iss != issuer.0 {
            "another issuer"
        } else if !is_for {
            "for somebody else"
        } else if self.exp.saturating_add(skew) <= now {
            "expired"
        } else if self.nbf.is_some_and(|from| now.saturating_add(skew) < from) {
            "not valid yet"
        } else if self.sub.is_empty() || self.sub.len() > 255 {
            "no subject"
        } else {
            return Ok(());
        };
        Err(TokenRefused::Invalid(refusal))
    }

    fn person(&self) -> Person {
        let name = self
            .name
            .as_deref()
            .or(self.email.as_deref())
            .unwrap_or(&self.sub);
        Person::proven(&self.iss, &self.sub, name)
    }
}
