use std::{
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

use async_trait::async_trait;
use bytes::Bytes;
use portwarden_oci::{Descriptor, Digest, ImageIndex, Manifest, MediaType, Tag, Version};
use serde::Deserialize;
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::{
    Blob, BlobError, FetchedManifest, ImageSource, RegistryError, blob::pieces, source::refuse_foreign,
};

/// Images in a directory of the OCI image layout.
///
/// Source: OCI image specification, `image-layout.md`.
#[derive(Debug, Clone)]
pub struct OciLayout {
    directory: PathBuf,
    index: ImageIndex,
}

/// The annotation that holds an image's tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why an image layout cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// There is no such directory.
    #[error("there is no directory {}", .0.display())]
    Missing(PathBuf),
    /// The directory is no image layout.
    #[error("{} is not an OCI image layout: {why}", directory.display())]
    NotALayout {
        /// The directory.
        directory: PathBuf,
        /// What is missing or wrong.
        why: &'static str,
    },
    /// A file of the layout cannot be read.
    #[error("{} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The layout is empty.
    #[error("{} holds no image", .0.display())]
    NoImage(PathBuf),
    /// The layout holds several images and none was named.
    #[error("{} holds several images, name one of them: {}", directory.display(), versions(images))]
    SeveralImages {
        /// The directory.
        directory: PathBuf,
        /// The images' tags, or digests where they have none.
        images: Vec<Version>,
    },
    /// A text does not name an image of a layout.
    #[error("{0:?} is not oci:DIRECTORY, oci:DIRECTORY:TAG or oci:DIRECTORY@sha256:DIGEST")]
    Reference(String),
}

