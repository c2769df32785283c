use std::io::BufRead;

/// A part of a stream that moves forward, and grows where something reaches far.
pub(super) struct Window<'a> {
    content: &'a mut dyn BufRead,
    /// How far it may grow.
    most: usize,
    bytes: Vec<u8>,
    offset: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(content: &'a mut dyn BufRead, most: usize) -> Self {
        Self {
            content,
            most: most.max(256 << 10),
            bytes: Vec::new(),
            offset: 0,
        }
    }

    /// Where the window starts in the stream.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes the window have `count` bytes, if the stream has as many and the window may be as long, and returns how many
    /// it has.
    pub(super) fn ensure(&mut self, count: usize) -> usize {
        let count = count.min(self.most);
        while self.bytes.len() < count {
            // An error is the layer's, which notices by itself.
            let Ok(available @ [_, ..]) = self.content.fill_buf() else {
                break;
            };
            let taken = available.len().min(count - self.bytes.len());
            self.bytes.extend_from_slice(&available[..taken]);
            self.content.consume(taken);
        }
        self.bytes.len()
    }

    /// Returns `count` bytes from a place in the window on, if there are as many.
    pub(super) fn get(&mut self, at: usize, count: usize) -> Option<&[u8]> {
        let end = at.checked_add(count)?;
        self.ensure(end);
        self.bytes.get(at..end)
    }

    /// How long the window may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Moves the window forward.
    pub(super) fn consume(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.offset += count as u64;
    }
}
