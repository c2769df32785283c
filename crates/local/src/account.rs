//! An AWS account in the emulator: the clients of its root.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use portwarden_core::id::{AccountId, Region};

/// The root of one account in one region of the emulator.
#[derive(Debug, Clone)]
pub struct Account {
    endpoint: String,
    id: AccountId,
    region: Region,
}

impl Account {
    pub(crate) fn new(endpoint: String, id: AccountId, region: Region) -> Self {
        Self { endpoint, id, region }
    }

    /// Returns the account's number.
    pub fn id(&self) -> &AccountId {
        &self.id
    }

    /// Returns the region.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Returns the emulator's base URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the name that AWS gives to the account's registry in this region.
    pub fn registry(&self) -> String {
        format!("{}.dkr.ecr.{}.amazonaws.com", self.id, self.region)
    }

    /// Returns the header that signs a call of an API for which there is no client here: the emulator takes any signature
    /// for an account's root.
    pub(crate) fn authorization(&self, service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/{}/{service}/aws4_request, SignedHeaders=host, Signature=0",
            self.id, self.region
        )
    }

    /// Returns settings for clients that act as the account's root.
    pub fn sdk_config(&self) -> SdkConfig {
        // The emulator takes a bare account number as the access key of that account's root, with any secret.
        let credentials = Credentials::new(self.id.as_str(), "emulator", None, None, "portwarden-local");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_config::Region::new(self.region.as_str().to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&self.endpoint)
            .build()
    }

    pub(crate) fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        aws_sdk_cloudformation::Client::new(&self.sdk_config())
    }

    pub(crate) fn ecr(&self) -> aws_sdk_ecr::Client {
        aws_sdk_ecr::Client::new(&self.sdk_config())
    }

    pub(crate) fn eventbridge(&self) -> aws_sdk_eventbridge::Client {
        aws_sdk_eventbridge::Client::new(&self.sdk_config())
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        // A bucket's own host name would not resolve.
        let config = aws_sdk_s3::config::Builder::from(&self.sdk_config())
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk_config())
    }
}
