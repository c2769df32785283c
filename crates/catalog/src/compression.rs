use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use portwarden_oci::MediaType;
use serde::{Deserialize, Serialize};

use crate::Limits;

/// How a layer's archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip (RFC 1952), in one or several members.
    Gzip,
    /// Zstandard (RFC 8878), in one or several frames.
    Zstd,
}

/// Why a blob of an image is not a layer that can be catalogued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// Registries may not distribute the layer, so it is reported and never fetched.
    #[error("the layer of type {0:?} is foreign: it is kept outside the registry and never fetched")]
    Foreign(String),
    /// The type is none of a layer that can be read.
    #[error("the type {0:?} is not a layer that can be read")]
    Unknown(String),
}

impl TryFrom<&MediaType> for Compression {
    type Error = CompressionError;

    fn try_from(media_type: &MediaType) -> Result<Self, CompressionError> {
        match media_type {
            MediaType::Layer => Ok(Self::None),
            MediaType::LayerGzip => Ok(Self::Gzip),
            MediaType::LayerZstd => Ok(Self::Zstd),
            MediaType::ForeignLayer(name) => Err(CompressionError::Foreign(name.clone())),
            other => Err(CompressionError::Unknown(other.as_str().to_owned())),
        }
    }
}

/// The inflated bytes of a blob, as a decoder gives them.
pub(crate) enum Inflated<R: Read> {
    None(Whole<R>),
    Gzip(Box<MultiGzDecoder<Whole<R>>>),
    Zstd(Box<zstd::Decoder<'static, Whole<R>>>),
}

/// A blob whose first bytes have been looked at.
type Whole<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

impl<R: Read> Inflated<R> {
    /// Chooses the decoder: as container runtimes do, what a blob starts with counts before what its type says.
    pub(crate) fn new(mut blob: R, declared: Compression, limits: &Limits) -> io::Result<Self> {
        let mut start = Vec::with_capacity(HEADER);
        blob.by_ref().take(HEADER as u64).read_to_end(&mut start)?;
        let compression = detect(&start).unwrap_or(declared);
        let whole = BufReader::with_capacity(COMPRESSED_BUFFER, Cursor::new(start).chain(blob));
        Ok(match compression {
            Compression::None => Self::None(whole),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(whole))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(whole)?;
                decoder.window_log_max(limits.zstd_window_log)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }
}

fn detect(start: &[u8]) -> Option<Compression> {
    match start {
        [] => Some(Compression::None),
        [0x1f, 0x8b, 0x08, ..] => Some(Compression::Gzip),
        // A frame, or one of the skippable frames that some builders put first.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
        // The magic of a tar header.
        _ if start.get(257..262) == Some(b"ustar") => Some(Compression::None),
        _ => None,
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(blob) => blob.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// As long as a tar header.
const HEADER: usize = 512;
const COMPRESSED_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_by_their_type() {
        for (name, compression) in [
            ("application/vnd.oci.image.layer.v1.tar", Ok(Compression::None)),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Ok(Compression::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                Ok(Compression::Zstd),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                Err(CompressionError::Foreign(
                    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into(),
                )),
            ),
            ("text/plain", Err(CompressionError::Unknown("text/plain".into()))),
        ] {
            assert_eq!(
                Compression::try_from(&MediaType::from(name.to_owned())),
                compression
            );
        }
    }
}