fn versions(images: &[Version]) -> String {
    let names: Vec<_> = images.iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl OciLayout {
    /// Opens the layout in `directory`.
    pub async fn open(directory: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let directory = directory.into();
        if !tokio::fs::metadata(&directory)
            .await
            .is_ok_and(|metadata| metadata.is_dir())
        {
            return Err(LayoutError::Missing(directory));
        }
        let not_a_layout = |why| LayoutError::NotALayout {
            directory: directory.clone(),
            why,
        };
        let marker = read_small(&directory.join("oci-layout")).await?;
        let marker = marker.ok_or_else(|| not_a_layout("it has no file oci-layout"))?;
        let marker: Marker =
            serde_json::from_slice(&marker).map_err(|_| not_a_layout("its file oci-layout is malformed"))?;
        if !marker.image_layout_version.starts_with("1.") {
            return Err(not_a_layout("its version is not 1"));
        }
        let index = read_small(&directory.join("index.json")).await?;
        let index = index.ok_or_else(|| not_a_layout("it has no file index.json"))?;
        match Manifest::parse(&index, Some(MediaType::OciIndex.as_str())) {
            Ok(Manifest::Index(index)) => Ok(Self { directory, index }),
            _ => Err(not_a_layout("its file index.json is malformed")),
        }
    }

    /// Returns the layout's one image, as a digest.
    pub fn only_image(&self) -> Result<Version, LayoutError> {
        match &self.index.manifests[..] {
            [] => Err(LayoutError::NoImage(self.directory.clone())),
            [only] => Ok(Version::Digest(only.digest)),
            several => Err(LayoutError::SeveralImages {
                directory: self.directory.clone(),
                images: several
                    .iter()
                    .map(|image| tag_of(image).map_or(Version::Digest(image.digest), Version::Tag))
                    .collect(),
            }),
        }
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    fn not_found(&self, what: &str) -> RegistryError {
        RegistryError::NotFound {
            subject: format!("{what} of the image layout {}", self.directory.display()),
        }
    }
}

fn tag_of(image: &Descriptor) -> Option<Tag> {
    image.annotations.get(REF_NAME)?.parse().ok()
}

#[async_trait]
impl ImageSource for OciLayout {
    async fn manifest(&self, version: &Version) -> Result<FetchedManifest, RegistryError> {
        let has_tag =
            |image: &&Descriptor| matches!(version, Version::Tag(tag) if tag_of(image).as_ref() == Some(tag));
        let listed = match version {
            Version::Digest(digest) => self.index.manifests.iter().find(|image| image.digest == *digest),
            Version::Tag(_) => self.index.manifests.iter().find(has_tag),
        };
        let digest = match (version, listed) {
            (_, Some(image)) => image.digest,
            // The manifests of an index inside the layout are not listed.
            (Version::Digest(digest), None) => *digest,
            (Version::Tag(_), None) => return Err(self.not_found(&format!("the tag {version}"))),
        };
        let bytes = read_small(&self.blob_path(digest)).await?;
        let bytes = bytes.ok_or_else(|| self.not_found(&format!("the manifest {digest}")))?;
        if bytes.len() > FetchedManifest::MAX_SIZE {
            return Err(RegistryError::TooLarge {
                limit: FetchedManifest::MAX_SIZE,
            });
        }
        let media_type = listed.map(|image| image.media_type.as_str());
        FetchedManifest::verify(bytes, Some(digest), media_type)
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<Blob, RegistryError> {
        refuse_foreign(descriptor)?;
        let digest = descriptor.digest;
        let file = open_file(&self.blob_path(digest)).await?;
        let file = file.ok_or_else(|| self.not_found(&format!("the blob {digest}")))?;
        let pieces = pieces(file, move |source| BlobError::File { digest, source });
        Ok(Blob::new(descriptor, pieces))
    }
}

/// Opens a regular file; `None` when there is nothing of that name.
async fn open_file(path: &Path) -> Result<Option<File>, LayoutError> {
    let unreadable = |source| LayoutError::Unreadable {
        file: path.to_owned(),
        source,
    };
    match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.is_file() => File::open(path).await.map(Some).map_err(unreadable),
        // Opening a pipe would wait for ever.
        Ok(_) => Err(unreadable(io::Error::other("it is not a regular file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

/// Reads a file up to one byte more than a manifest may have.
async fn read_small(path: &Path) -> Result<Option<Bytes>, LayoutError> {
    let Some(file) = open_file(path).await? else {
        return Ok(None);
    };
    let mut content = Vec::new();
    let limit = FetchedManifest::MAX_SIZE as u64 + 1;
    file.take(limit)
        .read_to_end(&mut content)
        .await
        .map_err(|source| LayoutError::Unreadable {
            file: path.to_owned(),
            source,
        })?;
    Ok(Some(content.into()))
}

/// Names a layout on disk and perhaps one of its images: `oci:DIRECTORY[:TAG|@DIGEST]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutReference {
    /// The layout's directory.
    pub directory: PathBuf,
    /// The image; the layout's only one when it is missing.
    pub version: Option<Version>,
}

impl FromStr for LayoutReference {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let malformed = || LayoutError::Reference(text.to_owned());
        let path = text.strip_prefix("oci:").ok_or_else(malformed)?;
        let (directory, version) = if let Some((directory, digest)) = path.rsplit_once("@sha256:") {
            let digest = format!("sha256:{digest}").parse().map_err(|_| malformed())?;
            (directory, Some(Version::Digest(digest)))
        } else {
            match path.rsplit_once(':') {
                // A colon before the last slash belongs to the path.
                Some((directory, tag)) if !tag.contains('/') => {
                    let tag = tag.parse().map_err(|_| malformed())?;
                    (directory, Some(Version::Tag(tag)))
                }
                _ => (path, None),
            }
        };
        if directory.is_empty() {
            return Err(malformed());
        }
        Ok(Self {
            directory: directory.into(),
            version,
        })
    }
}

impl LayoutReference {
    /// Opens the layout and finds out which of its images is meant.
    pub async fn open(self) -> Result<(OciLayout, Version), LayoutError> {
        let layout = OciLayout::open(self.directory).await?;
        let version = self.version.map_or_else(|| layout.only_image(), Ok)?;
        Ok((layout, version))
    }
}
