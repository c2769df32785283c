//! Pushes an image of one's choice to an account's registry, as any container tool would.
//!
//! Source: OCI distribution specification, "Push".

use std::{error::Error, path::Path, str::FromStr, sync::Arc};

use futures_util::future::BoxFuture;
use http::{
    StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use portwarden_oci::{
    Descriptor, Digest, Manifest, MediaType, Reference, ReferenceError, RepositoryName, Tag, Version,
};
use portwarden_registry::{
    AllowedHosts, Credentials, ImageSource, LayoutError, LayoutReference, Network, Registry,
};
use portwarden_testkit::{image::write_oci_layout, sample};
use reqwest::{Response, Url};

use crate::{account::Account, error::LocalError};

type BoxError = Box<dyn Error + Send + Sync>;

/// Which image to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageChoice {
    /// The test kit's sample: a small web service of Python and Node on Debian.
    Sample,
    /// An image of an OCI layout on disk.
    Layout(LayoutReference),
    /// An image of a registry that anybody may pull from.
    Registry(Reference),
}

/// Why a text chooses no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageChoiceError {
    /// It starts with `oci:` and names no layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It is not a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// An image as it lies in a registry after a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// The digest that the tag points to.
    pub digest: Digest,
    /// The platforms' images where that is an index, else the image itself.
    pub images: Vec<Digest>,
}

impl FromStr for ImageChoice {
    type Err = ImageChoiceError;

    /// Reads `oci:DIR[:TAG|@DIGEST]` or a registry reference.
    fn from_str(text: &str) -> Result<Self, ImageChoiceError> {
        Ok(if text.starts_with("oci:") {
            Self::Layout(text.parse()?)
        } else {
            Self::Registry(text.parse()?)
        })
    }
}

impl ImageChoice {
    /// Opens the image for reading; the sample is written below `state` first.
    pub async fn open(&self, state: &Path) -> Result<(Arc<dyn ImageSource>, Version), LocalError> {
        let fail = |source: BoxError| LocalError::Image {
            image: self.to_string(),
            source,
        };
        match self {
            Self::Sample => {
                let directory = state.join("sample");
                let tag = sample_tag();
                write_oci_layout(&directory, &tag, &sample::image().image)
                    .map_err(|source| LocalError::file(&directory, source))?;
                let layout = LayoutReference {
                    directory,
                    version: Some(Version::Tag(tag)),
                };
                let (layout, version) = layout.open().await.map_err(|error| fail(Box::new(error)))?;
                Ok((Arc::new(layout), version))
            }
            Self::Layout(layout) => {
                let (layout, version) = layout
                    .clone()
                    .open()
                    .await
                    .map_err(|error| fail(Box::new(error)))?;
                Ok((Arc::new(layout), version))
            }
            Self::Registry(reference) => {
                let registry = reference.registry();
                let network = if is_loopback(registry) {
                    Network::builder().plain_http(registry)
                } else {
                    Network::builder()
                };
                let network = network.build().map_err(|error| fail(Box::new(error)))?;
                let registry = Registry::new(
                    &network,
                    registry,
                    Credentials::Anonymous,
                    AllowedHosts::AnyPublic,
                )
                .map_err(|error| fail(Box::new(error)))?;
                Ok((
                    Arc::new(registry.repository(reference.repository().clone())),
                    reference.version().clone(),
                ))
            }
        }
    }

    /// Names the repository and the tag that the image gets: those that it has, as far as it has them.
    pub fn destination(&self) -> (RepositoryName, Tag) {
        let (name, version) = match self {
            Self::Sample => (None, None),
            Self::Layout(layout) => {
                let name = layout.directory.file_name().and_then(|name| name.to_str());
                (
                    name.map(str::to_ascii_lowercase)
                        .and_then(|name| name.parse().ok()),
                    layout.version.clone(),
                )
            }
            Self::Registry(reference) => (
                Some(reference.repository().clone()),
                Some(reference.version().clone()),
            ),
        };
        let tag = match version {
            Some(Version::Tag(tag)) => Some(tag),
            Some(Version::Digest(_)) | None => None,
        };
        (
            name.unwrap_or_else(sample_repository),
            tag.unwrap_or_else(sample_tag),
        )
    }
}

impl std::fmt::Display for ImageChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sample => f.write_str("the sample image"),
            Self::Layout(layout) => {
                write!(f, "oci:{}", layout.directory.display())?;
                match &layout.version {
                    Some(Version::Tag(tag)) => write!(f, ":{tag}"),
                    Some(Version::Digest(digest)) => write!(f, "@{digest}"),
                    None => Ok(()),
                }
            }
            Self::Registry(reference) => write!(f, "{}/{}", reference.registry(), reference.repository()),
        }
    }
}

