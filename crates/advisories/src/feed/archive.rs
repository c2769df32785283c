use std::{
    io::{self, Read, Seek},
    path::Path,
};

use zip::{ZipArchive, result::ZipError};

/// No record is nearly as large; a larger one is skipped.
pub(crate) const MAX_RECORD: u64 = 16 << 20;

/// Why an archive cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("it is not a whole archive")]
    Archive(#[source] ZipError),
    #[error("the entry {0} cannot be read")]
    Entry(String, #[source] io::Error),
}

/// Hands every record of an archive on, with its file's name, one at a time; nothing in the place of one that is too large.
///
/// Stops with the first error that `each` returns.
pub(crate) fn for_each_record<E: From<ArchiveError>>(
    archive: impl Read + Seek,
    mut each: impl FnMut(&str, Option<&[u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let broken = |error| E::from(ArchiveError::Archive(error));
    let mut archive = ZipArchive::new(archive).map_err(broken)?;
    let mut content = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let name = entry
            .name()
            .map_or_else(|_| format!("entry {index}"), std::borrow::Cow::into_owned);
        if Path::new(&name)
            .extension()
            .is_none_or(|extension| extension != "json")
        {
            continue;
        }
        content.clear();
        let read = entry.take(MAX_RECORD + 1).read_to_end(&mut content);
        read.map_err(|source| E::from(ArchiveError::Entry(name.clone(), source)))?;
        let is_too_large = content.len() as u64 > MAX_RECORD;
        each(&name, (!is_too_large).then_some(content.as_slice()))?;
    }
    Ok(())
}
