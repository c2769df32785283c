use std::io::Write as _;

use flate2::write::GzEncoder;
use portwarden_oci::{Digest, MediaType};
use tar::{EntryType, Header};

use super::Blob;

/// One layer of an image: a tar archive, compressed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The layer as a registry holds it.
    pub blob: Blob,
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// The bare archive.
    None,
    /// One gzip member.
    Gzip,
    /// One Zstandard frame.
    Zstd,
}

/// Modification time of every entry, in seconds since 1970: 2026-01-01.
const MODIFIED: u64 = 1_767_225_600;

const BLOCK: usize = 512;

/// Collects the entries of a layer.
///
/// Paths are written as they are given; container tools write them relative, without a leading `./`.
#[derive(Debug, Clone, Default)]
pub struct LayerBuilder {
    tar: Vec<u8>,
}

/// A tar entry whose every field is chosen freely, to build what no tool would write.
#[derive(Debug, Clone, Copy)]
pub struct RawEntry<'a> {
    /// The name field, up to 100 bytes, written as it is.
    pub name: &'a [u8],
    /// The type flag, such as `b'0'` for a file or `b'x'` for a PAX header.
    pub kind: u8,
    /// The link name field, up to 100 bytes.
    pub link: &'a [u8],
    /// The size that the header claims; the content's own when absent.
    pub claimed_size: Option<u64>,
    /// What follows the header, padded to whole blocks.
    pub content: &'a [u8],
}

impl LayerBuilder {
    /// Starts an empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file of mode 0644.
    pub fn file(&mut self, path: &str, content: impl AsRef<[u8]>) -> &mut Self {
        self.file_with_mode(path, 0o644, content)
    }

    /// Adds a file with the permission bits `mode`.
    pub fn file_with_mode(&mut self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> &mut Self {
        self.append(EntryType::Regular, path, "", mode, content.as_ref())
    }

    /// Adds a directory of mode 0755.
    pub fn directory(&mut self, path: &str) -> &mut Self {
        let path = format!("{}/", path.trim_end_matches('/'));
        self.append(EntryType::Directory, &path, "", 0o755, &[])
    }

    /// Adds a symbolic link at `path` that points to `target`.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.append(EntryType::Symlink, path, target, 0o777, &[])
    }

    /// Adds a hard link at `path` to the earlier entry `target`.
    pub fn hard_link(&mut self, path: &str, target: &str) -> &mut Self {
        self.append(EntryType::Link, path, target, 0o644, &[])
    }

    /// Removes what lower layers have at `path`, by a file named `.wh.` and the last part of the path.
    pub fn whiteout(&mut self, path: &str) -> &mut Self {
        let (parent, name) = path.rsplit_once('/').map_or(("", path), |(parent, name)| {
            // The slash stays with the parent.
            (&path[..=parent.len()], name)
        });
        self.file_with_mode(&format!("{parent}.wh.{name}"), 0, "")
    }

    /// Hides everything that lower layers have below `directory`, by a file named `.wh..wh..opq`.
    pub fn opaque(&mut self, directory: &str) -> &mut Self {
        let directory = directory.trim_end_matches('/');
        self.file_with_mode(&format!("{directory}/.wh..wh..opq"), 0, "")
    }

    /// Adds an entry without any check.
    pub fn raw_entry(&mut self, entry: RawEntry<'_>) -> &mut Self {
        let mut header = header(EntryType::new(entry.kind), 0o644);
        fill(&mut header.as_old_mut().name, entry.name);
        fill(&mut header.as_old_mut().linkname, entry.link);
        header.set_size(entry.claimed_size.unwrap_or(entry.content.len() as u64));
        header.set_cksum();
        self.append_blocks(&header, entry.content)
    }

    /// Adds bytes to the archive as they are: garbage between entries, a second archive, a half header.
    pub fn raw_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.tar.extend_from_slice(bytes);
        self
    }

    /// Ends the archive and compresses it.
    pub fn finish(&self, compression: Compression) -> Layer {
        let mut tar = self.tar.clone();
        tar.extend_from_slice(&[0; 2 * BLOCK]);
        Layer::from_archive(tar, compression)
    }

    /// Ends the layer without the two empty blocks that close an archive, as a truncated upload does.
    pub fn finish_without_end(&self, compression: Compression) -> Layer {
        Layer::from_archive(self.tar.clone(), compression)
    }

    fn append(&mut self, kind: EntryType, path: &str, target: &str, mode: u32, content: &[u8]) -> &mut Self {
        let mut header = header(kind, mode);
        let mut records = Vec::new();
        if !fill(&mut header.as_old_mut().name, path.as_bytes()) {
            records.extend(pax_record("path", path));
        }
        if !fill(&mut header.as_old_mut().linkname, target.as_bytes()) {
            records.extend(pax_record("linkpath", target));
        }
        if !records.is_empty() {
            self.raw_entry(RawEntry {
                name: b"PaxHeaders.0/entry",
                kind: b'x',
                link: b"",
                claimed_size: None,
                content: &records,
            });
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.append_blocks(&header, content)
    }

    fn append_blocks(&mut self, header: &Header, content: &[u8]) -> &mut Self {
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(BLOCK), 0);
        self
    }
}

impl Layer {
    /// Describes `archive`, which need not be one, compressed as asked.
    pub fn from_archive(archive: Vec<u8>, compression: Compression) -> Self {
        let diff_id = Digest::of(&archive);
        let (media_type, bytes) = match compression {
            Compression::None => (MediaType::Layer, archive),
            Compression::Gzip => (MediaType::LayerGzip, gzip(&archive)),
            Compression::Zstd => (MediaType::LayerZstd, zstd(&archive)),
        };
        Self {
            blob: Blob::new(media_type, bytes),
            diff_id,
        }
    }

