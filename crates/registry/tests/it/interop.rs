//! The test kit's registry, written from the specification by itself: both read it alike.

use http::StatusCode;
use portwarden_oci::{Manifest, RepositoryName, Tag, Version};
use portwarden_registry::{
    AllowedHosts, BlobError, Credentials, ImageSource, LayoutReference, Network, Registry, RegistryError,
    Repository,
};
use portwarden_testkit::{
    image::{
        Artifact as _, Compression, Image, ImageBuilder, Index, IndexBuilder, LayerBuilder, write_oci_layout,
    },
    registry::{Access, Fault, RegistryServer, Settings, Times},
};

use crate::server::NoWait;

fn image(note: &str) -> Image {
    let layer = |path: &str| {
        let mut layer = LayerBuilder::new();
        layer.file(path, note.repeat(50_000)).finish(Compression::None)
    };
    ImageBuilder::new()
        .layer("COPY base", layer("base"))
        .layer("COPY top", layer("top"))
        .build()
}

fn index() -> Index {
    IndexBuilder::new()
        .image(image("one"))
        .attested_image(image("two"))
        .build()
}

fn name() -> RepositoryName {
    "shop/web".parse().unwrap()
}

fn tag() -> Tag {
    "1.0".parse().unwrap()
}

async fn serve(settings: Settings) -> RegistryServer {
    let server = RegistryServer::start(settings).await.unwrap();
    server.publish(&name(), Some(&tag()), &index());
    server
}

/// Reaches the server by another name than the address that it redirects to, so that its storage is another host.
fn repository(server: &RegistryServer, credentials: Credentials) -> Repository {
    let host = server.name().replace("127.0.0.1", "registry.localhost");
    let network = Network::builder()
        .plain_http(&host)
        .plain_http(server.name())
        .pacing(std::sync::Arc::new(NoWait::default()))
        .build()
        .unwrap();
    Registry::new(&network, &host, credentials, AllowedHosts::None)
        .unwrap()
        .repository(name())
}

fn account() -> (String, String) {
    ("user".to_owned(), "canary".to_owned())
}

fn credentials() -> Credentials {
    let (user, password) = account();
    Credentials::Basic {
        user,
        password: password.into(),
    }
}

/// Pulls everything below a version, and returns how many manifests and bytes of layers came.
async fn pull(source: &dyn ImageSource, version: Version) -> (usize, usize) {
    let (mut manifests, mut bytes) = (0, 0);
    let mut versions = vec![version];
    while let Some(version) = versions.pop() {
        manifests += 1;
        match source.manifest(&version).await.unwrap().manifest {
            Manifest::Index(index) => {
                versions.extend(index.manifests.iter().map(|image| Version::Digest(image.digest)));
            }
            Manifest::Image(image) => {
                for layer in &image.layers {
                    bytes += source
                        .blob(layer)
                        .await
                        .unwrap()
                        .read_to_end(1 << 30)
                        .await
                        .unwrap()
                        .len();
                }
            }
        }
    }
    (manifests, bytes)
}

/// What [`pull`] returns for [`index`]: itself, two images and one attestation.
fn everything() -> (usize, usize) {
    let manifests = 1 + index().children().len();
    let layers = index()
        .children()
        .iter()
        .filter_map(|child| match Manifest::parse(&child.bytes, None) {
            Ok(Manifest::Image(image)) => Some(image.layers.iter().map(|layer| layer.size).sum::<u64>()),
            _ => None,
        })
        .sum::<u64>();
    (manifests, usize::try_from(layers).unwrap())
}

#[tokio::test]
async fn every_way_to_serve_an_image_gives_the_same_bytes() {
    let (username, password) = account();
    for access in [
        Access::Anonymous,
        Access::Basic { username, password },
        Access::Bearer { account: None },
        Access::Bearer {
            account: Some(account()),
        },
    ] {
        for redirect_blobs in [false, true] {
            let server = serve(Settings {
                access: access.clone(),
                redirect_blobs,
                ..Settings::default()
            })
            .await;
            let pulled = pull(&repository(&server, credentials()), Version::Tag(tag())).await;
            assert_eq!(pulled, everything());
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_unauthorized_everywhere() {
    let (username, password) = account();
    let wrong = Credentials::Basic {
        user: username.clone(),
        password: "wrong".into(),
    };
    for access in [
        Access::Basic { username, password },
        Access::Bearer {
            account: Some(account()),
        },
    ] {
        let server = serve(Settings {
            access,
            ..Settings::default()
        })
        .await;
        for credentials in [wrong.clone(), Credentials::Anonymous] {
            let refused = repository(&server, credentials)
                .manifest(&Version::Tag(tag()))
                .await;
            assert!(
                matches!(refused, Err(RegistryError::Unauthorized { .. })),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn tokens_that_expire_midway_are_fetched_anew() {
    let access = Access::Bearer { account: None };
    let server = serve(Settings {
        access,
        ..Settings::default()
    })
    .await;
    let repository = repository(&server, Credentials::Anonymous);
    for _ in 0..3 {
        repository.manifest(&Version::Tag(tag())).await.unwrap();
        server.expire_tokens();
    }
    let tokens = server
        .requests()
        .iter()
        .filter(|request| !request.path.starts_with("/v2/"))
        .count();
    assert_eq!(tokens, 3);
}

#[tokio::test]
async fn broken_downloads_end_well_with_and_without_ranges() {
    let layer = image("one").layers[0].blob.descriptor.clone();
    for ranges in [true, false] {
        for redirect_blobs in [true, false] {
            let server = serve(Settings {
                ranges,
                redirect_blobs,
                ..Settings::default()
            })
            .await;
            let place = if redirect_blobs { "/storage/" } else { "/blobs/" };
            server.fail(place, Times::Next(1), Fault::Drop { after: 70_000 });
            server.fail(
                place,
                Times::Next(1),
                Fault::Status {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    retry_after: None,
                },
            );
            server.fail(place, Times::Next(1), Fault::Drop { after: 10_000 });
            let blob = repository(&server, Credentials::Anonymous)
                .blob(&layer)
                .await
                .unwrap();
            assert_eq!(
                blob.read_to_end(layer.size).await.unwrap().len() as u64,
                layer.size
            );
        }
    }
}

#[tokio::test]
async fn endless_and_corrupt_layers_end_in_an_error() {
    let layer = image("one").layers[0].blob.descriptor.clone();
    let server = serve(Settings::default()).await;
    let repository = repository(&server, Credentials::Anonymous);
    server.fail("/blobs/", Times::Next(1), Fault::Endless);
    let endless = repository
        .blob(&layer)
        .await
        .unwrap()
        .read_to_end(layer.size)
        .await;
    assert!(matches!(endless, Err(BlobError::TooLong { .. })), "{endless:?}");
    server.fail("/blobs/", Times::Next(1), Fault::Corrupt { at: 100_000 });
    let corrupt = repository
        .blob(&layer)
        .await
        .unwrap()
        .read_to_end(layer.size)
        .await;
    assert!(
        matches!(corrupt, Err(BlobError::DigestMismatch { .. })),
        "{corrupt:?}"
    );
}

#[tokio::test]
async fn a_layout_gives_the_same_as_a_registry() {
    let directory = tempfile::tempdir().unwrap();
    write_oci_layout(directory.path(), &tag(), &index()).unwrap();
    for suffix in ["", ":1.0"] {
        let reference = format!("oci:{}{suffix}", directory.path().display());
        let (layout, version) = reference
            .parse::<LayoutReference>()
            .unwrap()
            .open()
            .await
            .unwrap();
        assert_eq!(pull(&layout, version).await, everything());
    }
}
