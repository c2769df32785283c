use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header::CONTENT_RANGE};
use portwarden_oci::{Descriptor, Digest};

use crate::{Blob, BlobError, RegistryError, Repository, endpoint::Answer, header::ContentRange};

/// How often one download is continued after it broke off.
const MAX_RESUMES: u32 = 8;

/// Opens a blob as a stream that continues where a connection broke off.
pub(crate) async fn open(repository: &Repository, descriptor: &Descriptor) -> Result<Blob, RegistryError> {
    let mut download = Download {
        repository: repository.clone(),
        digest: descriptor.digest,
        size: descriptor.size,
        received: 0,
        to_skip: 0,
        answer: None,
        resumes: 0,
    };
    download.connect().await?;
    let pieces = stream::unfold(download, |mut download| async move {
        let piece = download.next().await?;
        Some((piece, download))
    });
    Ok(Blob::new(descriptor, pieces))
}

struct Download {
    repository: Repository,
    digest: Digest,
    size: u64,
    /// How many bytes have been handed on.
    received: u64,
    /// How many bytes of the answer have been handed on before, since the source started over.
    to_skip: u64,
    /// `None` after a connection broke off.
    answer: Option<Answer>,
    resumes: u32,
}

impl Download {
    async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        loop {
            let Some(answer) = &mut self.answer else {
                if let Err(error) = self.connect().await {
                    return Some(Err(self.broke_off(error)));
                }
                continue;
            };
            match answer.next().await {
                Ok(Some(piece)) => {
                    if let Some(piece) = self.take_new(piece) {
                        return Some(Ok(piece));
                    }
                }
                // A regular end. Whether it comes too early is for the blob to judge.
                Ok(None) => return None,
                Err(_) if self.received >= self.size => return None,
                Err(error) if self.resumes == MAX_RESUMES => return Some(Err(self.broke_off(error))),
                Err(error) => {
                    self.answer = None;
                    self.resumes += 1;
                    tracing::debug!(
                        error = %error, blob.digest = %self.digest, blob.received = self.received,
                        "a download broke off and is continued"
                    );
                    self.repository.endpoint.back_off(self.resumes).await;
                }
            }
        }
    }

    /// Asks for what is still missing.
    async fn connect(&mut self) -> Result<(), RegistryError> {
        let answer = self.repository.fetch_blob(self.digest, self.received).await?;
        self.to_skip = if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = answer.header(CONTENT_RANGE).and_then(ContentRange::parse);
            let is_the_rest = |range: ContentRange| {
                self.received > 0
                    && range.first == self.received
                    && range.last.checked_add(1) == Some(self.size)
            };
            if !range.is_some_and(is_the_rest) {
                return Err(RegistryError::Protocol {
                    host: answer.host().to_owned(),
                    what: "it sent another part of a blob than was asked for".to_owned(),
                });
            }
            0
        } else {
            self.received
        };
        self.answer = Some(answer);
        Ok(())
    }

    fn broke_off(&self, error: RegistryError) -> BlobError {
        BlobError::BrokeOff {
            digest: self.digest,
            received: self.received,
            source: Box::new(error),
        }
    }

    /// Drops what has been handed on before.
    fn take_new(&mut self, mut piece: Bytes) -> Option<Bytes> {
        let known = self.to_skip.min(piece.len() as u64);
        self.to_skip -= known;
        // At most the piece's length, so it fits.
        let new = piece.split_off(usize::try_from(known).unwrap_or(piece.len()));
        self.received = self.received.saturating_add(new.len() as u64);
        (!new.is_empty()).then_some(new)
    }
}
