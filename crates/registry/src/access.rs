use std::{collections::HashMap, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use portwarden_oci::RepositoryName;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::{RegistryError, endpoint::Endpoint, header::Challenge};

/// Who we are to a registry.
#[derive(Clone)]
pub enum Credentials {
    /// Nobody.
    Anonymous,
    /// A user with a password; for Amazon ECR `AWS` and the password of `GetAuthorizationToken`.
    Basic {
        /// The user's name.
        user: String,
        /// The user's password or token.
        password: SecretString,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic",
        })
    }
}

impl Credentials {
    /// Returns the value of an `Authorization` header.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let Self::Basic { user, password } = self else {
            return None;
        };
        let encoded = BASE64_STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        sensitive(&format!("Basic {encoded}"))
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Keeps what opens a registry: the credentials, and the tokens that they were exchanged for.
///
/// Tokens are not timed: one that the registry rejects is fetched anew, which costs one round trip and needs no clock.
pub(crate) struct Access {
    credentials: Credentials,
    tokens: Mutex<HashMap<RepositoryName, HeaderValue>>,
}

impl Access {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            tokens: Mutex::default(),
        }
    }

    /// Returns what to send first: a token where there is one, else the credentials themselves.
    pub(crate) async fn authorization(&self, repository: &RepositoryName) -> Option<HeaderValue> {
        let tokens = self.tokens.lock().await;
        tokens
            .get(repository)
            .cloned()
            .or_else(|| self.credentials.header())
    }

    /// Answers a 401: fetches a token when the registry offers one, unless another task just did.
    ///
    /// `None` means that nothing but what was `rejected` can be offered.
    pub(crate) async fn renew(
        &self,
        repository: &RepositoryName,
        headers: &HeaderMap,
        rejected: Option<&HeaderValue>,
        endpoint: &Endpoint,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        // Held during the fetch, so that layers that are pulled at once share one token.
        let mut tokens = self.tokens.lock().await;
        match tokens.get(repository) {
            Some(token) if Some(token) != rejected => return Ok(Some(token.clone())),
            _ => tokens.remove(repository),
        };
        let Some(url) = token_url(headers, repository) else {
            return Ok(None);
        };
        let Token(token) = endpoint.fetch_token(url, self.credentials.header()).await?;
        tokens.insert(repository.clone(), token.clone());
        Ok(Some(token))
    }
}

/// Finds the address of the token service in a challenge.
///
/// The scope is always our own and read-only, never the challenge's.
/// Source: the distribution project's "Token Authentication Specification".
fn token_url(headers: &HeaderMap, repository: &RepositoryName) -> Option<Url> {
    let challenge = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Challenge::parse_list)
        .find(|challenge| challenge.scheme == "bearer")?;
    let mut url = Url::parse(challenge.parameters.get("realm")?).ok()?;
    url.set_fragment(None);
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = challenge.parameters.get("service") {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &format!("repository:{repository}:pull"));
    }
    Some(url)
}

/// A token as the value of an `Authorization` header.
pub(crate) struct Token(pub(crate) HeaderValue);

impl Token {
    /// The largest answer of a token service that is read, in bytes.
    pub(crate) const MAX_ANSWER: usize = 256 * 1024;

    /// Takes the token out of a token service's answer.
    pub(crate) fn parse(answer: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        let token = answer.token.or(answer.access_token)?;
        sensitive(&format!("Bearer {token}")).map(Self)
    }
}

/// Adds an `Authorization` header to a request.
pub(crate) fn authorize(
    request: reqwest::RequestBuilder,
    authorization: Option<&HeaderValue>,
) -> reqwest::RequestBuilder {
    match authorization {
        Some(value) => request.header(AUTHORIZATION, value.clone()),
        None => request,
    }
}
