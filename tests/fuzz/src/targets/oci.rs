//! Digests, names and manifests: whatever a registry, an event or a person writes.

use portwarden_oci::{Digest, Manifest, MediaType, Reference, RepositoryName, Tag};

use crate::law::{error_is_short, json_comes_back, text_comes_back};

targets! { digest repository_name tag reference manifest }

fn digest(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(digest) = text_comes_back::<Digest>(&text, "sha256:".len() + 64) {
        assert_eq!(digest.hex(), text["sha256:".len()..]);
    }
}

fn repository_name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if text_comes_back::<RepositoryName>(&text, 256).is_some() {
        // It stands in a URL's path and in a key as it is.
        assert!(!text.contains("..") && !text.contains("//"), "{text}");
        assert!(!text.starts_with('/') && !text.ends_with('/'), "{text}");
    }
}

fn tag(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if text_comes_back::<Tag>(&text, 128).is_some() {
        assert!(!text.contains('/') && !text.starts_with('.'), "{text}");
    }
}

fn reference(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text.parse::<Reference>() {
        Ok(reference) => {
            assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
            let registry = reference.registry();
            assert!(!registry.contains(['/', '@', '?', '#', '\\']), "{registry}");
        }
        Err(error) => error_is_short(&error),
    }
}

/// The first byte says as what the registry declares the rest.
fn manifest(input: &[u8]) {
    let (&declared, bytes) = input.split_first().unwrap_or((&0, &[]));
    let declared = match declared {
        b'i' => Some(MediaType::OciIndex),
        b'm' => Some(MediaType::OciManifest),
        b'd' => Some(MediaType::DockerManifest),
        b'x' => Some(MediaType::Other("text/html".to_owned())),
        _ => None,
    };
    match Manifest::parse(bytes, declared.as_ref().map(MediaType::as_str)) {
        Ok(Manifest::Image(image)) => {
            assert!(image.layers.len() <= Manifest::MAX_ENTRIES);
            json_comes_back(&image);
        }
        Ok(Manifest::Index(index)) => {
            assert!(index.manifests.len() <= Manifest::MAX_ENTRIES);
            json_comes_back(&index);
        }
        Err(error) => error_is_short(&error),
    }
}
