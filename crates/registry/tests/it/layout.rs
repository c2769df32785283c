//! Images on disk.

use std::{fs, path::Path};

use portwarden_oci::{Digest, MediaType, Version};
use portwarden_registry::{ImageSource as _, LayoutReference, OciLayout, RegistryError};
use serde_json::json;

use crate::server::{descriptor, descriptor_of, manifest};

fn write_blob(directory: &Path, content: &[u8]) -> Digest {
    let digest = Digest::of(content);
    fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    fs::write(directory.join("blobs/sha256").join(digest.hex()), content).unwrap();
    digest
}

/// Writes a layout with one image for each tag; no tag is an empty text.
fn layout(tags: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let images: Vec<_> = tags
        .iter()
        .map(|tag| {
            let bytes = manifest(tag);
            let digest = write_blob(directory.path(), &bytes);
            let mut image =
                json!({"mediaType": MediaType::OciManifest, "digest": digest, "size": bytes.len()});
            if !tag.is_empty() {
                image["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
            }
            image
        })
        .collect();
    fs::write(
        directory.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let index = json!({"schemaVersion": 2, "manifests": images});
    fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
    directory
}

fn tag(text: &str) -> Version {
    Version::Tag(text.parse().unwrap())
}

#[tokio::test]
async fn the_only_image_needs_no_name() {
    let directory = layout(&[""]);
    let reference: LayoutReference = format!("oci:{}", directory.path().display()).parse().unwrap();
    let (layout, version) = reference.open().await.unwrap();
    let fetched = layout.manifest(&version).await.unwrap();
    assert_eq!(fetched.bytes, manifest(""));
    assert_eq!(version, Version::Digest(fetched.digest));
}

#[tokio::test]
async fn one_of_several_images_is_named() {
    let directory = layout(&["1.0", "2.0", ""]);
    let path = directory.path().display();
    let layout = OciLayout::open(directory.path()).await.unwrap();
    assert_eq!(layout.manifest(&tag("2.0")).await.unwrap().bytes, manifest("2.0"));
    let missing = layout.manifest(&tag("3.0")).await.unwrap_err();
    assert_eq!(
        missing.to_string(),
        format!("the tag 3.0 of the image layout {path} does not exist")
    );
    let unnamed = format!("oci:{path}")
        .parse::<LayoutReference>()
        .unwrap()
        .open()
        .await
        .unwrap_err();
    let third = Digest::of(&manifest(""));
    assert_eq!(
        unnamed.to_string(),
        format!("{path} holds several images, name one of them: 1.0, 2.0, {third}")
    );
}

#[tokio::test]
async fn what_is_no_layout_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let open = async || OciLayout::open(path).await.unwrap_err().to_string();
    assert_eq!(
        OciLayout::open(path.join("no")).await.unwrap_err().to_string(),
        format!("there is no directory {}/no", path.display())
    );
    let not_a_layout = |why| format!("{} is not an OCI image layout: {why}", path.display());
    assert_eq!(open().await, not_a_layout("it has no file oci-layout"));
    fs::write(path.join("oci-layout"), "{}").unwrap();
    assert_eq!(open().await, not_a_layout("its file oci-layout is malformed"));
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_eq!(open().await, not_a_layout("its version is not 1"));
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    assert_eq!(open().await, not_a_layout("it has no file index.json"));
    fs::write(path.join("index.json"), "[]").unwrap();
    assert_eq!(open().await, not_a_layout("its file index.json is malformed"));
    let empty = layout(&[]);
    let error = OciLayout::open(empty.path())
        .await
        .unwrap()
        .only_image()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} holds no image", empty.path().display())
    );
}

#[tokio::test]
async fn blobs_on_disk_are_verified_like_any_other() {
    let directory = layout(&["1.0"]);
    let layout = OciLayout::open(directory.path()).await.unwrap();
    let content = vec![1; 300_000];
    write_blob(directory.path(), &content);
    let blob = layout.blob(&descriptor(&content)).await.unwrap();
    assert_eq!(blob.read_to_end(300_000).await.unwrap(), content);

    let file = directory
        .path()
        .join("blobs/sha256")
        .join(Digest::of(&content).hex());
    let other = vec![2; 300_000];
    fs::write(&file, &other).unwrap();
    let changed = layout
        .blob(&descriptor(&content))
        .await
        .unwrap()
        .read_to_end(300_000)
        .await;
    assert_eq!(
        changed.unwrap_err().to_string(),
        format!(
            "the blob has the digest {} instead of {}",
            Digest::of(&other),
            Digest::of(&content)
        )
    );
    fs::remove_file(&file).unwrap();
    let missing = layout.blob(&descriptor(&content)).await;
    assert!(
        matches!(missing, Err(RegistryError::NotFound { .. })),
        "{missing:?}"
    );
    fs::create_dir(&file).unwrap();
    let not_a_file = layout.blob(&descriptor(&content)).await.unwrap_err();
    assert_eq!(
        not_a_file.to_string(),
        format!("{} cannot be read", file.display())
    );
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".to_owned();
    let foreign = descriptor_of(&MediaType::from(foreign), Digest::of(b"x"), 1);
    assert!(matches!(
        layout.blob(&foreign).await,
        Err(RegistryError::ForeignLayer(_))
    ));
}

#[tokio::test]
async fn a_changed_manifest_on_disk_is_refused() {
    let directory = layout(&["1.0"]);
    let digest = Digest::of(&manifest("1.0"));
    fs::write(
        directory.path().join("blobs/sha256").join(digest.hex()),
        manifest("2.0"),
    )
    .unwrap();
    let layout = OciLayout::open(directory.path()).await.unwrap();
    match layout.manifest(&tag("1.0")).await {
        Err(RegistryError::DigestMismatch { expected, .. }) => assert_eq!(expected, digest),
        other => panic!("{other:?}"),
    }
}

#[test]
fn references_to_layouts_are_parsed() {
    let digest = Digest::of(b"x");
    let reference = |directory: &str, version| LayoutReference {
        directory: directory.into(),
        version,
    };
    for (text, expected) in [
        ("oci:dir".to_owned(), reference("dir", None)),
        ("oci:/a/b:1.0".to_owned(), reference("/a/b", Some(tag("1.0")))),
        ("oci:/a:b/c".to_owned(), reference("/a:b/c", None)),
        (
            format!("oci:/a@b@{digest}"),
            reference("/a@b", Some(Version::Digest(digest))),
        ),
    ] {
        assert_eq!(text.parse::<LayoutReference>().unwrap(), expected, "{text}");
    }
    for text in [
        "",
        "dir",
        "oci:",
        "oci:dir:",
        "oci::1.0",
        "oci:dir:-x",
        "oci:dir@sha256:12",
    ] {
        let error = text.parse::<LayoutReference>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{text:?} is not oci:DIRECTORY, oci:DIRECTORY:TAG or oci:DIRECTORY@sha256:DIGEST")
        );
    }
}