fn sample_repository() -> RepositoryName {
    "shop/web".parse().expect("a constant name is valid")
}

fn sample_tag() -> Tag {
    "1.4".parse().expect("a constant tag is valid")
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Creates a repository unless it is there.
pub async fn create_repository(account: &Account, repository: &RepositoryName) -> Result<(), LocalError> {
    let created = account
        .ecr()
        .create_repository()
        .repository_name(repository.as_str())
        .send()
        .await;
    match created.map_err(aws_sdk_ecr::error::SdkError::into_service_error) {
        Err(error) if !error.is_repository_already_exists_exception() => {
            Err(LocalError::call("create a repository", error))
        }
        _ => Ok(()),
    }
}

/// Copies the image `version` of `source` to `repository` and `tag` of the registry at `registry`, `host:port`.
pub async fn push(
    source: &dyn ImageSource,
    version: &Version,
    registry: &str,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Pushed, BoxError> {
    let base = Url::parse(&format!("http://{registry}/v2/{repository}/"))?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let copy = Copy { source, client, base };
    let (digest, images) = copy.manifest(version, &tag.to_string()).await?;
    Ok(Pushed {
        repository: repository.clone(),
        tag: tag.clone(),
        digest,
        images,
    })
}

struct Copy<'a> {
    source: &'a dyn ImageSource,
    client: reqwest::Client,
    base: Url,
}

/// What [`Copy::manifest`] gives: the manifest's digest, and the images that it stands for.
type Copied = (Digest, Vec<Digest>);

impl Copy<'_> {
    /// Copies what a manifest names and then itself, since a registry takes no manifest whose parts it lacks.
    fn manifest<'a>(
        &'a self,
        version: &'a Version,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Copied, BoxError>> {
        Box::pin(async move {
            let fetched = self.source.manifest(version).await?;
            let (media_type, images) = match &fetched.manifest {
                Manifest::Image(image) => {
                    for blob in image.layers.iter().chain([&image.config]) {
                        self.blob(blob).await?;
                    }
                    (MediaType::OciManifest, vec![fetched.digest])
                }
                Manifest::Index(index) => {
                    let mut images = Vec::new();
                    for child in &index.manifests {
                        let digest = child.digest.to_string();
                        let (_, of_child) = self.manifest(&Version::Digest(child.digest), &digest).await?;
                        if is_platform(child) {
                            images.extend(of_child);
                        }
                    }
                    (MediaType::OciIndex, images)
                }
            };
            let media_type =
                stated_media_type(&fetched.bytes).unwrap_or_else(|| media_type.as_str().to_owned());
            let url = self.base.join(&format!("manifests/{name}"))?;
            let request = self
                .client
                .put(url)
                .header(CONTENT_TYPE, media_type)
                .body(fetched.bytes.clone());
            expect(request.send().await?, StatusCode::CREATED).await?;
            Ok((fetched.digest, images))
        })
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<(), BoxError> {
        // Registries may not hold such layers, and take manifests without them.
        if matches!(descriptor.media_type, MediaType::ForeignLayer(_)) {
            return Ok(());
        }
        let known = self
            .client
            .head(self.base.join(&format!("blobs/{}", descriptor.digest))?)
            .send()
            .await?;
        if known.status() == StatusCode::OK {
            return Ok(());
        }
        let opened = self.client.post(self.base.join("blobs/uploads/")?).send().await?;
        let opened = expect(opened, StatusCode::ACCEPTED).await?;
        let location = opened
            .headers()
            .get(LOCATION)
            .ok_or("the registry named no place for an upload")?;
        let mut url = self.base.join(location.to_str()?)?;
        url.query_pairs_mut()
            .append_pair("digest", &descriptor.digest.to_string());
        let content = self.source.blob(descriptor).await?;
        let request = self
            .client
            .put(url)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, descriptor.size)
            .body(reqwest::Body::wrap_stream(content));
        expect(request.send().await?, StatusCode::CREATED).await?;
        Ok(())
    }
}

/// Tells images for a platform from attestations, which builders list with an unknown one.
fn is_platform(child: &Descriptor) -> bool {
    child
        .platform
        .as_ref()
        .is_none_or(|platform| platform.os != "unknown")
}

/// Reads the type that a manifest gives itself.
fn stated_media_type(manifest: &[u8]) -> Option<String> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    manifest["mediaType"].as_str().map(str::to_owned)
}

async fn expect(response: Response, status: StatusCode) -> Result<Response, BoxError> {
    if response.status() == status {
        return Ok(response);
    }
    let actual = response.status();
    let path = response.url().path().to_owned();
    let body = response.text().await.unwrap_or_default();
    Err(format!("the registry answered {actual} instead of {status} for {path}: {body}").into())
}

