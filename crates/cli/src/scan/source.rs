//! Opens what is to be scanned, and says what to do when that fails.

use std::{
    io::{self, IsTerminal as _, Read as _},
    str::FromStr,
};

use clap::Args;
use portwarden_core::problem::Problem;
use portwarden_oci::{Manifest, Platform, Reference, Version};
use portwarden_registry::{
    AllowedHosts, ArchiveError, ArchiveReference, Credentials, ImageSource, LayoutError, LayoutReference,
    Network, Refusal, Registry, RegistryError,
};
use secrecy::SecretString;

use crate::{failure::Failure, text::shell_word};

/// An image's name, wherever it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageName {
    /// In a registry.
    Registry(Reference),
    /// In an OCI layout on disk.
    Layout(LayoutReference),
    /// In a file that `docker save` wrote.
    Archive(ArchiveReference),
}

/// How a registry is reached.
#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    /// The user to log in as; AWS for Amazon ECR
    #[arg(long, value_name = "USER", requires = "password_stdin")]
    username: Option<String>,
    /// Reads the user's password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Lets the image's registry be reached by plain HTTP, also at an internal address
    #[arg(long)]
    insecure_http: bool,
    /// Lets HOST[:PORT] be at an internal address, by HTTPS: a registry of your own, or its token service
    #[arg(long, value_name = "HOST")]
    internal: Vec<String>,
}

/// An image that can be scanned.
pub(super) struct Source {
    /// Holds the image.
    pub(super) images: Box<dyn ImageSource>,
    /// What reports call the repository.
    pub(super) repository: String,
    /// The version that was asked for.
    pub(super) named: Version,
    /// The version to scan: the one that was asked for, or one image of its index.
    pub(super) version: Version,
    /// The registry, and whether somebody logged in there; none for a layout or a file.
    registry: Option<Login>,
}

/// Who talks to which registry.
#[derive(Debug, Clone)]
struct Login {
    reference: Reference,
    is_anonymous: bool,
}

impl FromStr for ImageName {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        if text.starts_with("oci:") {
            return text.parse().map(Self::Layout).map_err(|error| of_layout(&error));
        }
        if text.starts_with("docker-archive:") {
            return text
                .parse()
                .map(Self::Archive)
                .map_err(|error| of_archive(&error));
        }
        text.parse().map(Self::Registry).map_err(|error| {
            let message = format!("{text:?} does not name an image");
            let fix = "give REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST in lower case, oci:DIR for a layout on \
                       disk, or docker-archive:FILE";
            Failure::new("image_name_invalid", message, fix).because(&error)
        })
    }
}

impl ImageName {
    /// Opens what holds the image.
    pub(super) async fn open(self, access: AccessArgs) -> Result<Source, Failure> {
        match self {
            Self::Layout(layout) => {
                let repository = layout.directory.display().to_string();
                let (layout, version) = layout.open().await.map_err(|error| of_layout(&error))?;
                Ok(Source {
                    images: Box::new(layout),
                    repository,
                    named: version.clone(),
                    version,
                    registry: None,
                })
            }
            Self::Archive(archive) => {
                let repository = archive.file.display().to_string();
                let archive = archive.open().await.map_err(|error| of_file(&error))?;
                let version = Version::Digest(archive.digest());
                Ok(Source {
                    named: archive.tag().cloned().map_or(version.clone(), Version::Tag),
                    images: Box::new(archive),
                    repository,
                    version,
                    registry: None,
                })
            }
            Self::Registry(reference) => open_registry(reference, access),
        }
    }
}

fn open_registry(reference: Reference, access: AccessArgs) -> Result<Source, Failure> {
    let login = Login {
        is_anonymous: access.username.is_none(),
        reference,
    };
    let reference = &login.reference;
    if login.is_anonymous && ecr_region(reference.registry()).is_some() {
        return Err(login.wants_credentials().into());
    }
    let mut network = Network::builder();
    if access.insecure_http {
        network = network.plain_http(reference.registry());
    }
    for host in access.internal {
        network = network.internal(host);
    }
    let network = network.build().map_err(|error| {
        let fix = "give --internal as a host with an optional port, and make sure that the system has certificates \
                   (Debian: apt-get install ca-certificates)";
        Failure::new("network_unusable", "the network cannot be set up", fix).because(&error)
    })?;
    let credentials = match access.username {
        Some(user) => Credentials::Basic {
            user,
            password: read_password()?,
        },
        None => Credentials::Anonymous,
    };
    let registry = Registry::new(
        &network,
        reference.registry(),
        credentials,
        AllowedHosts::AnyPublic,
    )
    .map_err(|error| login.failure(&error))?;
    Ok(Source {
        images: Box::new(registry.repository(reference.repository().clone())),
        repository: format!("{}/{}", reference.registry(), reference.repository()),
        named: reference.version().clone(),
        version: reference.version().clone(),
        registry: Some(login),
    })
}

