use std::{sync::OnceLock, time::Duration};

use async_trait::async_trait;
use reqwest::{Client, redirect::Policy};

/// Asks the issuer of tokens, over HTTP.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// Reads what lies at an address.
    async fn get(&self, url: &str) -> Result<Fetched, FetchError>;

    /// Sends a form.
    async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Result<Fetched, FetchError>;
}

/// An answer of the issuer.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// The issuer of tokens cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("the issuer of tokens does not answer as it must")]
pub struct FetchError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Over the network; the client is made when it is first needed, since most requests come with keys that are known.
#[derive(Debug, Default)]
pub struct HttpFetch {
    client: OnceLock<Client>,
}

/// A document of an issuer has a few kilobytes.
const MAX_BODY: usize = 256 * 1024;

const TIMEOUT: Duration = Duration::from_secs(5);

impl HttpFetch {
    fn client(&self) -> Result<&Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // An issuer's documents lie where they lie; a redirect would lead us anywhere.
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| FetchError(error.into()))?;
        Ok(self.client.get_or_init(|| client))
    }

    async fn send(request: reqwest::RequestBuilder) -> Result<Fetched, FetchError> {
        let fail = |error: reqwest::Error| FetchError(error.without_url().into());
        let mut answer = request.send().await.map_err(fail)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(fail)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(FetchError("the answer is too large".into()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { status, body })
    }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        Self::send(self.client()?.get(url)).await
    }

    async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Result<Fetched, FetchError> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self
            .client()?
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        Self::send(request).await
    }
}
