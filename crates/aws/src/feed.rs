use std::time::Duration;

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::{
    Client,
    config::Builder,
    error::{ProvideErrorMetadata as _, SdkError},
};
use portwarden_core::advisory::{FeedAnswer, FeedError, FeedFile, ReadFeed};

use crate::{Aws, failure::Failure};

/// A feed of advisories in a bucket, in the layout of OSV's own.
#[derive(Debug, Clone)]
pub struct S3Feed {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Feed {
    /// The largest archive has some hundreds of megabytes.
    const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(3);

    /// Names the bucket and what its keys begin with.
    pub fn new(aws: &Aws, bucket: String, prefix: String) -> Self {
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
            bucket,
            prefix,
        }
    }
}

#[async_trait]
impl ReadFeed for S3Feed {
    async fn read_feed(
        &self,
        file: &FeedFile,
        known: Option<&str>,
        limit: u64,
    ) -> Result<FeedAnswer, FeedError> {
        const CALL: &str = "s3:GetObject";
        let unreachable = |failure: Failure| FeedError::Unreachable(file.clone(), failure.into());
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(format!("{}{file}", self.prefix))
            .set_if_none_match(known.map(str::to_owned))
            .send()
            .await;
        let object = match answer {
            Ok(object) => object,
            Err(SdkError::ServiceError(error)) if error.raw().status().as_u16() == 304 => {
                return Ok(FeedAnswer::Unchanged);
            }
            Err(error) if error.code() == Some("NoSuchKey") => return Err(FeedError::Missing(file.clone())),
            Err(error) => return Err(unreachable(Failure::of(CALL, &error))),
        };
        let is_too_large = |length: u64| length > limit;
        if object
            .content_length()
            .is_some_and(|length| length.try_into().is_ok_and(is_too_large))
        {
            return Err(FeedError::TooLarge(file.clone(), limit));
        }
        let tag = object.e_tag().map(str::to_owned);
        let mut body = object.body;
        let mut content = Vec::new();
        while let Some(part) = body.next().await {
            content
                .extend(part.map_err(|error| unreachable(Failure::unreachable(CALL, &error.to_string())))?);
            if is_too_large(content.len() as u64) {
                return Err(FeedError::TooLarge(file.clone(), limit));
            }
        }
        Ok(FeedAnswer::File { content, tag })
    }
}
