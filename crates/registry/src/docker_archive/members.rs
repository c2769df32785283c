use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use tar::{EntryType, Header, PaxExtensions};

use super::{ArchiveError, is_compressed};

/// Where the files of a tar archive lie.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<String, Member>);

/// The part of the archive that is one file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    /// In bytes.
    pub(super) size: u64,
}

#[derive(Debug)]
enum Member {
    File(Span),
    /// A link to another member, by its name.
    Link(String),
}

const BLOCK: usize = 512;

/// As many as an image with the most layers that are accepted has, with three files each and directories.
const MAX_MEMBERS: usize = 100_000;

/// How long a header that names the next member may be, in bytes.
const MAX_HEADER: u64 = 1 << 20;

/// How many links are followed from one to the next.
const MAX_HOPS: usize = 8;

/// What extended headers say of the member that follows them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// What is wrong with the archive: the file cannot be read, or is none.
enum Flaw {
    Io(std::io::Error),
    Broken(&'static str),
}

impl From<std::io::Error> for Flaw {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl Members {
    /// Walks an archive from header to header, without reading what is between them.
    pub(super) fn read(file: &Path) -> Result<Self, ArchiveError> {
        let unreadable = |source| ArchiveError::Unreadable {
            file: file.to_owned(),
            source,
        };
        let mut content = File::open(file).map_err(unreadable)?;
        if !content.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("it is not a regular file")));
        }
        let mut start = [0; 4];
        let count = content.read(&mut start).map_err(unreadable)?;
        if is_compressed(&start[..count]) {
            return Err(ArchiveError::Compressed(file.to_owned()));
        }
        let mut members = Self::default();
        match members.walk(&mut content) {
            Ok(()) => Ok(members),
            Err(Flaw::Io(source)) => Err(unreadable(source)),
            Err(Flaw::Broken(why)) => Err(ArchiveError::NotAnArchive {
                file: file.to_owned(),
                why: why.to_owned(),
            }),
        }
    }

    /// Finds a file by its name, through links.
    pub(super) fn find(&self, name: &str) -> Option<Span> {
        let mut name = name;
        for _ in 0..MAX_HOPS {
            match self.0.get(name)? {
                Member::File(span) => return Some(*span),
                Member::Link(target) => name = target,
            }
        }
        None
    }

    /// Lists the files.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, Span)> {
        self.0.iter().filter_map(|(name, member)| match member {
            Member::File(span) => Some((name.as_str(), *span)),
            Member::Link(_) => None,
        })
    }

    fn walk(&mut self, file: &mut File) -> Result<(), Flaw> {
        let end = file.metadata()?.len();
        let mut at = 0;
        let mut extended = Extended::default();
        let mut block = [0; BLOCK];
        loop {
            file.seek(SeekFrom::Start(at))?;
            match file.read_exact(&mut block) {
                Ok(()) => {}
                // Some writers leave the blocks out that end an archive.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && at > 0 => return Ok(()),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(Flaw::Broken("it is empty"));
                }
                Err(error) => return Err(error.into()),
            }
            if block.iter().all(|&byte| byte == 0) {
                return Ok(());
            }
            if !has_right_checksum(&block) {
                return Err(Flaw::Broken("it is no tar archive"));
            }
            let header = Header::from_byte_slice(&block);
            let declared = header
                .entry_size()
                .map_err(|_| Flaw::Broken("a size in it is no number"))?;
            let size = extended.size.unwrap_or(declared);
            let span = Span {
                offset: at + BLOCK as u64,
                size,
            };
            let next = span
                .end()
                .filter(|next| *next <= end.next_multiple_of(BLOCK as u64));
            at = next.ok_or(Flaw::Broken("it is cut off"))?;
            match header.entry_type() {
                EntryType::XHeader => extended.read_records(&read_header(file, span)?)?,
                EntryType::GNULongName => extended.name = Some(until_nul(read_header(file, span)?)),
                EntryType::GNULongLink => extended.link = Some(until_nul(read_header(file, span)?)),
                kind => self.add(kind, header, span, std::mem::take(&mut extended))?,
            }
        }
    }

    fn add(&mut self, kind: EntryType, header: &Header, span: Span, extended: Extended) -> Result<(), Flaw> {
        let name = extended.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = resolve("", &String::from_utf8_lossy(&name));
        let link = || {
            let header = || header.link_name_bytes().unwrap_or_default().into_owned();
            String::from_utf8_lossy(&extended.link.unwrap_or_else(header)).into_owned()
        };
        let member = match kind {
            EntryType::Regular | EntryType::Continuous => Member::File(span),
            EntryType::Symlink => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                Member::Link(resolve(folder, &link()))
            }
            EntryType::Link => Member::Link(resolve("", &link())),
            _ => return Ok(()),
        };
        if self.0.len() == MAX_MEMBERS {
            return Err(Flaw::Broken("it has too many members"));
        }
        self.0.insert(name, member);
        Ok(())
    }
}

impl Span {
    /// Where the next header stands.
    fn end(self) -> Option<u64> {
        self.offset
            .checked_add(self.size)?
            .checked_next_multiple_of(BLOCK as u64)
    }
}

impl Extended {
    fn read_records(&mut self, records: &[u8]) -> Result<(), Flaw> {
        let broken = || Flaw::Broken("a header in it is malformed");
        for record in PaxExtensions::new(records) {
            let record = record.map_err(|_| broken())?;
            match record.key_bytes() {
                b"path" => self.name = Some(record.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let size = record.value().ok().and_then(|size| size.parse().ok());
                    self.size = Some(size.ok_or_else(broken)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_header(file: &mut File, span: Span) -> Result<Vec<u8>, Flaw> {
    if span.size > MAX_HEADER {
        return Err(Flaw::Broken("a header in it is too long"));
    }
    let mut header = Vec::new();
    file.take(span.size).read_to_end(&mut header)?;
    Ok(header)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Brings a path into the form in which members are looked for, given the folder that it is relative to.
fn resolve(folder: &str, path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in folder.split('/').chain(path.split('/')) {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    components.join("/")
}

/// The sum of the header's bytes, with spaces in place of the sum itself.
fn has_right_checksum(block: &[u8; BLOCK]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let actual = sum(block) - sum(&block[CHECKSUM]) + 8 * u32::from(b' ');
    Header::from_byte_slice(block)
        .cksum()
        .is_ok_and(|expected| expected == actual)
}
