mod members;

use std::{collections::HashMap, io::SeekFrom, path::PathBuf, str::FromStr};

use async_trait::async_trait;
use bytes::Bytes;
use portwarden_oci::{Descriptor, Digest, DigestHasher, MediaType, Reference, Tag, Version};
use serde::{Deserialize, Serialize};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};

use self::members::{Members, Span};
use crate::{
    Blob, BlobError, FetchedManifest, ImageSource, RegistryError, blob::pieces, source::refuse_foreign,
};

/// One image of a file that `docker save` or a relative of it wrote.
///
/// Nothing is unpacked: layers are read where they lie in the file. Source: Docker's image specification v1.2, "Combined
/// Image JSON + Filesystem Changeset Format"; OCI image specification, `image-layout.md`, for what has no
/// `manifest.json`.
#[derive(Debug, Clone)]
pub struct DockerArchive {
    file: PathBuf,
    root: FetchedManifest,
    tag: Option<Tag>,
    blobs: HashMap<Digest, Span>,
}

/// Why an archive of images cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("{} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is compressed as a whole, so that nothing in it can be found without unpacking it.
    #[error("{} is compressed as a whole", .0.display())]
    Compressed(PathBuf),
    /// The file is no archive of images.
    #[error("{} is not an archive of images: {why}", file.display())]
    NotAnArchive {
        /// The file.
        file: PathBuf,
        /// What is missing or wrong.
        why: String,
    },
    /// The archive holds several images and none was named, or none of the name that was given.
    #[error("{} holds {}", file.display(), names(images, wanted.as_deref()))]
    Choice {
        /// The file.
        file: PathBuf,
        /// The image that was asked for.
        wanted: Option<String>,
        /// What the archive's images are called, or `@N` where they have no name.
        images: Vec<String>,
    },
    /// A text does not name an image of an archive.
    #[error("{0:?} is not docker-archive:FILE, docker-archive:FILE:NAME:TAG or docker-archive:FILE:@N")]
    Reference(String),
}

fn names(images: &[String], wanted: Option<&str>) -> String {
    let list = images.join(", ");
    match (wanted, images) {
        (_, []) => "no image".to_owned(),
        (Some(wanted), _) => format!("no image {wanted:?}, but: {list}"),
        (None, _) => format!("several images, name one of them: {list}"),
    }
}

/// Names an archive and perhaps one of its images: `docker-archive:FILE[:NAME[:TAG]]` or `docker-archive:FILE:@N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveReference {
    /// The file; as for other tools, its name has no colon.
    pub file: PathBuf,
    /// The image; the archive's only one when it is missing.
    pub image: Option<String>,
}

impl FromStr for ArchiveReference {
    type Err = ArchiveError;

    fn from_str(text: &str) -> Result<Self, ArchiveError> {
        let malformed = || ArchiveError::Reference(text.to_owned());
        let rest = text.strip_prefix("docker-archive:").ok_or_else(malformed)?;
        let (file, image) = match rest.split_once(':') {
            Some((file, image)) => (file, Some(image.to_owned())),
            None => (rest, None),
        };
        if file.is_empty() || image.as_deref() == Some("") {
            return Err(malformed());
        }
        Ok(Self {
            file: file.into(),
            image,
        })
    }
}

impl ArchiveReference {
    /// Opens the archive and the image that is meant.
    pub async fn open(self) -> Result<DockerArchive, RegistryError> {
        let path = self.file.clone();
        let members = tokio::task::spawn_blocking(move || Members::read(&path))
            .await
            .map_err(|error| self.unreadable(std::io::Error::other(error)))??;
        if let Some(list) = members.find("manifest.json") {
            let list = self.read_json::<Vec<Saved>>("manifest.json", list).await?;
            let names = list
                .iter()
                .map(|image| image.repo_tags.clone().unwrap_or_default());
            let index = self.choose(names.collect())?;
            let saved = list.into_iter().nth(index);
            return self.open_saved(&members, saved.unwrap_or_default()).await;
        }
        let index = members
            .find("index.json")
            .filter(|_| members.find("oci-layout").is_some());
        let index =
            index.ok_or_else(|| self.not_an_archive("it has neither manifest.json nor index.json"))?;
        let index = self
            .read_json::<portwarden_oci::ImageIndex>("index.json", index)
            .await?;
        let names = index.manifests.iter().map(|image| {
            NAMES
                .iter()
                .filter_map(|name| image.annotations.get(*name).cloned())
                .collect()
        });
        let chosen = index.manifests[self.choose(names.collect())?].clone();
        self.open_layout(&members, &chosen).await
    }

