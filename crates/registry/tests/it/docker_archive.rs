//! Images in a file, as `docker save`, podman and skopeo write it.

use std::{fs, path::PathBuf, process::Command};

use portwarden_oci::{Digest, ImageManifest, Manifest, MediaType, Version};
use portwarden_registry::{ArchiveError, ArchiveReference, DockerArchive, ImageSource as _, RegistryError};
use portwarden_testkit::image::{Compression, Image, ImageBuilder, Layer, LayerBuilder, write_oci_layout};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A file of members, written in their order.
struct Writer(tar::Builder<Vec<u8>>);

impl Writer {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(kind);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    fn json(self, path: &str, value: &Value) -> Self {
        self.file(path, value.to_string())
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Names what a file with these bytes holds.
struct Saved(TempDir);

impl Saved {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("image.tar"), content).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("image.tar")
    }

    async fn open(&self, image: &str) -> Result<DockerArchive, RegistryError> {
        let text = format!("docker-archive:{}{image}", self.path().display());
        text.parse::<ArchiveReference>().unwrap().open().await
    }

    async fn error(&self, image: &str) -> String {
        let text = self.open(image).await.unwrap_err().to_string();
        text.replace(&self.path().display().to_string(), "FILE")
    }
}

fn layer(note: &str, compression: Compression) -> Layer {
    LayerBuilder::new().file("note", note).finish(compression)
}

fn image(notes: &[&str]) -> Image {
    compressed_image(notes, Compression::None)
}

fn compressed_image(notes: &[&str], compression: Compression) -> Image {
    notes
        .iter()
        .fold(ImageBuilder::new(), |image, note| {
            image.layer("COPY note /", layer(note, compression))
        })
        .build()
}

fn listed(image: &Image, names: &Value, layers: &[&str]) -> Value {
    json!({"Config": format!("{}.json", image.config.digest().hex()), "RepoTags": names, "Layers": layers})
}

/// Reads an image to its end, and returns its layers' digests with what they hold.
async fn pull(archive: &DockerArchive) -> Vec<(Digest, Vec<u8>)> {
    let manifest = manifest(archive).await;
    let config = archive.blob(&manifest.config).await.unwrap();
    config.read_to_end(1 << 20).await.unwrap();
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        let content = archive
            .blob(layer)
            .await
            .unwrap()
            .read_to_end(1 << 20)
            .await
            .unwrap();
        layers.push((layer.digest, content.to_vec()));
    }
    layers
}

async fn manifest(archive: &DockerArchive) -> ImageManifest {
    let fetched = archive
        .manifest(&Version::Digest(archive.digest()))
        .await
        .unwrap();
    assert_eq!(Digest::of(&fetched.bytes), archive.digest());
    match fetched.manifest {
        Manifest::Image(manifest) => manifest,
        Manifest::Index(_) => panic!("an index"),
    }
}

fn content(image: &Image) -> Vec<(Digest, Vec<u8>)> {
    let layers = image.layers.iter();
    layers
        .map(|layer| (layer.digest(), layer.blob.bytes.to_vec()))
        .collect()
}

/// Two images that share a layer, as older Dockers and skopeo write them: the layer of the second one is a link.
fn two() -> (Image, Image, Vec<u8>) {
    let (first, second) = (image(&["base", "first"]), image(&["base"]));
    let [base, top] = [0, 1].map(|index| format!("{}.tar", first.layers[index].diff_id.hex()));
    let archive = Writer::new()
        .file(&base, &first.layers[0].blob.bytes)
        .link(tar::EntryType::Symlink, "aaaa/layer.tar", &format!("../{base}"))
        .link(tar::EntryType::Link, "bbbb/layer.tar", "aaaa/layer.tar")
        .file(&top, &first.layers[1].blob.bytes)
        .file(
            &format!("{}.json", first.config.digest().hex()),
            &first.config.bytes,
        )
        .file(
            &format!("./{}.json", second.config.digest().hex()),
            &second.config.bytes,
        )
        .json(
            "manifest.json",
            &json!([
                listed(
                    &first,
                    &json!(["shop/web:1.4", "r.example:5000/web:2"]),
                    &["aaaa/layer.tar", &top]
                ),
                listed(&second, &json!(null), &["bbbb/layer.tar"]),
            ]),
        )
        .finish();
    (first, second, archive)
}

