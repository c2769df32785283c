use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use portwarden_oci::MediaType;
use serde::{Deserialize, Serialize};

use crate::{Limits, PartialCode, space::Place};

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
    Zstd {
        decoder: Box<zstd::Decoder<'static, Whole<R>>>,
        /// For a large window, until the layer is read.
        place: Option<Place>,
    },
}

/// A blob whose first bytes have been looked at.
type Whole<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

impl<R: Read> Inflated<R> {
    /// Chooses the decoder: as container runtimes do, what a blob starts with counts before what its type says.
    pub(crate) fn new(
        mut blob: R,
        declared: Compression,
        limits: &Limits,
        is_time_up: &dyn Fn() -> bool,
    ) -> Result<Self, PartialCode> {
        let broken = |_| PartialCode::Compression;
        let mut start = Vec::with_capacity(HEADER);
        blob.by_ref()
            .take(HEADER as u64)
            .read_to_end(&mut start)
            .map_err(broken)?;
        let compression = detect(&start).unwrap_or(declared);
        let has_small_window = has_small_window(&start);
        let whole = BufReader::with_capacity(COMPRESSED_BUFFER, Cursor::new(start).chain(blob));
        Ok(match compression {
            Compression::None => Self::None(whole),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(whole))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(whole).map_err(broken)?;
                let (most, place) = if has_small_window {
                    (SMALL_WINDOW_LOG.min(limits.zstd_window_log), None)
                } else {
                    let bytes = 1 << limits.zstd_window_log;
                    let place = limits.space.window(bytes, limits.large_bytes, is_time_up)?;
                    (limits.zstd_window_log, Some(place))
                };
                decoder.window_log_max(most).map_err(broken)?;
                Self::Zstd {
                    decoder: Box::new(decoder),
                    place,
                }
            }
        })
    }

    /// Returns how much of the place for what is large is taken by a window, in bytes.
    pub(crate) fn window_bytes(&self) -> u64 {
        match self {
            Self::Zstd { place, .. } => place.as_ref().map_or(0, Place::window_bytes),
            Self::None(_) | Self::Gzip(_) => 0,
        }
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

/// Tells whether a Zstandard frame begins the blob whose window is at most 8 MiB, which all further ones must then keep to.
///
/// Source: RFC 8878, section 3.1.1.1.
fn has_small_window(start: &[u8]) -> bool {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = start else {
        return false;
    };
    let is_single_segment = descriptor & 0x20 != 0;
    if is_single_segment {
        // The window is the content, whose size follows the dictionary's id.
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let bytes = [1, 2, 4, 8][usize::from(descriptor >> 6)];
        let Some(size) = rest.get(dictionary..dictionary + bytes) else {
            return false;
        };
        let size = size
            .iter()
            .rev()
            .fold(0, |size, byte| size << 8 | u64::from(*byte));
        return size <= 1 << SMALL_WINDOW_LOG;
    }
    let Some(window) = rest.first() else { return false };
    let base = 1_u64 << (10 + (window >> 3));
    base + base / 8 * u64::from(window & 7) <= 1 << SMALL_WINDOW_LOG
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(blob) => blob.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd { decoder, .. } => decoder.read(into),
        }
    }
}

/// As long as a tar header.
const HEADER: usize = 512;
const COMPRESSED_BUFFER: usize = 64 << 10;
/// What every decoder should support (RFC 8878, section 3.1.1.1.2): 8 MiB.
const SMALL_WINDOW_LOG: u32 = 23;

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
