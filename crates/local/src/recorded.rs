//! The local cloud in which the files of `events/` mean something: their accounts, ids, credentials and images.
//!
//! Everything is made through the interfaces that people use; only chance is replaced, and it gives the ids of the files.

use std::path::Path;

use portwarden_core::{endpoint::Password, random::Randomness};
use portwarden_oci::{RepositoryName, Tag, Version};
use portwarden_registry::LayoutReference;
use portwarden_testkit::{events, image::write_oci_layout, sample};

use crate::{
    account::Account,
    cloud::{Identity, LocalCloud, LocalOptions, TenantPlan, place},
    error::LocalError,
    push::{self, ImageChoice},
    registry::RegistryAddress,
};

/// What CloudFormation called the role of the recorded tenant's stack.
pub(crate) const ROLE_NAME: &str = "portwarden-ecr-Role-1A2B3C4D5E6F";

/// Chance that counts up in every byte, which makes the ids of the recorded events.
pub(crate) struct Ids;

impl Randomness for Ids {
    fn fill(&self, bytes: &mut [u8]) {
        for (byte, value) in bytes.iter_mut().zip(0..) {
            *byte = value;
        }
    }
}

/// Returns the password of the recorded requests.
pub(crate) fn password() -> Result<Password, LocalError> {
    Password::parse(&events::PASSWORD.to_owned().into())
        .map_err(|error| LocalError::call("read the recorded password", error))
}

/// Uses a checkout with the accounts of the recorded events: the operator's, whose own events come by its rule, and one
/// tenant's, whose events come over HTTP.
pub fn options(root: &Path, programs: &Path) -> LocalOptions {
    LocalOptions {
        state: root.join("target/invoke"),
        operator: place(events::OPERATOR_ACCOUNT, events::REGION),
        tenants: vec![TenantPlan::constant(
            "Recorded",
            (events::TENANT_ACCOUNT, events::REGION),
            Identity::Recorded,
        )],
        ..LocalOptions::in_checkout(root, programs)
    }
}

/// Starts the cloud and pushes the images that the events name to both accounts' registries.
pub async fn start(options: &LocalOptions) -> Result<LocalCloud, LocalError> {
    let cloud = LocalCloud::start(options).await?;
    push_images(&cloud, options).await?;
    Ok(cloud)
}

/// Pushes the images that the events name to the operator's registry and to the first tenant's.
pub async fn push_images(cloud: &LocalCloud, options: &LocalOptions) -> Result<(), LocalError> {
    let layout = options.state.join("image");
    for (tag, sample) in [("1.4", sample::image()), ("1.5", sample::next_release())] {
        let tag: Tag = parse(tag)?;
        write_oci_layout(&layout, &tag, &sample.image).map_err(|source| LocalError::file(&layout, source))?;
        let image = ImageChoice::Layout(LayoutReference {
            directory: layout.clone(),
            version: Some(Version::Tag(tag.clone())),
        });
        for account in [cloud.operator(), &cloud.tenant(0).account] {
            push_to(account, &image, &options.state, &tag).await?;
        }
    }
    Ok(())
}

async fn push_to(account: &Account, image: &ImageChoice, state: &Path, tag: &Tag) -> Result<(), LocalError> {
    let repository: RepositoryName = parse(events::REPOSITORY)?;
    let (source, version) = image.open(state).await?;
    push::create_repository(account, &repository).await?;
    let registry = RegistryAddress::open(account).await?;
    push::push(&*source, &version, &registry.name(), &repository, tag)
        .await
        .map_err(|source| LocalError::Image {
            image: image.to_string(),
            source,
        })?;
    Ok(())
}

fn parse<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    text: &str,
) -> Result<T, LocalError> {
    text.parse()
        .map_err(|error| LocalError::call("name an image", error))
}