/// Reads a password from standard input, without the line's end.
pub(crate) fn read_password() -> Result<SecretString, Failure> {
    /// Amazon ECR's passwords have some 2,700 bytes.
    const MAX_BYTES: u64 = 64 * 1024;
    let fix = "pipe the password in: `… | portwarden …`, or `portwarden … < FILE`";
    if io::stdin().is_terminal() {
        let message = "--password-stdin would show the password while it is typed";
        return Err(Failure::new("password_missing", message, fix));
    }
    let mut text = String::new();
    io::stdin()
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| {
            Failure::new("password_missing", "standard input cannot be read", fix).because(&error)
        })?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::new("password_missing", "standard input is empty", fix));
    }
    Ok(password.into())
}

impl Source {
    /// Leaves only the image of one platform, if the version stands for an index.
    pub(super) async fn choose(&mut self, wanted: &Platform) -> Result<(), Failure> {
        let fetched = self.images.manifest(&self.version).await;
        let fetched = fetched.map_err(|error| self.failure(&error))?;
        let Manifest::Index(index) = fetched.manifest else {
            return Ok(());
        };
        let platform_of = |entry: &portwarden_oci::Descriptor| entry.platform.clone();
        let chosen = index
            .manifests
            .iter()
            .find(|entry| platform_of(entry).is_some_and(|platform| is(&platform, wanted)));
        let Some(chosen) = chosen else {
            let offered: Vec<Platform> = index.manifests.iter().filter_map(platform_of).collect();
            return Err(no_such_platform(wanted, &offered).into());
        };
        self.version = Version::Digest(chosen.digest);
        Ok(())
    }

    /// Says what to do about an error of the source.
    pub(super) fn failure(&self, error: &RegistryError) -> Failure {
        match (&self.registry, error) {
            (Some(login), error) => login.failure(error),
            (None, error) => of_file(error),
        }
    }
}

/// Tells whether a platform is the wanted one; a variant counts only if one is wanted.
pub(super) fn is(platform: &Platform, wanted: &Platform) -> bool {
    platform.os == wanted.os
        && platform.architecture == wanted.architecture
        && (wanted.variant.is_none() || platform.variant == wanted.variant)
}

/// Says which platforms there are.
pub(super) fn no_such_platform<'a>(
    wanted: &Platform,
    offered: impl IntoIterator<Item = &'a Platform>,
) -> Problem {
    let offered: Vec<String> = offered
        .into_iter()
        // How attestations are listed.
        .filter(|platform| platform.os != "unknown")
        .map(Platform::to_string)
        .collect();
    let fix = if offered.is_empty() {
        "leave --platform away: the image does not say what it runs on".to_owned()
    } else {
        format!("choose one of: {}", offered.join(", "))
    };
    Problem::new("platform_missing", format!("there is no image for {wanted}"), fix)
}

