use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use portwarden_oci::{Descriptor, Digest, DigestHasher};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    runtime::Handle,
};

use crate::RegistryError;

/// The content of a blob as a stream of pieces, verified against its descriptor as it goes.
///
/// Nothing that came out of the stream may be believed before the stream has ended without an error: only then size and
/// digest are known to be right. After an error the stream ends.
pub struct Blob {
    digest: Digest,
    size: u64,
    received: u64,
    /// Taken when the stream has ended, well or with an error.
    hasher: Option<DigestHasher>,
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, BlobError>> + Send>>,
}

/// Why a blob's content cannot be had, or cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The source sent more than the descriptor says.
    #[error("the blob {digest} is longer than its {size} bytes")]
    TooLong {
        /// The blob's digest.
        digest: Digest,
        /// The size in bytes that the descriptor says.
        size: u64,
    },
    /// The source ended before everything had come.
    #[error("the blob {digest} ends after {received} of {size} bytes")]
    Truncated {
        /// The blob's digest.
        digest: Digest,
        /// The size in bytes that the descriptor says.
        size: u64,
        /// How many bytes came.
        received: u64,
    },
    /// The content is not what the descriptor names.
    #[error("the blob has the digest {actual} instead of {expected}")]
    DigestMismatch {
        /// The digest that the descriptor says.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The blob is too large to be read at once.
    #[error("the blob {digest} has {size} bytes, more than the {limit} that are accepted")]
    OverLimit {
        /// The blob's digest.
        digest: Digest,
        /// The size in bytes that the descriptor says.
        size: u64,
        /// The greatest size in bytes that the caller accepts.
        limit: u64,
    },
    /// The download broke off and could not be continued.
    #[error("the download of the blob {digest} broke off after {received} bytes")]
    BrokeOff {
        /// The blob's digest.
        digest: Digest,
        /// How many bytes came.
        received: u64,
        /// Why it could not be continued.
        source: Box<RegistryError>,
    },
    /// A file cannot be read.
    #[error("the file of the blob {digest} cannot be read")]
    File {
        /// The blob's digest.
        digest: Digest,
        /// What the system says.
        source: io::Error,
    },
}

impl Blob {
    /// Verifies `pieces` against a descriptor.
    pub fn new(
        descriptor: &Descriptor,
        pieces: impl Stream<Item = Result<Bytes, BlobError>> + Send + 'static,
    ) -> Self {
        Self {
            digest: descriptor.digest,
            size: descriptor.size,
            received: 0,
            hasher: Some(DigestHasher::default()),
            pieces: Box::pin(pieces),
        }
    }

    /// Verifies content that is in memory already.
    pub fn from_bytes(descriptor: &Descriptor, content: Bytes) -> Self {
        Self::new(descriptor, stream::iter([Ok(content)]))
    }

    /// Returns the digest that the content must have.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the size in bytes that the content must have.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads all of a blob of at most `limit` bytes, such as an image's configuration.
    pub async fn read_to_end(mut self, limit: u64) -> Result<Bytes, BlobError> {
        if self.size > limit {
            return Err(BlobError::OverLimit {
                digest: self.digest,
                size: self.size,
                limit,
            });
        }
        let mut content = BytesMut::new();
        while let Some(piece) = self.next().await {
            content.extend_from_slice(&piece?);
        }
        Ok(content.freeze())
    }

    /// Turns the stream into a reader for a blocking thread, such as one of `tokio::task::spawn_blocking`.
    ///
    /// It holds one piece at a time, a few hundred KiB at most. Dropping it ends the download.
    ///
    /// # Panics
    ///
    /// This must be called inside a tokio runtime, and the reader be read outside of its asynchronous tasks.
    pub fn into_reader(self) -> BlobReader {
        BlobReader {
            blob: self,
            runtime: Handle::current(),
            piece: Bytes::new(),
            failed: None,
        }
    }

    fn judge_end(&self, hasher: DigestHasher) -> Result<(), BlobError> {
        if self.received < self.size {
            return Err(BlobError::Truncated {
                digest: self.digest,
                size: self.size,
                received: self.received,
            });
        }
        let actual = hasher.finish();
        if actual == self.digest {
            Ok(())
        } else {
            Err(BlobError::DigestMismatch {
                expected: self.digest,
                actual,
            })
        }
    }
}

/// Reads to the end, in pieces of 128 KiB.
pub(crate) fn pieces(
    reader: impl AsyncRead + Send + Unpin + 'static,
    error_of: impl Fn(io::Error) -> BlobError + Send + 'static,
) -> impl Stream<Item = Result<Bytes, BlobError>> + Send {
    const PIECE: usize = 128 * 1024;
    stream::unfold((reader, error_of), move |(mut reader, error_of)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        match reader.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), (reader, error_of))),
            Err(source) => Some((Err(error_of(source)), (reader, error_of))),
        }
    })
}

impl Stream for Blob {
    type Item = Result<Bytes, BlobError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(mut hasher) = self.hasher.take() else {
            return Poll::Ready(None);
        };
        let Poll::Ready(next) = self.pieces.as_mut().poll_next(context) else {
            self.hasher = Some(hasher);
            return Poll::Pending;
        };
        Poll::Ready(match next {
            Some(Ok(piece)) => {
                self.received = self.received.saturating_add(piece.len() as u64);
                if self.received > self.size {
                    return Poll::Ready(Some(Err(BlobError::TooLong {
                        digest: self.digest,
                        size: self.size,
                    })));
                }
                hasher.update(&piece);
                self.hasher = Some(hasher);
                Some(Ok(piece))
            }
            Some(Err(error)) => Some(Err(error)),
            None => self.judge_end(hasher).err().map(Err),
        })
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// Reads a [`Blob`] on a blocking thread.
///
/// Content that cannot be believed is an [`io::ErrorKind::InvalidData`], content that ends early an
/// [`io::ErrorKind::UnexpectedEof`]; the [`BlobError`] is the error's inner value. Once failed, every read fails.
#[derive(Debug)]
pub struct BlobReader {
    blob: Blob,
    runtime: Handle,
    piece: Bytes,
    failed: Option<io::ErrorKind>,
}

impl io::Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let available = io::BufRead::fill_buf(self)?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        io::BufRead::consume(self, count);
        Ok(count)
    }
}

impl io::BufRead for BlobReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(kind) = self.failed {
            // A decoder that swallowed the first error must not take the end that follows for a good one.
            return Err(io::Error::new(kind, "the blob has failed before"));
        }
        while self.piece.is_empty() {
            match self.runtime.block_on(self.blob.next()) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    let error = io::Error::from(error);
                    self.failed = Some(error.kind());
                    return Err(error);
                }
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

impl From<BlobError> for io::Error {
    fn from(error: BlobError) -> Self {
        let kind = match &error {
            BlobError::TooLong { .. } | BlobError::DigestMismatch { .. } => io::ErrorKind::InvalidData,
            BlobError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            BlobError::OverLimit { .. } => io::ErrorKind::FileTooLarge,
            BlobError::BrokeOff { .. } => io::ErrorKind::ConnectionAborted,
            BlobError::File { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}