#[tokio::test]
async fn each_image_is_found_by_its_names_and_read_through_links() {
    let (first, second, archive) = two();
    let saved = Saved::new(archive);
    for name in [
        ":shop/web:1.4",
        ":docker.io/shop/web:1.4",
        ":r.example:5000/web:2",
        ":@0",
    ] {
        let archive = saved.open(name).await.unwrap();
        assert_eq!(pull(&archive).await, content(&first), "{name}");
        assert_eq!(archive.tag().unwrap().to_string(), "1.4");
    }
    let unnamed = saved.open(":@1").await.unwrap();
    assert_eq!(pull(&unnamed).await, content(&second));
    assert_eq!(unnamed.tag(), None);
    assert_eq!(manifest(&unnamed).await.config.digest, second.config.digest());
    let missing = Version::Tag("1.4".parse().unwrap());
    let error = unnamed.manifest(&missing).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    assert_eq!(
        saved.error("").await,
        "FILE holds several images, name one of them: shop/web:1.4, @1"
    );
    for name in [":shop/web", ":shop/web:1.5", ":@2", ":@x"] {
        let expected = format!("FILE holds no image {:?}, but: shop/web:1.4, @1", &name[1..]);
        assert_eq!(saved.error(name).await, expected);
    }
}

#[tokio::test]
async fn layers_that_are_compressed_have_the_digest_of_what_lies_there() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let layer = layer("note", compression);
        let image = ImageBuilder::new().layer("COPY note /", layer.clone()).build();
        let by_digest = format!("blobs/sha256/{}", layer.digest().hex());
        for path in ["abc/layer.tar", &by_digest] {
            let archive = Writer::new()
                .file(path, &layer.blob.bytes)
                .file(
                    &format!("{}.json", image.config.digest().hex()),
                    &image.config.bytes,
                )
                .json(
                    "manifest.json",
                    &json!([listed(&image, &json!(["a:1"]), &[path])]),
                )
                .finish();
            let opened = Saved::new(archive).open("").await.unwrap();
            assert_eq!(manifest(&opened).await.layers[0].digest, layer.digest());
        }
    }
}

#[tokio::test]
async fn an_image_layout_in_a_file_is_read_like_one_in_a_folder() {
    let image = image(&["base", "top"]);
    let folder = tempfile::tempdir().unwrap();
    write_oci_layout(folder.path(), &"1.4".parse().unwrap(), &image).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("", folder.path()).unwrap();
    let saved = Saved::new(archive.into_inner().unwrap());
    for name in ["", ":1.4", ":@0"] {
        let opened = saved.open(name).await.unwrap();
        assert_eq!(opened.digest(), image.manifest.digest());
        assert_eq!(pull(&opened).await, content(&image));
        assert_eq!(opened.tag().unwrap().to_string(), "1.4");
    }
}

#[tokio::test]
async fn foreign_layers_are_named_and_not_there() {
    let image = image(&["base"]);
    let diff_id = image.layers[0].diff_id;
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let mut row = listed(&image, &json!(["a:1"]), &["abc/layer.tar"]);
    row["LayerSources"] = json!({diff_id.to_string(): {"mediaType": foreign, "size": 7, "digest": diff_id,
        "urls": ["https://elsewhere.example/layer"]}});
    let archive = Writer::new()
        .file(
            &format!("{}.json", image.config.digest().hex()),
            &image.config.bytes,
        )
        .json("manifest.json", &json!([row]))
        .finish();
    let opened = Saved::new(archive).open("").await.unwrap();
    let layer = &manifest(&opened).await.layers[0];
    assert_eq!(layer.media_type, MediaType::ForeignLayer(foreign.to_owned()));
    let error = opened.blob(layer).await.unwrap_err();
    assert!(matches!(error, RegistryError::ForeignLayer(digest) if digest == diff_id));
}

#[tokio::test]
async fn a_layer_that_was_changed_is_refused_at_its_end() {
    let (_, second, mut archive) = two();
    let layer = &second.layers[0].blob.bytes;
    let at = archive
        .windows(layer.len())
        .position(|bytes| bytes == layer)
        .unwrap()
        + 512;
    archive[at] = b'B';
    let saved = Saved::new(archive);
    let opened = saved.open(":@1").await.unwrap();
    let layer = manifest(&opened).await.layers[0].clone();
    assert_eq!(layer.digest, second.layers[0].digest());
    let error = opened
        .blob(&layer)
        .await
        .unwrap()
        .read_to_end(1 << 20)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("instead of"), "{error}");
}

