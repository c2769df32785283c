use std::io::{self, BufRead, Read};

use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::{Limits, PartialCode, unpack::Unpacked};

/// Walks the entries of a tar archive.
///
/// Headers are parsed by the `tar` crate, but the walk is ours: the crate's own holds extended headers of any size in
/// memory and allocates for every entry. Follows Go's `archive/tar`, by which container runtimes unpack layers: two
/// blocks of zeroes end the archive, and links and directories have no content whatever their size says.
pub(crate) struct Archive<'a, R: Read> {
    input: Unpacked<'a, R>,
    header_bytes: u64,
    /// What is left of the current entry's content.
    content: u64,
    /// What fills the current entry's last block.
    padding: u64,
    path: Vec<u8>,
    link: Vec<u8>,
    extension: Vec<u8>,
}

/// One entry; its path and content are asked of the [`Archive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// How many bytes of content there are.
    pub(crate) size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    /// A file whose content has holes that the archive leaves out.
    SparseFile,
    Directory,
    HardLink,
    SymbolicLink,
    /// A device or a pipe.
    Special,
}

/// What extended headers say of the entry that follows them.
#[derive(Default)]
struct Extended {
    size: Option<u64>,
    has_path: bool,
    has_link: bool,
    is_sparse: bool,
}

const BLOCK: usize = 512;

impl<'a, R: Read> Archive<'a, R> {
    pub(crate) fn new(input: Unpacked<'a, R>, limits: &Limits) -> Self {
        Self {
            input,
            header_bytes: limits.header_bytes,
            content: 0,
            padding: 0,
            path: Vec::new(),
            link: Vec::new(),
            extension: Vec::new(),
        }
    }