#[cfg(test)]
mod tests {
    use portwarden_testkit::{
        image::{Artifact, Compression, Image, ImageBuilder, IndexBuilder, LayerBuilder},
        registry::{Fault, RegistryServer, Settings, Times},
    };

    use super::*;

    #[test]
    fn choices_are_read_and_get_a_fitting_destination() {
        for (text, destination) in [
            ("oci:/tmp/My-App", ("my-app", "1.4")),
            ("oci:/tmp/app:v2", ("app", "v2")),
            ("oci:/tmp/..", ("shop/web", "1.4")),
            ("127.0.0.1:5000/team/app:v1", ("team/app", "v1")),
            ("alpine", ("library/alpine", "latest")),
        ] {
            let (repository, tag) = text.parse::<ImageChoice>().unwrap().destination();
            assert_eq!((repository.as_str(), tag.as_str()), destination, "{text}");
        }
        assert!(matches!(
            "not an image".parse::<ImageChoice>(),
            Err(ImageChoiceError::Reference(_))
        ));
    }

    #[test]
    fn only_loopback_registries_are_spoken_to_in_clear_text() {
        for (registry, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("1.dkr.ecr.localhost:4566", true),
            ("docker.io", false),
            ("localhost.example.com:5000", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }

    fn image(content: &str) -> Image {
        let layer = LayerBuilder::new().file("a", content).finish(Compression::Gzip);
        ImageBuilder::new().layer("COPY a /", layer).build()
    }

    /// Publishes `artifact` in one registry, copies it to another, and gives that and what the copy said.
    async fn copied(artifact: &impl Artifact) -> (RegistryServer, Result<Pushed, LocalError>) {
        let (from, to) = registries().await;
        from.publish(&name("from/app"), Some(&tag("v1")), artifact);
        let pushed = copy(&from, &to).await;
        (to, pushed)
    }

    async fn registries() -> (RegistryServer, RegistryServer) {
        let start = || RegistryServer::start(Settings::default());
        (start().await.unwrap(), start().await.unwrap())
    }

    async fn copy(from: &RegistryServer, to: &RegistryServer) -> Result<Pushed, LocalError> {
        let choice: ImageChoice = format!("{}/from/app:v1", from.name()).parse().unwrap();
        let (source, version) = choice.open(Path::new("/nowhere")).await.unwrap();
        push(&*source, &version, &to.name(), &name("to/app"), &tag("v2"))
            .await
            .map_err(|source| LocalError::Image {
                image: choice.to_string(),
                source,
            })
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_image_arrives_byte_for_byte() {
        let image = image("one");
        let (to, pushed) = copied(&image).await;
        let expected = Pushed {
            repository: name("to/app"),
            tag: tag("v2"),
            digest: image.digest(),
            images: vec![image.digest()],
        };
        assert_eq!(pushed.unwrap(), expected);
        assert_eq!(
            to.manifest(&name("to/app"), "v2"),
            Some(image.manifest().bytes.clone())
        );
        for blob in image.blobs() {
            assert_eq!(to.blob(&name("to/app"), blob.digest()), Some(blob.bytes.clone()));
        }
    }

    #[tokio::test]
    async fn an_index_arrives_with_its_images_and_attestations() {
        let index = IndexBuilder::new()
            .attested_image(image("one"))
            .image(image("two"))
            .build();
        let (to, pushed) = copied(&index).await;
        let pushed = pushed.unwrap();
        assert_eq!(pushed.digest, index.digest());
        assert_eq!(pushed.images, [image("one").digest(), image("two").digest()]);
        for child in index.children() {
            let digest = child.digest().to_string();
            assert_eq!(to.manifest(&name("to/app"), &digest), Some(child.bytes.clone()));
        }
    }

    #[tokio::test]
    async fn blobs_that_are_there_are_not_sent_again() {
        let (from, to) = registries().await;
        from.publish(&name("from/app"), Some(&tag("v1")), &image("one"));
        copy(&from, &to).await.unwrap();
        to.forget_requests();
        copy(&from, &to).await.unwrap();
        let methods: Vec<String> = to
            .requests()
            .iter()
            .map(|request| request.method.to_string())
            .collect();
        assert_eq!(methods, ["HEAD", "HEAD", "PUT"]);
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_what_the_registry_says() {
        let (from, to) = registries().await;
        from.publish(&name("from/app"), Some(&tag("v1")), &image("one"));
        to.fail(
            "/manifests/v2",
            Times::Always,
            Fault::Status {
                status: StatusCode::INSUFFICIENT_STORAGE,
                retry_after: None,
            },
        );
        let error = copy(&from, &to).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("image {}/from/app cannot be pushed", from.name())
        );
        let LocalError::Image { source, .. } = error else {
            panic!("{error:?}")
        };
        assert!(source.to_string().contains("507"), "{source}");
    }
}
