use crate::number::{Endian, slice};

/// Where addresses of a running program stand in its file; empty for what is not ELF.
///
/// Source: the ELF specification, "Program header".
#[derive(Debug, Default)]
pub(super) struct Layout(Vec<Segment>);

#[derive(Debug)]
struct Segment {
    address: u64,
    offset: u64,
    size: u64,
}

const LOADED: u32 = 1;

/// More segments than any program has.
const MAX_SEGMENTS: usize = 64;

impl Layout {
    /// Reads the layout from a file's start.
    pub(super) fn read(start: &[u8]) -> Self {
        Self(segments(start).unwrap_or_default())
    }

    pub(super) fn offset(&self, address: u64) -> Option<u64> {
        self.0.iter().find_map(|segment| {
            let within = address.checked_sub(segment.address)?;
            (within < segment.size).then(|| segment.offset.checked_add(within))?
        })
    }
}

fn segments(start: &[u8]) -> Option<Vec<Segment>> {
    let [0x7f, b'E', b'L', b'F', class, order, ..] = start else {
        return None;
    };
    let endian = match order {
        1 => Endian::Little,
        2 => Endian::Big,
        _ => return None,
    };
    let (offset, size, count) = match class {
        1 => (
            u64::from(endian.u32(start, 28)?),
            endian.u16(start, 42)?,
            endian.u16(start, 44)?,
        ),
        2 => (
            endian.u64(start, 32)?,
            endian.u16(start, 54)?,
            endian.u16(start, 56)?,
        ),
        _ => return None,
    };
    let offset = usize::try_from(offset).ok()?;
    let headers = (0..usize::from(count).min(MAX_SEGMENTS)).map_while(|index| {
        slice(
            start,
            offset.checked_add(index * usize::from(size))?,
            usize::from(size),
        )
    });
    let loaded = headers.filter(|header| endian.u32(header, 0) == Some(LOADED));
    let segments = loaded.filter_map(|header| {
        Some(if *class == 1 {
            Segment {
                offset: endian.u32(header, 4)?.into(),
                address: endian.u32(header, 8)?.into(),
                size: endian.u32(header, 16)?.into(),
            }
        } else {
            Segment {
                offset: endian.u64(header, 8)?,
                address: endian.u64(header, 16)?,
                size: endian.u64(header, 32)?,
            }
        })
    });
    Some(segments.collect())
}
