//! What registries answer, and what people name them by.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::Path, sync::LazyLock};

use portwarden_oci::{Digest, Manifest, Version};
use portwarden_registry::{
    AllowedHosts, ArchiveReference, Credentials, ImageSource, LayoutReference, Network, OciLayout, Registry,
    fuzz,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::law::{error_is_short, is_one_plain_word};

targets! { challenges answer_headers token layout layout_reference docker_archive registry_host }

/// A `WWW-Authenticate` header.
fn challenges(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let challenges = fuzz::challenges(&text);
    let written: Vec<String> = challenges.iter().map(challenge).collect();
    assert_eq!(fuzz::challenges(&written.join(", ")), challenges);
    let held: usize = written.iter().map(String::len).sum();
    // Each character of a value may have got a backslash, and each parameter its quotes.
    assert!(held <= 4 * text.len(), "{held} bytes of {}", text.len());
}

fn challenge((scheme, parameters): &(String, BTreeMap<String, String>)) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let parameters = parameters
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", quoted(value)));
    format!("{scheme} {}", parameters.collect::<Vec<_>>().join(", "))
}

/// `Content-Range`, `Retry-After` with `Date`, and the code in an error's body: three lines.
fn answer_headers(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    if let Some((first, last, total)) = fuzz::content_range(first) {
        assert!(first <= last && total.is_none_or(|total| last < total));
        let total = total.map_or("*".to_owned(), |total| total.to_string());
        let written = format!("bytes {first}-{last}/{total}");
        assert_eq!(
            fuzz::content_range(&written),
            fuzz::content_range(first_line(&text))
        );
    }
    if let Some(wait) = fuzz::retry_after(first, second)
        && first.trim().bytes().all(|byte| byte.is_ascii_digit())
    {
        assert_eq!(first.trim().parse(), Ok(wait.as_secs()));
    }
    if let Some(code) = fuzz::error_code(input) {
        let code = code.to_string();
        assert!(
            (1..=64).contains(&code.len()) && is_one_plain_word(&code),
            "{code:?}"
        );
    }
}

fn first_line(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

/// The answer of a token service.
fn token(input: &[u8]) {
    if let Some(header) = fuzz::token(input) {
        assert!(header.is_sensitive(), "it would be shown by Debug");
        let header = header.as_bytes();
        assert!(header.starts_with(b"Bearer ") && header.len() <= input.len() + 7);
        assert!(!header.iter().any(|byte| b"\r\n\0".contains(byte)));
    }
}

/// An image layout on disk: `oci-layout`, `index.json` and the one blob, with bytes 0 between them.
fn layout(input: &[u8]) {
    let mut files = input.splitn(3, |&byte| byte == 0);
    let [marker, index, blob] = std::array::from_fn(|_| files.next().unwrap_or_default());
    let directory = DIRECTORY.path();
    let blobs = directory.join("blobs/sha256");
    let digest = Digest::of(blob);
    fs::create_dir_all(&blobs).unwrap();
    fs::write(directory.join("oci-layout"), marker).unwrap();
    fs::write(directory.join("index.json"), index).unwrap();
    let path = blobs.join(digest.hex());
    fs::write(&path, blob).unwrap();
    RUNTIME.block_on(read_layout(directory));
    fs::remove_file(path).unwrap();
}

async fn read_layout(directory: &Path) {
    let layout = match OciLayout::open(directory).await {
        Ok(layout) => layout,
        Err(error) => return error_is_short(&error),
    };
    match layout.only_image() {
        Ok(version) => read_image(&layout, &version).await,
        Err(error) => error_is_short(&error),
    }
}

async fn read_image(source: &dyn ImageSource, version: &Version) {
    match source.manifest(version).await {
        Ok(fetched) => {
            assert_eq!(fetched.digest, Digest::of(&fetched.bytes));
            assert_eq!(version.to_string(), fetched.digest.to_string());
            if let Manifest::Image(image) = fetched.manifest
                && let Ok(blob) = source.blob(&image.config).await
            {
                // Nothing is read to its end that is not what its descriptor says.
                if let Ok(content) = blob.read_to_end(64 << 10).await {
                    assert_eq!(Digest::of(&content), image.config.digest);
                    assert_eq!(content.len() as u64, image.config.size);
                }
            }
        }
        Err(error) => error_is_short(&error),
    }
}

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// `oci:DIRECTORY[:TAG|@DIGEST]`.
fn layout_reference(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text.parse::<LayoutReference>() {
        Ok(layout) => {
            let directory = layout.directory.to_str().unwrap();
            let version = match &layout.version {
                Some(Version::Tag(tag)) => format!(":{tag}"),
                Some(Version::Digest(digest)) => format!("@{digest}"),
                None => String::new(),
            };
            assert_eq!(format!("oci:{directory}{version}"), text);
        }
        // It names the text, which a person has just typed.
        Err(error) => assert!(error.to_string().len() <= 16 * text.len() + 200),
    }
}

/// A file that `docker save` could have written; the name of the wanted image, and the file behind a byte 0.
fn docker_archive(input: &[u8]) {
    let end = input.iter().position(|&byte| byte == 0).unwrap_or(0);
    let (image, content) = input.split_at(end);
    let path = DIRECTORY.path().join("image.tar");
    fs::write(&path, content.strip_prefix(b"\0").unwrap_or(content)).unwrap();
    let image = String::from_utf8_lossy(image);
    let text = match &*image {
        "" => format!("docker-archive:{}", path.display()),
        image => format!("docker-archive:{}:{image}", path.display()),
    };
    let reference: ArchiveReference = text.parse().unwrap();
    match RUNTIME.block_on(reference.open()) {
        Ok(archive) => RUNTIME.block_on(read_image(&archive, &Version::Digest(archive.digest()))),
        // It names the image that was asked for and those that there are, which may be long.
        Err(error) => assert!(error.to_string().len() <= 8 * input.len() + 1000),
    }
}

/// The host of a registry; nothing is sent.
fn registry_host(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let made = Registry::new(&NETWORK, &text, Credentials::Anonymous, AllowedHosts::None);
    if made.is_ok() {
        assert!(is_one_plain_word(&text), "{text:?}");
        assert!(!text.contains(['/', '@', '?', '#', '\\']), "{text:?}");
        let host = text
            .rsplit_once(':')
            .map_or(&*text, |(host, _)| host)
            .to_lowercase();
        let is_loopback = host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
        assert!(host != "localhost" && !is_loopback, "{text:?}");
    }
}

static NETWORK: LazyLock<Network> = LazyLock::new(|| Network::builder().build().unwrap());
