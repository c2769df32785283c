use std::time::Duration;

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::{Client, config::Builder, primitives::ByteStream};
use portwarden_core::object::{ObjectError, ObjectKey, ReadObject, RemoveObject, WriteObject};

use crate::{Aws, failure::Failure};

/// The bucket of layer catalogs, reports and SBOMs.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// Objects are up to some tens of megabytes; at a tenth of the bandwidth that a function has, this is enough.
    const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(1);

    /// Names the bucket.
    pub fn new(aws: &Aws, name: String) -> Self {
        let shared = aws.sdk.timeout_config().map(TimeoutConfig::to_builder);
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Self::ATTEMPT_TIMEOUT)
            .take_unset_from(shared.unwrap_or_default());
        let config = Builder::from(&aws.sdk)
            .timeout_config(timeouts.build())
            // An emulator has no names below its own.
            .force_path_style(aws.emulator.is_some())
            .build();
        Self {
            client: Client::from_conf(config),
            name,
        }
    }
}

#[async_trait]
impl ReadObject for Bucket {
    async fn read_object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, ObjectError> {
        const CALL: &str = "s3:GetObject";
        let answer = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key.to_string())
            .send()
            .await;
        let object = match answer {
            Ok(object) => object,
            Err(error) => {
                let failure = Failure::of(CALL, &error);
                return if failure.has_code("NoSuchKey") {
                    Ok(None)
                } else {
                    Err(ObjectError(failure.into()))
                };
            }
        };
        let content = object.body.collect().await;
        let content =
            content.map_err(|error| ObjectError(Failure::unreachable(CALL, &error.to_string()).into()))?;
        Ok(Some(content.to_vec()))
    }
}

#[async_trait]
impl WriteObject for Bucket {
    async fn write_object(
        &self,
        key: &ObjectKey,
        content_type: &'static str,
        content: Vec<u8>,
    ) -> Result<(), ObjectError> {
        let written = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key.to_string())
            .content_type(content_type)
            .body(ByteStream::from(content))
            .send()
            .await;
        written
            .map(drop)
            .map_err(|error| ObjectError(Failure::of("s3:PutObject", &error).into()))
    }
}

#[async_trait]
impl RemoveObject for Bucket {
    async fn remove_object(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        let removed = self
            .client
            .delete_object()
            .bucket(&self.name)
            .key(key.to_string())
            .send()
            .await;
        removed
            .map(drop)
            .map_err(|error| ObjectError(Failure::of("s3:DeleteObject", &error).into()))
    }
}