impl Login {
    /// Says what to do about an error of the registry.
    fn failure(&self, error: &RegistryError) -> Failure {
        let reference = &self.reference;
        let (code, fix) = match error {
            RegistryError::NotFound { .. } => (
                "image_not_found",
                "check the repository's name and the tag or digest, and that this user may see them".to_owned(),
            ),
            RegistryError::Unauthorized { .. } | RegistryError::Denied { .. } if self.is_anonymous => {
                return self.wants_credentials().into();
            }
            RegistryError::Unauthorized { .. } => (
                "registry_unauthorized",
                match ecr_region(reference.registry()) {
                    Some(_) => format!("get a new password, since one ends after 12 hours: {}", self.command()),
                    None => "check the user's name and password".to_owned(),
                },
            ),
            RegistryError::Denied { .. } => (
                "registry_denied",
                format!("permit this user to pull from {}", reference.repository()),
            ),
            RegistryError::Throttled { retry_after, .. } => (
                "registry_throttled",
                match retry_after {
                    Some(time) => format!("run the command again after {} s", time.as_secs()),
                    None => "run the command again in some minutes; users who log in may pull more".to_owned(),
                },
            ),
            RegistryError::Unavailable { .. } => (
                "registry_unavailable",
                "check the registry's name and the network, and run the command again; if it speaks plain HTTP, add \
                 --insecure-http"
                    .to_owned(),
            ),
            RegistryError::Refused {
                host,
                why: Refusal::InternalAddress,
            } => (
                "registry_refused",
                format!(
                    "if {host} is meant to be at an internal address, add --internal {}, or --insecure-http if the \
                     registry speaks plain HTTP",
                    shell_word(host)
                ),
            ),
            RegistryError::Refused { .. } => (
                "registry_refused",
                "ask whoever runs the registry: it sends its clients to a place that no client should go to".to_owned(),
            ),
            _ => (
                "registry_failed",
                format!("check that {} is an OCI registry", reference.registry()),
            ),
        };
        Failure::new(code, error.to_string(), fix).because_of_source(error)
    }

    fn wants_credentials(&self) -> Problem {
        let message = format!("{} wants to know who asks", self.reference.registry());
        Problem::new(
            "registry_unauthorized",
            message,
            format!("log in: {}", self.command()),
        )
    }

    /// Writes the command line that logs in.
    fn command(&self) -> String {
        let reference = self.reference.to_string();
        let image = shell_word(&reference);
        match ecr_region(self.reference.registry()) {
            Some(region) => format!(
                "aws ecr get-login-password --region {region} | portwarden scan {image} --username AWS --password-stdin"
            ),
            None => format!("portwarden scan {image} --username USER --password-stdin < FILE"),
        }
    }
}

/// Returns the region of one of Amazon ECR's private registries.
///
/// Source: Amazon ECR user guide, "Private registry".
fn ecr_region(registry: &str) -> Option<&str> {
    let name = registry
        .strip_suffix(".amazonaws.com")
        .or_else(|| registry.strip_suffix(".amazonaws.com.cn"))?;
    let (account, rest) = name.split_once('.')?;
    let region = rest
        .strip_prefix("dkr.ecr.")
        .or_else(|| rest.strip_prefix("dkr.ecr-fips."))?;
    (account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())).then_some(region)
}

/// Says what to do about an error of an image on disk.
fn of_file(error: &RegistryError) -> Failure {
    match error {
        RegistryError::Layout(error) => of_layout(error),
        RegistryError::Archive(error) => of_archive(error),
        error => {
            let fix = "name an image that is there, or write the layout or the archive again";
            Failure::new("image_not_found", error.to_string(), fix).because_of_source(error)
        }
    }
}

fn of_archive(error: &ArchiveError) -> Failure {
    let fix = match error {
        ArchiveError::Choice { .. } => "add :NAME:TAG to the file, or :@N, counted from 0",
        ArchiveError::Reference(_) => {
            "give docker-archive:FILE, docker-archive:FILE:NAME:TAG or docker-archive:FILE:@N; FILE has no colon"
        }
        ArchiveError::Unreadable { .. } => "check the file's name, and that this user may read it",
        ArchiveError::Compressed(_) => "unpack the file first, with gunzip or zstd -d",
        ArchiveError::NotAnArchive { .. } => "give a file as `docker save IMAGE --output FILE` writes it",
    };
    Failure::new("archive_unusable", error.to_string(), fix).because_of_source(error)
}

fn of_layout(error: &LayoutError) -> Failure {
    let fix = match error {
        LayoutError::SeveralImages { .. } => "add :TAG or @DIGEST to the directory",
        LayoutError::Reference(_) => "give oci:DIR, oci:DIR:TAG or oci:DIR@sha256:DIGEST",
        LayoutError::Unreadable { .. } => "permit this user to read the directory and what is in it",
        _ => {
            "give a directory that holds index.json and blobs/, as `skopeo copy docker://IMAGE oci:DIR` writes it"
        }
    };
    Failure::new("layout_unusable", error.to_string(), fix).because_of_source(error)
}

#[cfg(test)]
mod tests;