    /// Returns how much of the place for what is large is taken by the layer's window, in bytes.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.input.window_bytes()
    }

    /// Goes to the next entry, over what is left of the current one.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, PartialCode> {
        let mut extended = Extended::default();
        self.path.clear();
        self.link.clear();
        loop {
            let Some(block) = self.next_header()? else {
                return Ok(None);
            };
            let header = Header::from_byte_slice(&block);
            let size = header.entry_size().map_err(|_| PartialCode::Archive)?;
            match header.entry_type() {
                EntryType::XHeader => {
                    self.read_extension(size)?;
                    self.read_records(&mut extended)?;
                }
                EntryType::GNULongName => {
                    self.read_extension(size)?;
                    extended.has_path = true;
                    replace(&mut self.path, until_nul(&self.extension));
                }
                EntryType::GNULongLink => {
                    self.read_extension(size)?;
                    extended.has_link = true;
                    replace(&mut self.link, until_nul(&self.extension));
                }
                EntryType::XGlobalHeader => self.expect_content(size),
                _ => {
                    if let Some(entry) = self.enter(header, size, &extended)? {
                        return Ok(Some(entry));
                    }
                    extended = Extended::default();
                }
            }
        }
    }

    /// The current entry's path, as it was written.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path that the current link leads to, as it was written.
    pub(crate) fn link(&self) -> &[u8] {
        &self.link
    }

    /// Replaces `into` by the current entry's content.
    pub(crate) fn read_content(&mut self, into: &mut Vec<u8>) -> Result<(), PartialCode> {
        into.clear();
        let count = std::mem::take(&mut self.content);
        self.input.append(count, into)
    }

    /// Copies what the current entry's content starts with into `start`, and returns what it filled of it.
    pub(crate) fn peek<'s>(&mut self, start: &'s mut [u8]) -> Result<&'s [u8], PartialCode> {
        let content = usize::try_from(self.content).unwrap_or(usize::MAX);
        let available = self.input.peek(start.len().min(content))?;
        let count = available.len().min(start.len()).min(content);
        start[..count].copy_from_slice(&available[..count]);
        Ok(&start[..count])
    }

    /// Returns a reader of the current entry's content.
    pub(crate) fn content(&mut self) -> Content<'_, 'a, R> {
        Content {
            archive: self,
            failed: None,
        }
    }

    /// Returns the next header, or nothing at the archive's end.
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK]>, PartialCode> {
        let missing = self.input.skip(self.content)?;
        if missing > 0 {
            return Err(PartialCode::Truncated);
        }
        self.input.skip(self.padding)?;
        (self.content, self.padding) = (0, 0);
        let mut block = [0; BLOCK];
        if !self.read_block(&mut block)? {
            return Ok(None);
        }
        if is_zero(&block) {
            if self.read_block(&mut block)? && !is_zero(&block) {
                return Err(PartialCode::Archive);
            }
            return Ok(None);
        }
        if !has_right_checksum(&block) {
            return Err(PartialCode::Archive);
        }
        Ok(Some(block))
    }

    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, PartialCode> {
        match self.input.read(block)? {
            0 => Ok(false),
            BLOCK => Ok(true),
            _ => Err(PartialCode::Truncated),
        }
    }

    fn expect_content(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn read_extension(&mut self, size: u64) -> Result<(), PartialCode> {
        if size > self.header_bytes {
            return Err(PartialCode::HeaderBytes);
        }
        self.expect_content(size);
        self.extension.clear();
        self.content = 0;
        self.input.append(size, &mut self.extension)
    }

    /// Reads the PAX records in `extension` (POSIX.1-2017, pax, "extended header").
    fn read_records(&mut self, extended: &mut Extended) -> Result<(), PartialCode> {
        let mut rest = self.extension.as_slice();
        while !rest.is_empty() {
            let (key, value, behind) = split_record(rest).ok_or(PartialCode::Archive)?;
            rest = behind;
            match key {
                // GNU's name for a sparse file counts before `path`, which then is a made-up one.
                b"GNU.sparse.name" => {
                    extended.has_path = true;
                    extended.is_sparse = true;
                    replace(&mut self.path, value);
                }
                b"path" if !(extended.is_sparse && extended.has_path) => {
                    extended.has_path = true;
                    replace(&mut self.path, value);
                }
                b"linkpath" => {
                    extended.has_link = true;
                    replace(&mut self.link, value);
                }
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    extended.size = Some(size.ok_or(PartialCode::Archive)?);
                }
                key if key.starts_with(b"GNU.sparse.") => extended.is_sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes an entry of its own header; nothing if the entry is of a kind that images cannot hold.
    fn enter(
        &mut self,
        header: &Header,
        size: u64,
        extended: &Extended,
    ) -> Result<Option<Entry>, PartialCode> {
        if !extended.has_path {
            replace(&mut self.path, &header.path_bytes());
        }
        if !extended.has_link {
            replace(&mut self.link, &header.link_name_bytes().unwrap_or_default());
        }
        let kind = match header.entry_type() {
            // Before there was a type for directories, a slash behind the name said it.
            EntryType::Regular if self.path.ends_with(b"/") => EntryKind::Directory,
            EntryType::Regular | EntryType::Continuous if extended.is_sparse => EntryKind::SparseFile,
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::GNUSparse => EntryKind::SparseFile,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Symlink => EntryKind::SymbolicLink,
            EntryType::Char | EntryType::Block | EntryType::Fifo => EntryKind::Special,
            _ => {
                self.expect_content(extended.size.unwrap_or(size));
                self.path.clear();
                self.link.clear();
                return Ok(None);
            }
        };
        if header.entry_type() == EntryType::GNUSparse {
            self.skip_sparse_map(header)?;
        }
        let size = match kind {
            EntryKind::File | EntryKind::SparseFile => extended.size.unwrap_or(size),
            EntryKind::Directory | EntryKind::HardLink | EntryKind::SymbolicLink | EntryKind::Special => 0,
        };
        self.expect_content(size);
        Ok(Some(Entry { kind, size }))
    }

    /// Passes over the blocks that continue an old GNU sparse header.
    fn skip_sparse_map(&mut self, header: &Header) -> Result<(), PartialCode> {
        let mut is_extended = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while is_extended {
            let mut map = GnuExtSparseHeader::new();
            if self.input.read(map.as_mut_bytes())? != BLOCK {
                return Err(PartialCode::Truncated);
            }
            is_extended = map.is_extended();
        }
        Ok(())
    }
}

/// Reads an entry's content as it passes by; what goes wrong with the layer meanwhile is kept for [`Content::end`].
pub(crate) struct Content<'b, 'a, R: Read> {
    archive: &'b mut Archive<'a, R>,
    failed: Option<PartialCode>,
}

impl<R: Read> Content<'_, '_, R> {
    /// Tells whether the layer could be read on.
    pub(crate) fn end(self) -> Result<(), PartialCode> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl<R: Read> BufRead for Content<'_, '_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.failed.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let content = usize::try_from(self.archive.content).unwrap_or(usize::MAX);
        if content == 0 {
            return Ok(&[]);
        }
        match self.archive.input.fill() {
            Ok([]) => self.failed = Some(PartialCode::Truncated),
            Ok(available) => return Ok(&available[..available.len().min(content)]),
            Err(code) => self.failed = Some(code),
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn consume(&mut self, count: usize) {
        self.archive.input.consume(count);
        self.archive.content -= count as u64;
    }
}

impl<R: Read> Read for Content<'_, '_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Splits `<length> <key>=<value>\n` off; the length counts the whole record.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = memchr::memchr(b' ', records)?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = memchr::memchr(b'=', record)?;
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

fn replace(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(bytes);
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// The sum of the header's bytes, with spaces in place of the sum itself; some old writers took the bytes as signed.
fn has_right_checksum(block: &[u8; BLOCK]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let Ok(expected) = Header::from_byte_slice(block).cksum() else {
        return false;
    };
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let unsigned = sum(block) - sum(&block[CHECKSUM]) + 8 * u32::from(b' ');
    if unsigned == expected {
        return true;
    }
    let high = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte >> 7)).sum::<u32>();
    unsigned.wrapping_sub(256 * (high(block) - high(&block[CHECKSUM]))) == expected
}
