use std::io::{self, Read};

use crate::{Compression, Limits, PartialCode, compression::Inflated};

/// A blob that remembers whether reading it failed, since decoders report a failure of theirs and of their source alike.
pub(crate) struct Source<R> {
    blob: R,
    failed: Option<io::Error>,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(blob: R) -> Self {
        Self { blob, failed: None }
    }

    /// Reads to the blob's end, where its reader says whether size and digest are what they should be.
    pub(crate) fn drain(mut self) -> Result<(), io::Error> {
        let mut scratch = vec![0; UNPACKED_BUFFER];
        while self.failed.is_none() {
            if let Ok(0) = self.read(&mut scratch) {
                break;
            }
        }
        self.failed.map_or(Ok(()), Err)
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.kind().into());
        }
        loop {
            match self.blob.read(into) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    self.failed = Some(error);
                    return Err(kind.into());
                }
            }
        }
    }
}

/// The unpacked bytes of a layer, within the limits of bytes and time.
pub(crate) struct Unpacked<'a, R: Read> {
    inflated: Inflated<R>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    budget: u64,
    is_time_up: &'a dyn Fn() -> bool,
}

impl<'a, R: Read> Unpacked<'a, R> {
    pub(crate) fn new(
        blob: R,
        compression: Compression,
        limits: &Limits,
        is_time_up: &'a dyn Fn() -> bool,
    ) -> Result<Self, PartialCode> {
        Ok(Self {
            inflated: Inflated::new(blob, compression, limits, is_time_up)?,
            buffer: vec![0; UNPACKED_BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            budget: limits.unpacked_bytes,
            is_time_up,
        })
    }

    /// Returns how much of the place for what is large is taken by a window, in bytes.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.inflated.window_bytes()
    }

    /// Returns the next bytes, none only at the end.
    pub(crate) fn fill(&mut self) -> Result<&[u8], PartialCode> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.load()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Inflates into what is free of the buffer, and returns how many bytes there were.
    fn load(&mut self) -> Result<usize, PartialCode> {
        if (self.is_time_up)() {
            return Err(PartialCode::Time);
        }
        let count = self
            .inflated
            .read(&mut self.buffer[self.end..])
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => PartialCode::Truncated,
                _ => PartialCode::Compression,
            })?;
        self.budget = self
            .budget
            .checked_sub(count as u64)
            .ok_or(PartialCode::UnpackedBytes)?;
        self.end += count;
        Ok(count)
    }

    /// Takes `count` of the bytes that [`Unpacked::fill`] returned.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only what is there can be taken");
    }

    /// Returns the next bytes without taking them, at least `count` if there are as many.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], PartialCode> {
        while self.end - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.load()? == 0 {
                break;
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Fills `into` as far as there are bytes, and returns how many there were.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, PartialCode> {
        let mut filled = 0;
        while filled < into.len() {
            let available = self.fill()?;
            if available.is_empty() {
                break;
            }
            let count = available.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&available[..count]);
            self.start += count;
            filled += count;
        }
        Ok(filled)
    }

    /// Appends `count` bytes to `into` without trusting `count` for its capacity.
    pub(crate) fn append(&mut self, count: u64, into: &mut Vec<u8>) -> Result<(), PartialCode> {
        let mut missing = count;
        while missing > 0 {
            let available = self.fill()?;
            if available.is_empty() {
                return Err(PartialCode::Truncated);
            }
            let taken = &available[..available
                .len()
                .min(usize::try_from(missing).unwrap_or(usize::MAX))];
            into.extend_from_slice(taken);
            let taken = taken.len();
            self.start += taken;
            missing -= taken as u64;
        }
        Ok(())
    }

    /// Passes over `count` bytes, and returns how many were missing.
    pub(crate) fn skip(&mut self, count: u64) -> Result<u64, PartialCode> {
        let mut missing = count;
        while missing > 0 {
            let available = self.fill()?.len();
            if available == 0 {
                break;
            }
            let taken = available.min(usize::try_from(missing).unwrap_or(usize::MAX));
            self.start += taken;
            missing -= taken as u64;
        }
        Ok(missing)
    }
}

const UNPACKED_BUFFER: usize = 128 << 10;