    /// Returns the digest of the layer as a registry holds it.
    pub fn digest(&self) -> Digest {
        self.blob.digest()
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    // A low level: the sample image is made at every start of the local cloud.
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(2));
    encoder
        .write_all(content)
        .and_then(|()| encoder.finish())
        .expect("a vector takes everything that is written to it")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(content, 3).expect("a vector takes everything that is written to it")
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MODIFIED);
    header
}

/// Copies what fits of `value` into a header's field and tells whether the field holds it exactly.
fn fill(field: &mut [u8], value: &[u8]) -> bool {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
    value.len() <= field.len() && value.is_ascii()
}

/// Writes `length keyword=value\n`, where the length counts itself (POSIX pax, extended header records).
fn pax_record(keyword: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {keyword}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn archive(layer: &Layer) -> Vec<u8> {
        let mut archive = Vec::new();
        match layer.blob.descriptor.media_type {
            MediaType::Layer => archive.extend_from_slice(&layer.blob.bytes),
            MediaType::LayerGzip => {
                flate2::read::GzDecoder::new(&layer.blob.bytes[..])
                    .read_to_end(&mut archive)
                    .unwrap();
            }
            _ => zstd::stream::copy_decode(&layer.blob.bytes[..], &mut archive).unwrap(),
        }
        archive
    }

    /// Lists type, path, link and content of every entry, as the `tar` crate reads them.
    fn list(layer: &Layer) -> Vec<(EntryType, String, String, String)> {
        let archive = archive(layer);
        let mut reader = tar::Archive::new(&archive[..]);
        reader
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let path = text(&entry.path_bytes());
                let link = text(&entry.link_name_bytes().unwrap_or_default());
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                (entry.header().entry_type(), path, link, content)
            })
            .collect()
    }

    fn row(kind: EntryType, path: &str, link: &str, content: &str) -> (EntryType, String, String, String) {
        (kind, path.to_owned(), link.to_owned(), content.to_owned())
    }

    #[test]
    fn every_kind_of_entry_is_read_back() {
        let long = format!(
            "opt/{}/package.json",
            "very-long-name/".repeat(20).trim_end_matches('/')
        );
        let layer = LayerBuilder::new()
            .directory("etc")
            .file("etc/hosts", "127.0.0.1\n")
            .symlink("bin", "usr/bin")
            .hard_link("etc/hosts2", "etc/hosts")
            .file(&long, "{}")
            .file("srv/grüße.txt", "hi")
            .symlink("latest", &long)
            .whiteout("etc/passwd")
            .whiteout("old")
            .opaque("var/cache/")
            .finish(Compression::None);
        assert_eq!(
            list(&layer),
            [
                row(EntryType::Directory, "etc/", "", ""),
                row(EntryType::Regular, "etc/hosts", "", "127.0.0.1\n"),
                row(EntryType::Symlink, "bin", "usr/bin", ""),
                row(EntryType::Link, "etc/hosts2", "etc/hosts", ""),
                row(EntryType::Regular, &long, "", "{}"),
                row(EntryType::Regular, "srv/grüße.txt", "", "hi"),
                row(EntryType::Symlink, "latest", &long, ""),
                row(EntryType::Regular, "etc/.wh.passwd", "", ""),
                row(EntryType::Regular, ".wh.old", "", ""),
                row(EntryType::Regular, "var/cache/.wh..wh..opq", "", ""),
            ]
        );
    }

    #[test]
    fn the_same_entries_give_the_same_bytes_in_every_compression() {
        let build = |compression| LayerBuilder::new().file("a", [7; 4000]).finish(compression);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let layer = build(compression);
            assert_eq!(layer, build(compression));
            assert_eq!(layer.digest(), Digest::of(&layer.blob.bytes));
            assert_eq!(layer.diff_id, Digest::of(&archive(&layer)));
            assert_eq!(layer.diff_id, build(Compression::None).digest());
        }
    }

    #[test]
    fn raw_entries_keep_what_no_tool_would_write() {
        let layer = LayerBuilder::new()
            .raw_entry(RawEntry {
                name: b"../../etc/shadow\0\xff",
                kind: b'0',
                link: b"",
                claimed_size: Some(1 << 30),
                content: b"short",
            })
            .raw_bytes(b"tail")
            .finish_without_end(Compression::None);
        let bytes = &layer.blob.bytes;
        assert_eq!(bytes.len(), 2 * BLOCK + 4);
        assert_eq!(&bytes[..18], b"../../etc/shadow\0\xff");
        assert_eq!(&bytes[124..136], b"10000000000\0");
        let mut archive = tar::Archive::new(&bytes[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.size(), 1 << 30);
    }

    #[test]
    fn pax_records_count_their_own_length() {
        assert_eq!(pax_record("path", "a"), b"9 path=a\n");
        // One more character needs a second digit, so no record is 10 bytes long.
        assert_eq!(pax_record("path", "ab"), b"11 path=ab\n");
        assert_eq!(pax_record("path", &"x".repeat(200)).len(), 210);
    }

    proptest! {
        // A line break is left out: the reader splits extended headers at it and takes such a name for none.
        #[test]
        fn any_name_is_read_back(path in "[^\0\n]{1,150}", target in "[^\0\n]{1,150}", content in "\\PC*") {
            let layer = LayerBuilder::new()
                .symlink(&path, &target)
                .file(&path, &content)
                .finish(Compression::None);
            let expected = [
                row(EntryType::Symlink, &path, &target, ""),
                row(EntryType::Regular, &path, "", &content),
            ];
            prop_assert_eq!(list(&layer), expected);
        }
    }
}
