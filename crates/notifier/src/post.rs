//! Sends to addresses that tenants named.

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use portwarden_core::webhook::{Outcome, Signed, WebhookUrl};
use portwarden_registry::{Network, NetworkError, Refusal};
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use url::Url;

/// Sends a message to a webhook.
#[async_trait]
pub trait Post: Send + Sync {
    /// Makes one attempt; whatever happens is an outcome.
    async fn post(&self, url: &WebhookUrl, signed: &Signed, body: Vec<u8>) -> Outcome;
}

/// Sends by HTTPS to public addresses.
#[derive(Clone)]
pub struct HttpsPost {
    network: Network,
    is_beside_emulator: bool,
    timeout: Duration,
}

/// How long an attempt may take, from finding the address to the status of the answer.
///
/// Source: Standard Webhooks, "Request timeouts".
const TIMEOUT: Duration = Duration::from_secs(15);

/// What is not public has one code, whatever it is: nobody is told what it is that they reach.
const ADDRESS_REFUSED: Outcome = Outcome::Failed {
    code: "address_refused",
};

impl HttpsPost {
    /// Sets up the network, once in a process; beside an emulator webhooks may be on this machine, by plain HTTP.
    pub fn new(is_beside_emulator: bool) -> Result<Self, NetworkError> {
        Ok(Self::over(Network::builder().build()?, is_beside_emulator))
    }

    /// Sends over a network.
    pub fn over(network: Network, is_beside_emulator: bool) -> Self {
        Self {
            network,
            is_beside_emulator,
            timeout: TIMEOUT,
        }
    }

    /// Gives up an attempt after `timeout`; 15 seconds at first.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the client for an address, if it may be dialled.
    fn client(&self, url: &Url) -> Option<reqwest::Client> {
        if let Ok(client) = self.network.client_for(url) {
            return Some(client.clone());
        }
        let is_local = self.is_beside_emulator && WebhookUrl::parse_beside_emulator(url.as_str()).is_ok();
        let (host, port) = url
            .host_str()
            .zip(url.port_or_known_default())
            .filter(|_| is_local)?;
        // The rules of a network are fixed when it is made, and a test's server has another port each time.
        let network = Network::builder()
            .plain_http(format!("{host}:{port}"))
            .build()
            .ok()?;
        network.client_for(url).cloned().ok()
    }
}

#[async_trait]
impl Post for HttpsPost {
    async fn post(&self, url: &WebhookUrl, signed: &Signed, body: Vec<u8>) -> Outcome {
        let url = Url::parse(url.as_str()).ok();
        let Some((url, client)) = url.and_then(|url| self.client(&url).map(|client| (url, client))) else {
            return ADDRESS_REFUSED;
        };
        let answer = client
            .post(url)
            .timeout(self.timeout)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &signed.id)
            .header("webhook-timestamp", &signed.timestamp)
            .header("webhook-signature", &signed.signature)
            .body(body)
            .send()
            .await;
        // Nothing of an answer is read but its head: the status says all, and the rest may be endless.
        match answer {
            Ok(answer) if answer.status().is_success() => Outcome::Taken {
                status: answer.status().as_u16(),
            },
            Ok(answer) => Outcome::Refused {
                status: answer.status().as_u16(),
                retry_after: retry_after(&answer),
            },
            // The error itself names the address, which may be as good as a password, so it is not kept.
            Err(error) if error.is_timeout() => Outcome::Failed { code: "timed_out" },
            Err(error) if is_refused(&error) => ADDRESS_REFUSED,
            Err(_) => Outcome::Failed { code: "unreachable" },
        }
    }
}

/// Reads how long the other side wants to be left alone; only seconds, which are what is sent.
fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let is_asked = matches!(
        answer.status(),
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    is_asked.then(|| Duration::from_secs(seconds))
}

/// Tells whether the resolver refused all addresses of the name.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<std::io::Error>();
        let inner = inner.and_then(|error| error.get_ref()?.downcast_ref::<Refusal>());
        if cause.is::<Refusal>() || inner.is_some() {
            return true;
        }
        source = cause.source();
    }
    false
}
