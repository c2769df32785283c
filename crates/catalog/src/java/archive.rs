use std::io::{self, BufRead, Read, Take};

use flate2::bufread::DeflateDecoder;

use crate::number::Endian;

/// The archive is not as its format says; where its next member starts is not known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Walks the members of a zip archive from one local header to the next.
///
/// The list at the archive's end, which other readers start from, is not waited for, so that nothing must be held. What
/// it would tell otherwise: members that were deleted without rewriting the archive are seen. Source: PKWARE,
/// "APPNOTE.TXT", 4.3.
pub(crate) struct Archive<'c> {
    content: &'c mut dyn BufRead,
    is_begun: bool,
}

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const HEADER: usize = 26;
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

const IS_ENCRYPTED: u16 = 1;
const HAS_DESCRIPTOR: u16 = 8;
const WIDE_SIZES: u16 = 1;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

impl<'c> Archive<'c> {
    pub(crate) fn new(content: &'c mut dyn BufRead) -> Self {
        Self {
            content,
            is_begun: false,
        }
    }

    /// Goes to the next member; nothing behind the last one.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member<'_>>, Broken> {
        let is_there = if self.is_begun {
            let mut signature = [0; 4];
            self.read(&mut signature)?;
            match signature {
                LOCAL => true,
                // The list of members, what may stand before it, or the end of an archive without any.
                [b'P', b'K', 1 | 5 | 6, _] => false,
                _ => return Err(Broken),
            }
        } else {
            self.skip_start()?
        };
        if !is_there {
            return Ok(None);
        }
        self.is_begun = true;
        self.read_header().map(Some)
    }

    /// Passes over a program that stands before the archive, and the first signature.
    fn skip_start(&mut self) -> Result<bool, Broken> {
        let mut last = [0; 4];
        for _ in 0..MAX_START {
            let mut byte = [0];
            self.read(&mut byte)?;
            last = [last[1], last[2], last[3], byte[0]];
            match last {
                LOCAL => return Ok(true),
                [b'P', b'K', 5, 6] => return Ok(false),
                _ => {}
            }
        }
        Err(Broken)
    }

    fn read_header(&mut self) -> Result<Member<'_>, Broken> {
        let mut header = [0; HEADER];
        self.read(&mut header)?;
        let short = |at| Endian::Little.u16(&header, at).ok_or(Broken);
        let (flags, method) = (short(2)?, short(4)?);
        let mut size = u64::from(Endian::Little.u32(&header, 14).ok_or(Broken)?);
        let mut name = vec![0; short(22)?.into()];
        let mut extra = vec![0; short(24)?.into()];
        self.read(&mut name)?;
        self.read(&mut extra)?;
        if size == u64::from(u32::MAX) {
            // The unpacked size comes first.
            let wide = extra_field(&extra, WIDE_SIZES).ok_or(Broken)?;
            size = Endian::Little.u64(wide, 8).ok_or(Broken)?;
        }
        let has_descriptor = flags & HAS_DESCRIPTOR != 0;
        let is_readable = flags & IS_ENCRYPTED == 0 && matches!(method, STORED | DEFLATED);
        // Of what is deflated the end tells itself; of anything else its size must be known.
        let is_open = has_descriptor && method == DEFLATED && is_readable;
        let content: &mut dyn BufRead = &mut *self.content;
        let packed = content.take(if is_open { u64::MAX } else { size });
        Ok(Member {
            name: String::from_utf8_lossy(&name).into_owned(),
            body: match method {
                DEFLATED if is_readable => Body::Deflated(DeflateDecoder::new(packed)),
                _ => Body::Plain(packed),
            },
            is_readable,
            is_open,
            has_descriptor,
            size,
            unpacked: Vec::new(),
            start: 0,
        })
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), Broken> {
        self.content.read_exact(into).map_err(|_| Broken)
    }
}

/// One file in an archive.
pub(crate) struct Member<'m> {
    name: String,
    body: Body<'m>,
    is_readable: bool,
    /// Its size is not known before its end.
    is_open: bool,
    has_descriptor: bool,
    /// Packed.
    size: u64,
    unpacked: Vec<u8>,
    start: usize,
}

enum Body<'m> {
    Plain(Take<&'m mut dyn BufRead>),
    Deflated(DeflateDecoder<Take<&'m mut dyn BufRead>>),
}

/// How much is inflated at once.
const PIECE: usize = 32 << 10;

impl Member<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Passes over what is left, inflating at most `budget` bytes to find the end; returns how many there were.
    pub(crate) fn finish(mut self, budget: u64) -> Result<u64, Broken> {
        let mut passed = 0;
        if self.is_open {
            loop {
                let count = self.fill_buf().map_err(|_| Broken)?.len();
                if count == 0 || passed > budget {
                    break;
                }
                passed += count as u64;
                self.consume(count);
            }
        }
        let (mut packed, sizes) = match self.body {
            Body::Plain(packed) => (packed, (self.size, self.size)),
            Body::Deflated(decoder) => {
                let sizes = (decoder.total_in(), decoder.total_out());
                (decoder.into_inner(), sizes)
            }
        };
        if !self.is_open {
            skip(&mut packed)?;
        }
        if self.has_descriptor && passed <= budget {
            skip_descriptor(packed.into_inner(), sizes)?;
        }
        Ok(passed)
    }
}

impl BufRead for Member<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.body {
            _ if !self.is_readable => Ok(&[]),
            Body::Plain(packed) => packed.fill_buf(),
            Body::Deflated(decoder) => {
                if self.start == self.unpacked.len() {
                    self.unpacked.resize(PIECE, 0);
                    let count = decoder.read(&mut self.unpacked)?;
                    self.unpacked.truncate(count);
                    self.start = 0;
                }
                Ok(&self.unpacked[self.start..])
            }
        }
    }

    fn consume(&mut self, count: usize) {
        match &mut self.body {
            Body::Plain(packed) => packed.consume(count),
            Body::Deflated(_) => self.start += count,
        }
    }
}

impl Read for Member<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Passes over all that is left.
fn skip(packed: &mut Take<&mut dyn BufRead>) -> Result<(), Broken> {
    while packed.limit() > 0 {
        let count = packed.fill_buf().map_err(|_| Broken)?.len();
        if count == 0 {
            return Err(Broken);
        }
        packed.consume(count);
    }
    Ok(())
}

/// Passes over the checksum and the sizes behind a member: with a signature or without, sizes of four bytes or of eight.
fn skip_descriptor(content: &mut dyn BufRead, (packed, unpacked): (u64, u64)) -> Result<(), Broken> {
    let mut four = [0; 4];
    let mut eight = [0; 8];
    content.read_exact(&mut four).map_err(|_| Broken)?;
    if four == DESCRIPTOR {
        content.read_exact(&mut four).map_err(|_| Broken)?;
    }
    content.read_exact(&mut eight).map_err(|_| Broken)?;
    let is_wide = if unpacked == 0 {
        content.fill_buf().map_err(|_| Broken)?.first() != Some(&b'P')
    } else {
        u64::from_le_bytes(eight) == packed
    };
    if is_wide {
        content.read_exact(&mut eight).map_err(|_| Broken)?;
    }
    Ok(())
}

/// How far an archive's first member is looked for.
const MAX_START: usize = 1 << 20;

fn extra_field(mut extra: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let kind = Endian::Little.u16(extra, 0)?;
        let size = usize::from(Endian::Little.u16(extra, 2)?);
        let field = extra.get(4..4 + size)?;
        if kind == wanted {
            return Some(field);
        }
        extra = &extra[4 + size..];
    }
}
