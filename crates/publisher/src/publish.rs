//! The rules of publishing: versions are never changed, and links change last.

use futures_util::future::{try_join, try_join_all};
use portwarden_core::tenant_template::{
    self,
    publication::{BucketError, Edition, TemplateBucket, TemplateBuckets, TemplateKey, TemplateVersion},
};
use portwarden_oci::Digest;

use crate::{error::PublishError, request::Publication};

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The version that links lead to now.
    pub version: TemplateVersion,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// Where the latest template is.
    pub url: String,
    /// Where this version stays.
    pub version_url: String,
}

/// Writes the version to every bucket, and then lets the links of every bucket lead to it.
pub async fn publish(buckets: &dyn TemplateBuckets, wanted: &Publication) -> Result<Published, PublishError> {
    let Publication {
        main,
        copies,
        version,
        ..
    } = wanted;
    let contents = copies
        .iter()
        .map(|bucket| provide_version(buckets, bucket, wanted));
    let (content, contents) =
        try_join(provide_version(buckets, main, wanted), try_join_all(contents)).await?;
    let latest = copies.iter().zip(&contents);
    let latest = latest.map(|(bucket, content)| write(buckets, bucket, &Edition::Latest, content));
    try_join(
        write(buckets, main, &Edition::Latest, &content),
        try_join_all(latest),
    )
    .await?;
    Ok(Published {
        version: version.clone(),
        sha256: Digest::of(&content).hex(),
        url: main.url(&Edition::Latest),
        version_url: main.url(&Edition::Version(version.clone())),
    })
}

/// Sees to it that the version is in the bucket, and returns its content.
async fn provide_version(
    buckets: &dyn TemplateBuckets,
    bucket: &TemplateBucket,
    wanted: &Publication,
) -> Result<Vec<u8>, PublishError> {
    if wanted.version.to_string() != tenant_template::VERSION {
        // Another deployment made it, and this one rolls back to it.
        return read_version(buckets, bucket, &wanted.version).await;
    }
    if wanted.source_sha256 != tenant_template::source_sha256() {
        let version = wanted.version.clone();
        return Err(PublishError::OtherBuild { version });
    }
    let content = tenant_template::render(&wanted.connector).into_bytes();
    add_version(buckets, bucket, &wanted.version, &content).await?;
    Ok(content)
}

/// Removes what links lead to; the versions only if that is asked for, since stacks may still use them.
pub async fn withdraw(buckets: &dyn TemplateBuckets, published: &Publication) -> Result<(), PublishError> {
    let places = std::iter::once(&published.main).chain(&published.copies);
    try_join_all(places.map(|place| clear(buckets, place, published.remove_versions))).await?;
    Ok(())
}

async fn add_version(
    buckets: &dyn TemplateBuckets,
    bucket: &TemplateBucket,
    version: &TemplateVersion,
    content: &[u8],
) -> Result<(), PublishError> {
    let edition = Edition::Version(version.clone());
    let key = TemplateKey::template(&edition);
    if !buckets.create(bucket, &key, content).await?
        && buckets.read(bucket, &key).await?.as_deref() != Some(content)
    {
        return Err(PublishError::VersionTaken {
            version: version.clone(),
            bucket: bucket.clone(),
        });
    }
    write_checksum(buckets, bucket, &edition, content).await
}

async fn read_version(
    buckets: &dyn TemplateBuckets,
    bucket: &TemplateBucket,
    version: &TemplateVersion,
) -> Result<Vec<u8>, PublishError> {
    let key = TemplateKey::template(&Edition::Version(version.clone()));
    let content = buckets.read(bucket, &key).await?;
    content.ok_or_else(|| PublishError::VersionMissing {
        version: version.clone(),
        bucket: bucket.clone(),
        built: tenant_template::VERSION,
    })
}

async fn write(
    buckets: &dyn TemplateBuckets,
    bucket: &TemplateBucket,
    edition: &Edition,
    content: &[u8],
) -> Result<(), PublishError> {
    buckets
        .replace(bucket, &TemplateKey::template(edition), content)
        .await?;
    write_checksum(buckets, bucket, edition, content).await
}

async fn write_checksum(
    buckets: &dyn TemplateBuckets,
    bucket: &TemplateBucket,
    edition: &Edition,
    content: &[u8],
) -> Result<(), PublishError> {
    // Two spaces: as `sha256sum` writes it.
    let checksum = format!("{}  ecr-integration.template\n", Digest::of(content).hex());
    buckets
        .replace(bucket, &TemplateKey::checksum(edition), checksum.as_bytes())
        .await?;
    Ok(())
}

async fn clear(
    buckets: &dyn TemplateBuckets,
    bucket: &TemplateBucket,
    with_versions: bool,
) -> Result<(), BucketError> {
    let latest = [
        TemplateKey::template(&Edition::Latest),
        TemplateKey::checksum(&Edition::Latest),
    ];
    let cleared = async {
        let keys = if with_versions {
            buckets.list(bucket).await?
        } else {
            latest.into()
        };
        try_join_all(keys.iter().map(|key| buckets.remove(bucket, key))).await?;
        Ok(())
    };
    match cleared.await {
        // Gone with everything in it.
        Err(BucketError::Missing(_)) => Ok(()),
        cleared => cleared,
    }
}
