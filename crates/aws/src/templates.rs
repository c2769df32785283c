use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{Builder, Region as SdkRegion},
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use portwarden_core::tenant_template::publication::{
    BucketError, TemplateBucket, TemplateBuckets, TemplateKey,
};

use crate::{
    Aws,
    failure::{Failure, Kind},
};

/// The buckets that tenants' templates are published in, each in its own region.
#[derive(Debug, Clone)]
pub struct PublicTemplates {
    aws: Aws,
}

impl PublicTemplates {
    /// Reaches S3 in any region.
    pub fn new(aws: Aws) -> Self {
        Self { aws }
    }

    fn client(&self, bucket: &TemplateBucket) -> Client {
        let config = Builder::from(&self.aws.sdk)
            .region(SdkRegion::new(bucket.region().as_str().to_owned()))
            // An emulator has no names below its own.
            .force_path_style(self.aws.emulator.is_some())
            .build();
        Client::from_conf(config)
    }
}

#[async_trait]
impl TemplateBuckets for PublicTemplates {
    async fn read(&self, bucket: &TemplateBucket, key: &TemplateKey) -> Result<Option<Vec<u8>>, BucketError> {
        const CALL: &str = "s3:GetObject";
        let request = self
            .client(bucket)
            .get_object()
            .bucket(bucket.name())
            .key(key.to_string());
        let object = match request.send().await {
            Ok(object) => object,
            Err(error) => {
                let failure = Failure::of(CALL, &error);
                return if failure.has_code("NoSuchKey") {
                    Ok(None)
                } else {
                    Err(bucket_error(bucket, failure))
                };
            }
        };
        let content = object.body.collect().await;
        let content =
            content.map_err(|error| bucket_error(bucket, Failure::unreachable(CALL, &error.to_string())))?;
        Ok(Some(content.to_vec()))
    }

    async fn create(
        &self,
        bucket: &TemplateBucket,
        key: &TemplateKey,
        content: &[u8],
    ) -> Result<bool, BucketError> {
        let written = self
            .client(bucket)
            .put_object()
            .bucket(bucket.name())
            .key(key.to_string())
            .content_type(CONTENT_TYPE)
            .if_none_match("*")
            .body(ByteStream::from(content.to_vec()))
            .send()
            .await;
        match written {
            Ok(_) => Ok(true),
            Err(error) => {
                let failure = Failure::of("s3:PutObject", &error);
                if failure.has_code("PreconditionFailed") {
                    Ok(false)
                } else {
                    Err(bucket_error(bucket, failure))
                }
            }
        }
    }

    async fn replace(
        &self,
        bucket: &TemplateBucket,
        key: &TemplateKey,
        content: &[u8],
    ) -> Result<(), BucketError> {
        let request = self
            .client(bucket)
            .put_object()
            .bucket(bucket.name())
            .key(key.to_string())
            .content_type(CONTENT_TYPE)
            // Whoever reads the latest one wants the latest one.
            .cache_control("no-cache")
            .body(ByteStream::from(content.to_vec()));
        done(bucket, "s3:PutObject", request.send().await)
    }

    async fn remove(&self, bucket: &TemplateBucket, key: &TemplateKey) -> Result<(), BucketError> {
        let request = self
            .client(bucket)
            .delete_object()
            .bucket(bucket.name())
            .key(key.to_string());
        done(bucket, "s3:DeleteObject", request.send().await)
    }

    async fn list(&self, bucket: &TemplateBucket) -> Result<Vec<TemplateKey>, BucketError> {
        let mut pages = self
            .client(bucket)
            .list_objects_v2()
            .bucket(bucket.name())
            .prefix(TemplateKey::prefix())
            .into_paginator()
            .send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| bucket_error(bucket, Failure::of("s3:ListObjectsV2", &error)))?;
            let names = page.contents().iter().filter_map(|object| object.key());
            keys.extend(names.filter_map(TemplateKey::found));
        }
        Ok(keys)
    }
}

/// Browsers show it, and CloudFormation does not look at it.
const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

fn done<T, E>(
    bucket: &TemplateBucket,
    call: &'static str,
    answer: Result<T, SdkError<E>>,
) -> Result<(), BucketError>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    answer
        .map(drop)
        .map_err(|error| bucket_error(bucket, Failure::of(call, &error)))
}

fn bucket_error(bucket: &TemplateBucket, failure: Failure) -> BucketError {
    let bucket = bucket.clone();
    match failure.kind() {
        _ if failure.has_code("NoSuchBucket") => BucketError::Missing(bucket),
        Kind::Denied => BucketError::Denied(bucket, failure.into()),
        Kind::Throttled | Kind::Expired | Kind::Refused | Kind::Unreachable => {
            BucketError::Unavailable(bucket, failure.into())
        }
    }
}
