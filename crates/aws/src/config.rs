use std::{
    str::FromStr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_config::{
    AppName, BehaviorVersion, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use portwarden_core::{id::Region, receipt::CallCounter, session::Session};
use secrecy::ExposeSecret as _;

use crate::{Settings, http};

/// How AWS is reached: everything that the services' clients share, made once in a process.
#[derive(Debug, Clone)]
pub struct Aws {
    pub(crate) sdk: SdkConfig,
    pub(crate) emulator: Option<EmulatorEndpoint>,
    pub(crate) calls: Arc<CallCounter>,
    /// A client reads the list of partitions and compiles its expressions when it is made, so that a process has one of SQS
    /// for all its queues.
    sqs: Arc<OnceLock<aws_sdk_sqs::Client>>,
}

/// The settings that every function has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region that the function runs in, from `AWS_REGION`; there is no other to fall back to.
    pub region: Region,
    /// The emulator to use in the place of AWS, from `INSECURE_EMULATOR_ENDPOINT`.
    pub emulator: Option<EmulatorEndpoint>,
}

/// The address of an AWS emulator: plain HTTP, and only on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmulatorEndpoint {
    host: &'static str,
    port: u16,
}

/// A text is not an emulator's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an emulator's address is http://127.0.0.1 or http://localhost, a colon and a port")]
pub struct EmulatorEndpointError;

/// AWS answers from inside a region within milliseconds, and an API destination waits for 5 s in all: what has not
/// connected after one second is tried elsewhere.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Far above what a healthy service takes for a small answer; a request that hangs must leave time for another.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A second is the SDK's default, which a caller that waits for 3.5 s in all does not have.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

impl AwsSettings {
    /// Reads the settings; `None` if one is missing, which `settings` remembers.
    pub fn read(settings: &mut Settings) -> Option<Self> {
        let region = settings.required("AWS_REGION");
        let emulator = settings.optional("INSECURE_EMULATOR_ENDPOINT");
        Some(Self {
            region: region?,
            emulator,
        })
    }
}

impl Aws {
    /// Takes the credentials that Lambda gives a function, in its environment.
    ///
    /// The SDK's own way looks everywhere else, too, which a function pays for at each start, and reads settings of which the
    /// template knows nothing.
    pub fn of_function(settings: &AwsSettings) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(FIRST_BACKOFF);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let credentials = EnvironmentVariableCredentialsProvider::new();
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(aws_config::Region::new(settings.region.as_str().to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http::client())
            .retry_config(retries)
            .timeout_config(timeouts);
        sdk.set_app_name(AppName::new("portwarden").ok());
        sdk.set_endpoint_url(settings.emulator.as_ref().map(EmulatorEndpoint::url));
        Self::over(sdk.build(), settings.emulator.clone())
    }

    /// Takes a configuration that is made elsewhere, with other credentials than the process's, say.
    pub fn over(sdk: SdkConfig, emulator: Option<EmulatorEndpoint>) -> Self {
        Self {
            sdk,
            emulator,
            calls: Arc::default(),
            sqs: Arc::default(),
        }
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        self.sqs
            .get_or_init(|| aws_sdk_sqs::Client::new(&self.sdk))
            .clone()
    }

    /// Returns what counts the calls that are made with tenants' sessions.
    pub fn calls(&self) -> Arc<CallCounter> {
        Arc::clone(&self.calls)
    }
}

/// Writes a session for one call, and counts that call.
pub(crate) fn counted(session: &Session, calls: &CallCounter) -> Credentials {
    calls.count(session);
    credentials(session)
}

/// Writes a session as the SDK wants it.
pub(crate) fn credentials(session: &Session) -> Credentials {
    Credentials::new(
        session.access_key_id.clone(),
        session.secret_access_key.expose_secret(),
        Some(session.session_token.expose_secret().to_owned()),
        None,
        "portwarden",
    )
}

impl EmulatorEndpoint {
    /// Returns the address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for EmulatorEndpoint {
    type Err = EmulatorEndpointError;

    fn from_str(text: &str) -> Result<Self, EmulatorEndpointError> {
        for host in ["127.0.0.1", "localhost"] {
            let port = text
                .strip_prefix("http://")
                .and_then(|rest| rest.strip_prefix(host))
                .and_then(|rest| rest.strip_prefix(':'))
                .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|port| port.parse().ok());
            if let Some(port) = port {
                return Ok(Self { host, port });
            }
        }
        Err(EmulatorEndpointError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_on_this_machine() {
        for text in ["http://127.0.0.1:4566", "http://localhost:1"] {
            assert_eq!(
                text.parse::<EmulatorEndpoint>().map(|e| e.url()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "",
            "http://127.0.0.1",
            "https://127.0.0.1:4566",
            "http://127.0.0.1:4566/",
            "http://127.0.0.1:+1",
            "http://127.0.0.1:99999",
            "http://localhost.evil.example:80",
            "http://localhost:80@evil.example",
            "http://169.254.169.254:80",
            "http://0.0.0.0:4566",
        ] {
            assert_eq!(
                text.parse::<EmulatorEndpoint>(),
                Err(EmulatorEndpointError),
                "{text:?}"
            );
        }
    }

    #[test]
    fn there_is_no_region_to_fall_back_to() {
        let mut settings = Settings::from_vars([]);
        assert_eq!(AwsSettings::read(&mut settings), None);
        let error = settings.finish(|| Some(())).unwrap_err();
        assert_eq!(error.to_string(), "AWS_REGION is missing");
    }
}