#[tokio::test]
async fn what_is_no_archive_of_images_is_told_why() {
    let (first, _, whole) = two();
    let config = format!("{}.json", first.config.digest().hex());
    let list = |layers: &[&str]| json!([listed(&first, &json!(null), layers)]);
    let with_config = || Writer::new().file(&config, &first.config.bytes);
    let looped = with_config()
        .link(tar::EntryType::Symlink, "a", "b")
        .link(tar::EntryType::Symlink, "b", "a")
        .json("manifest.json", &list(&["a", "b"]));
    let mut huge = tar::Header::new_gnu();
    huge.set_path("manifest.json").unwrap();
    huge.set_size(u64::MAX - 3);
    huge.set_cksum();
    let mut header = tar::Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(3 << 20);
    header.set_cksum();
    let long_header = [header.as_bytes().as_slice(), &vec![0; 3 << 20]].concat();
    for (archive, expected) in [
        (vec![], "FILE is not an archive of images: it is empty"),
        (
            b"nothing".to_vec(),
            "FILE is not an archive of images: it is empty",
        ),
        (
            vec![7; 2000],
            "FILE is not an archive of images: it is no tar archive",
        ),
        (vec![0x1f, 0x8b, 8, 0, 0], "FILE is compressed as a whole"),
        (
            whole[..whole.len() / 2].to_vec(),
            "FILE is not an archive of images: it is cut off",
        ),
        (
            huge.as_bytes().to_vec(),
            "FILE is not an archive of images: it is cut off",
        ),
        (
            long_header,
            "FILE is not an archive of images: a header in it is too long",
        ),
        (
            Writer::new().file("a", "").finish(),
            "FILE is not an archive of images: it has neither manifest.json nor index.json",
        ),
        (
            Writer::new().json("manifest.json", &json!([])).finish(),
            "FILE holds no image",
        ),
        (
            Writer::new().file("manifest.json", "[\n7]").finish(),
            "FILE is not an archive of images: its file \"manifest.json\" is malformed at line 2, column 1",
        ),
        (
            Writer::new().json("manifest.json", &list(&[])).finish(),
            &format!("FILE is not an archive of images: it lacks its file {config:?}"),
        ),
        (
            with_config().json("manifest.json", &list(&["a"])).finish(),
            "FILE is not an archive of images: its lists of layers differ in length",
        ),
        (
            looped.finish(),
            "FILE is not an archive of images: it lacks its file \"a\"",
        ),
        (
            Writer::new().file("manifest.json", vec![b' '; 5 << 20]).finish(),
            "the manifest is larger than 4194304 bytes",
        ),
    ] {
        assert_eq!(Saved::new(archive).error("").await, expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("docker-archive:{}", folder.path().join("none").display());
    let error = missing
        .parse::<ArchiveReference>()
        .unwrap()
        .open()
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("cannot be read"), "{error}");
    for text in [
        "docker-archive:",
        "docker-archive::a",
        "docker-archive:a:",
        "oci:a",
    ] {
        let error = text.parse::<ArchiveReference>().unwrap_err();
        assert!(matches!(error, ArchiveError::Reference(named) if named == text));
    }
}

#[tokio::test]
async fn what_skopeo_writes_is_read_back() {
    // Skopeo unpacks layers for the one format and packs them for the other.
    for (format, name, compression) in [
        ("docker-archive", "shop/web:1.4", Compression::None),
        ("oci-archive", "1.4", Compression::Gzip),
    ] {
        let image = compressed_image(&["base", "top"], compression);
        let folder = tempfile::tempdir().unwrap();
        let (layout, file) = (folder.path().join("layout"), folder.path().join("image.tar"));
        write_oci_layout(&layout, &"1.4".parse().unwrap(), &image).unwrap();
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--insecure-policy"]);
        skopeo.arg(format!("oci:{}:1.4", layout.display()));
        skopeo.arg(format!("{format}:{}:{name}", file.display()));
        match skopeo.status() {
            Ok(status) => assert!(status.success(), "skopeo failed: {status}"),
            Err(error) => return println!("not run: skopeo ({error})"),
        }
        let reference = ArchiveReference { file, image: None };
        let opened = reference.open().await.unwrap();
        assert_eq!(opened.tag().unwrap().to_string(), "1.4", "{format}");
        assert!(pull(&opened).await == content(&image), "{format}");
    }
}