    /// Finds the image that is meant, given what each is called.
    fn choose(&self, images: Vec<Vec<String>>) -> Result<usize, ArchiveError> {
        let found = match &self.image {
            None if images.len() == 1 => Some(0),
            None => None,
            Some(wanted) => match wanted.strip_prefix('@') {
                Some(index) => index.parse().ok().filter(|index| *index < images.len()),
                None => images
                    .iter()
                    .position(|names| names.iter().any(|name| is_same(name, wanted))),
            },
        };
        found.ok_or_else(|| ArchiveError::Choice {
            file: self.file.clone(),
            wanted: self.image.clone(),
            images: images
                .into_iter()
                .enumerate()
                .map(|(index, names)| names.into_iter().next().unwrap_or_else(|| format!("@{index}")))
                .take(MAX_LISTED)
                .collect(),
        })
    }

    /// Opens an image that `manifest.json` lists, which has no manifest: one is written for it.
    async fn open_saved(self, members: &Members, saved: Saved) -> Result<DockerArchive, RegistryError> {
        let config = self.find(members, &saved.config)?;
        let content = self.read_small(config).await?;
        let Config { rootfs } =
            serde_json::from_slice(&content).map_err(|error| self.malformed(&saved.config, &error))?;
        if rootfs.diff_ids.len() != saved.layers.len() {
            return Err(self.not_an_archive("its lists of layers differ in length").into());
        }
        let mut blobs = HashMap::from([(Digest::of(&content), config)]);
        let mut layers = Vec::new();
        for (path, diff_id) in saved.layers.iter().zip(rootfs.diff_ids) {
            let layer = match (members.find(path), saved.layer_sources.get(&diff_id)) {
                (Some(span), _) => {
                    let digest = self.digest_of(path, span, diff_id).await?;
                    blobs.insert(digest, span);
                    Pointer::new("application/vnd.docker.image.rootfs.diff.tar", digest, span.size)
                }
                // What may not be distributed is not in the file.
                (None, Some(source)) => Pointer::new(source.media_type.as_str(), source.digest, source.size),
                (None, None) => return Err(self.missing(path).into()),
            };
            layers.push(layer);
        }
        let manifest = Written {
            schema_version: 2,
            media_type: MediaType::DockerManifest,
            config: Pointer::new(
                MediaType::DockerConfig.as_str(),
                Digest::of(&content),
                content.len() as u64,
            ),
            layers,
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|error| self.malformed("manifest.json", &error))?;
        let tags = saved.repo_tags.unwrap_or_default();
        Ok(DockerArchive {
            tag: tags.iter().find_map(|name| tag_of(name)),
            root: FetchedManifest::verify(bytes.into(), None, None)?,
            file: self.file,
            blobs,
        })
    }

    async fn open_layout(
        self,
        members: &Members,
        chosen: &Descriptor,
    ) -> Result<DockerArchive, RegistryError> {
        let path = format!("blobs/sha256/{}", chosen.digest.hex());
        let manifest = self.read_small(self.find(members, &path)?).await?;
        let blobs = members.files().filter_map(|(name, span)| {
            let digest = name.strip_prefix("blobs/sha256/")?;
            Some((format!("sha256:{digest}").parse().ok()?, span))
        });
        Ok(DockerArchive {
            tag: NAMES
                .iter()
                .find_map(|name| tag_of(chosen.annotations.get(*name)?)),
            root: FetchedManifest::verify(manifest, Some(chosen.digest), Some(chosen.media_type.as_str()))?,
            blobs: blobs.collect(),
            file: self.file,
        })
    }

    /// Finds out the digest of a layer: it is in its name, or that of the unpacked layer, which it usually is.
    async fn digest_of(&self, path: &str, span: Span, diff_id: Digest) -> Result<Digest, RegistryError> {
        if let Some(digest) = path.strip_prefix("blobs/sha256/") {
            return format!("sha256:{digest}")
                .parse()
                .map_err(|_| self.missing(path).into());
        }
        let unreadable = |source| self.unreadable(source);
        let mut content = span.open(&self.file).await.map_err(unreadable)?.take(span.size);
        let mut start = [0; 4];
        let count = content.read(&mut start).await.map_err(unreadable)?;
        if !is_compressed(&start[..count]) {
            return Ok(diff_id);
        }
        let mut hasher = DigestHasher::default();
        hasher.update(&start[..count]);
        let mut piece = vec![0; 128 * 1024];
        loop {
            match content.read(&mut piece).await.map_err(unreadable)? {
                0 => return Ok(hasher.finish()),
                count => hasher.update(&piece[..count]),
            }
        }
    }

    fn find(&self, members: &Members, path: &str) -> Result<Span, ArchiveError> {
        members.find(path).ok_or_else(|| self.missing(path))
    }

    async fn read_json<T: for<'de> Deserialize<'de>>(
        &self,
        name: &str,
        span: Span,
    ) -> Result<T, RegistryError> {
        let content = self.read_small(span).await?;
        serde_json::from_slice(&content).map_err(|error| self.malformed(name, &error).into())
    }

