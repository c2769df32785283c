//! `EventBridge`'s API destination with a Basic-auth connection, simulated: what tenants' accounts send events with.
//!
//! The emulator has API destinations, but refuses events of `aws.ecr` as AWS does, and does not retry.
//!
//! Source: EventBridge user guide, "API destinations" (`eb-api-destinations`), "Connections" (`eb-target-connection*`)
//! and "Retrying event delivery" (`eb-rule-retry-policy`).

mod policy;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use portwarden_core::random::Randomness;
use reqwest::{
    StatusCode, Url,
    header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderMap, RANGE, RETRY_AFTER, USER_AGENT},
    redirect,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep};

use self::policy::Next;
pub use self::policy::{Attempt, Cause, Exhausted, RetryAfter, RetryPolicy};
use crate::error::LocalError;

/// How long an API destination waits for an answer.
pub const TIME_OUT: Duration = Duration::from_secs(5);

/// Delivers events to one endpoint until they are taken, refused or too old.
#[derive(Debug)]
pub struct ApiDestination {
    client: reqwest::Client,
    endpoint: Url,
    policy: RetryPolicy,
    connection: Mutex<Connection>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The endpoint took it.
    Delivered {
        /// The endpoint's answer.
        status: StatusCode,
        /// How often it was tried, this time included.
        attempts: u32,
    },
    /// It goes to the dead-letter queue, or is lost without one.
    DeadLetter {
        /// Why.
        cause: Cause,
        /// How often it was tried.
        attempts: u32,
    },
}

/// The user name and password of a connection.
#[derive(Debug, Clone)]
pub struct BasicAuth {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

#[derive(Debug, Clone)]
enum Connection {
    Authorized(BasicAuth),
    /// The endpoint answered 401 or 407: the secret is gone until somebody updates the connection.
    Deauthorized,
}

impl ApiDestination {
    /// Makes a destination that posts to `endpoint`.
    pub fn new(endpoint: Url, auth: BasicAuth, policy: RetryPolicy) -> Result<Self, LocalError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(TIME_OUT)
            .build()
            .map_err(|source| LocalError::call("prepare HTTP", source))?;
        Ok(Self {
            client,
            endpoint,
            policy,
            connection: Mutex::new(Connection::Authorized(auth)),
        })
    }

    /// Delivers one event, which takes as long as its retries do.
    pub async fn deliver(&self, event: &[u8], randomness: &dyn Randomness) -> Delivery {
        let start = Instant::now();
        let mut attempts = 0;
        loop {
            let attempt = self.attempt(event).await;
            attempts += 1;
            match self
                .policy
                .next(&attempt, attempts, start.elapsed(), fraction(randomness))
            {
                Next::Delivered(status) => return Delivery::Delivered { status, attempts },
                Next::DeadLetter(cause) => return Delivery::DeadLetter { cause, attempts },
                Next::RetryIn(delay) => {
                    tracing::info!(attempt = ?attempt, attempts, delay_ms = delay.as_millis(), "event will be delivered again");
                    sleep(delay).await;
                }
            }
        }
    }

    /// Tells whether the connection still has its secret.
    pub fn is_authorized(&self) -> bool {
        matches!(self.connection(), Connection::Authorized(_))
    }

    /// Gives the connection a new secret, as a person does after a de-authorisation.
    pub fn authorize(&self, auth: BasicAuth) {
        self.set_connection(Connection::Authorized(auth));
    }

    async fn attempt(&self, event: &[u8]) -> Attempt {
        let Connection::Authorized(auth) = self.connection() else {
            return Attempt::Deauthorized;
        };
        let answer = self
            .client
            .post(self.endpoint.clone())
            .basic_auth(&auth.username, Some(auth.password.expose_secret()))
            .header(USER_AGENT, "Amazon/EventBridge/ApiDestinations")
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(RANGE, "bytes=0-1048575")
            .header(ACCEPT_ENCODING, "gzip,deflate")
            .header(CONNECTION, "close")
            .body(event.to_vec())
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let status = answer.status();
                if matches!(
                    status,
                    StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                ) {
                    self.set_connection(Connection::Deauthorized);
                }
                Attempt::Answered {
                    status,
                    retry_after: retry_after(answer.headers()),
                }
            }
            Err(error) if error.is_timeout() => Attempt::TimedOut,
            Err(_) => Attempt::Unreachable,
        }
    }

    fn connection(&self) -> Connection {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_connection(&self, connection: Connection) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }
}

fn retry_after(headers: &HeaderMap) -> RetryAfter {
    headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<i64>().ok())
        .map_or(RetryAfter::NotGiven, RetryAfter::from_seconds)
}

/// Returns a number from 0 to 1.
fn fraction(randomness: &dyn Randomness) -> f64 {
    let mut bytes = [0; 4];
    randomness.fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
