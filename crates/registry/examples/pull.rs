//! Pulls every platform of an image, verifies all layers, keeps nothing, and prints what came.
//!
//! `cargo run -p portwarden-registry --example pull -- REFERENCE [--insecure-http]`, with `USER:PASSWORD` on standard
//! input where the registry wants credentials.

use std::{error::Error, io};

use portwarden_oci::{Descriptor, Manifest, Reference, Version};
use portwarden_registry::{AllowedHosts, Credentials, ImageSource, LayoutReference, Network, Registry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let name = arguments.first().ok_or("name an image")?;
    if name.starts_with("oci:") {
        let (layout, version) = name.parse::<LayoutReference>()?.open().await?;
        return pull(&layout, version).await;
    }
    let reference: Reference = name.parse()?;
    let network = if arguments.iter().any(|argument| argument == "--insecure-http") {
        Network::builder().plain_http(reference.registry())
    } else {
        Network::builder().internal(reference.registry())
    };
    let registry = Registry::new(
        &network.build()?,
        reference.registry(),
        credentials()?,
        AllowedHosts::AnyPublic,
    )?;
    pull(
        &registry.repository(reference.repository().clone()),
        reference.version().clone(),
    )
    .await
}

fn credentials() -> io::Result<Credentials> {
    let line = io::read_to_string(io::stdin())?;
    Ok(match line.trim().split_once(':') {
        Some((user, password)) => Credentials::Basic {
            user: user.to_owned(),
            password: password.into(),
        },
        None => Credentials::Anonymous,
    })
}

async fn pull(source: &dyn ImageSource, version: Version) -> Result<(), Box<dyn Error>> {
    let mut versions = vec![version];
    while let Some(version) = versions.pop() {
        let fetched = source.manifest(&version).await?;
        println!("{version} is the manifest {}", fetched.digest);
        match fetched.manifest {
            Manifest::Index(index) => versions.extend(
                index
                    .manifests
                    .iter()
                    .map(|manifest| Version::Digest(manifest.digest)),
            ),
            Manifest::Image(image) => {
                for layer in &image.layers {
                    println!(
                        "  layer {} has {} bytes",
                        layer.digest,
                        read(source, layer).await?
                    );
                }
            }
        }
    }
    Ok(())
}

async fn read(source: &dyn ImageSource, layer: &Descriptor) -> Result<u64, Box<dyn Error>> {
    let mut reader = source.blob(layer).await?.into_reader();
    Ok(tokio::task::spawn_blocking(move || io::copy(&mut reader, &mut io::sink())).await??)
}
