use std::collections::HashMap;

use bytes::Bytes;
use portwarden_oci::{Digest, MediaType};

/// What the registry holds, by repository; uploads that are under way belong to no repository yet.
#[derive(Default)]
pub(super) struct Store {
    blobs: HashMap<(String, Digest), Bytes>,
    manifests: HashMap<(String, String), (MediaType, Bytes)>,
    uploads: HashMap<u64, Vec<u8>>,
    next_upload: u64,
}

impl Store {
    pub(super) fn put_blob(&mut self, repository: &str, digest: Digest, bytes: Bytes) {
        self.blobs.insert((repository.to_owned(), digest), bytes);
    }

    pub(super) fn blob(&self, repository: &str, digest: Digest) -> Option<Bytes> {
        self.blobs.get(&(repository.to_owned(), digest)).cloned()
    }

    /// Finds a blob in whichever repository has it: object storage knows no repositories.
    pub(super) fn stored_blob(&self, digest: Digest) -> Option<Bytes> {
        self.blobs
            .iter()
            .find_map(|((_, stored), bytes)| (*stored == digest).then(|| bytes.clone()))
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        media_type: MediaType,
        bytes: Bytes,
    ) {
        self.manifests
            .insert((repository.to_owned(), reference.to_owned()), (media_type, bytes));
    }

    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(MediaType, Bytes)> {
        self.manifests
            .get(&(repository.to_owned(), reference.to_owned()))
            .cloned()
    }

    pub(super) fn open_upload(&mut self) -> u64 {
        self.next_upload += 1;
        self.uploads.insert(self.next_upload, Vec::new());
        self.next_upload
    }

    /// Adds `bytes` to an upload and returns how many it has now, or nothing if there is no such upload.
    pub(super) fn extend_upload(&mut self, upload: u64, bytes: &[u8]) -> Option<usize> {
        let content = self.uploads.get_mut(&upload)?;
        content.extend_from_slice(bytes);
        Some(content.len())
    }

    pub(super) fn close_upload(&mut self, upload: u64) -> Option<Bytes> {
        self.uploads.remove(&upload).map(Bytes::from)
    }
}