    async fn read_small(&self, span: Span) -> Result<Bytes, RegistryError> {
        read_small(&self.file, span).await
    }

    fn unreadable(&self, source: std::io::Error) -> ArchiveError {
        ArchiveError::Unreadable {
            file: self.file.clone(),
            source,
        }
    }

    fn not_an_archive(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::NotAnArchive {
            file: self.file.clone(),
            why: why.into(),
        }
    }

    fn missing(&self, path: &str) -> ArchiveError {
        let path: String = path.chars().take(MAX_QUOTED).collect();
        self.not_an_archive(format!("it lacks its file {path:?}"))
    }

    fn malformed(&self, path: &str, error: &serde_json::Error) -> ArchiveError {
        let path: String = path.chars().take(MAX_QUOTED).collect();
        let (line, column) = (error.line(), error.column());
        self.not_an_archive(format!(
            "its file {path:?} is malformed at line {line}, column {column}"
        ))
    }
}

/// How many characters of a file's text, and how many images, an error names.
const MAX_QUOTED: usize = 128;
const MAX_LISTED: usize = 20;

/// Under which annotations an index keeps what an image is called: containerd's has the repository in it.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Tells whether two names mean the same image; only one of them may be written out in full.
fn is_same(name: &str, wanted: &str) -> bool {
    let parse = |text: &str| text.parse::<Reference>().ok();
    name == wanted || parse(name).is_some_and(|name| Some(name) == parse(wanted))
}

fn tag_of(name: &str) -> Option<Tag> {
    match name.parse::<Reference>().ok()?.version() {
        Version::Tag(tag) if name.contains(':') => Some(tag.clone()),
        // An index may give the bare tag.
        _ => name.parse().ok(),
    }
}

fn is_compressed(start: &[u8]) -> bool {
    matches!(start, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..])
}

async fn read_small(file: &std::path::Path, span: Span) -> Result<Bytes, RegistryError> {
    if span.size > FetchedManifest::MAX_SIZE as u64 {
        return Err(RegistryError::TooLarge {
            limit: FetchedManifest::MAX_SIZE,
        });
    }
    let mut content = Vec::new();
    let read = async {
        let mut part = span.open(file).await?.take(span.size);
        part.read_to_end(&mut content).await
    };
    read.await.map_err(|source| ArchiveError::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    Ok(content.into())
}

/// An image as `manifest.json` lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    /// Where foreign layers are kept, by their digests unpacked.
    #[serde(default)]
    layer_sources: HashMap<Digest, Descriptor>,
}

/// What is used of an image's configuration.
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// The manifest that is written for an image that has none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u32,
    media_type: MediaType,
    config: Pointer,
    layers: Vec<Pointer>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    media_type: String,
    size: u64,
    digest: Digest,
}

impl Pointer {
    fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            size,
            digest,
        }
    }
}

impl DockerArchive {
    /// Returns the digest of the image's manifest. Docker's own format has none: it is that of the manifest that is
    /// written for the image, and no registry's.
    pub fn digest(&self) -> Digest {
        self.root.digest
    }

    /// Returns the tag of the image's first name.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    fn find(&self, digest: Digest) -> Result<Span, RegistryError> {
        self.blobs
            .get(&digest)
            .copied()
            .ok_or_else(|| RegistryError::NotFound {
                subject: format!("{digest} of the archive {}", self.file.display()),
            })
    }
}

#[async_trait]
impl ImageSource for DockerArchive {
    async fn manifest(&self, version: &Version) -> Result<FetchedManifest, RegistryError> {
        match version {
            Version::Digest(digest) if *digest != self.root.digest => {
                let bytes = read_small(&self.file, self.find(*digest)?).await?;
                FetchedManifest::verify(bytes, Some(*digest), None)
            }
            Version::Tag(tag) if Some(tag) != self.tag.as_ref() => Err(RegistryError::NotFound {
                subject: format!("the tag {tag} of the archive {}", self.file.display()),
            }),
            _ => Ok(self.root.clone()),
        }
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<Blob, RegistryError> {
        refuse_foreign(descriptor)?;
        let digest = descriptor.digest;
        let span = self.find(digest)?;
        let part = span
            .open(&self.file)
            .await
            .map_err(|source| ArchiveError::Unreadable {
                file: self.file.clone(),
                source,
            })?;
        let pieces = pieces(part.take(span.size), move |source| BlobError::File {
            digest,
            source,
        });
        Ok(Blob::new(descriptor, pieces))
    }
}

impl Span {
    /// Opens the file where the member's content starts.
    async fn open(self, file: &std::path::Path) -> std::io::Result<File> {
        let mut file = File::open(file).await?;
        file.seek(SeekFrom::Start(self.offset)).await?;
        Ok(file)
    }
}
