use super::Broken;
use crate::number::{Endian, slice};

/// Tells a database of `SQLite` by its first bytes.
pub(super) fn is(content: &[u8]) -> bool {
    content.starts_with(b"SQLite format 3\0")
}

/// Gives every blob of the table `Packages` to `add`.
///
/// Our own reader of what rpm writes, tables of a key and a blob: the library would be C code on hostile bytes. Changes
/// that are in a write-ahead log only are not seen; rpm writes them back when it closes its database. Source: `SQLite`,
/// "Database file format".
pub(super) fn each_blob(content: &[u8], add: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
    let database = Database::new(content).ok_or(Broken)?;
    let mut root = None;
    database.walk(1, &mut |record| {
        let mut values = Values::new(record)?;
        let is_table = values.next()? == b"table";
        values.next()?;
        let is_packages = values.next()? == b"Packages";
        let page = values
            .next()?
            .iter()
            .fold(0, |page, &byte| page << 8 | usize::from(byte));
        if is_table && is_packages {
            root = Some(page);
        }
        Some(())
    })?;
    database.walk(root.ok_or(Broken)?, &mut |record| {
        let mut values = Values::new(record)?;
        // The key stands in the tree itself.
        values.next()?;
        add(values.next()?);
        Some(())
    })
}

struct Database<'a> {
    content: &'a [u8],
    page: usize,
    /// What is used of a page.
    usable: usize,
}

/// How deep a tree may be; with pages of 512 bytes one of this depth would be larger than any file.
const MAX_DEPTH: usize = 20;

/// What comes before the first page's own header.
const FILE_HEADER: usize = 100;

const INNER: u8 = 5;
const LEAF: u8 = 13;

impl<'a> Database<'a> {
    fn new(content: &'a [u8]) -> Option<Self> {
        let page = match Endian::Big.u16(content, 16)? {
            1 => 1 << 16,
            size => usize::from(size),
        };
        let reserved = usize::from(*content.get(20)?);
        (page.is_power_of_two() && page >= 512 && reserved < page / 2).then(|| Self {
            content,
            page,
            usable: page - reserved,
        })
    }

    fn page(&self, number: usize) -> Option<&'a [u8]> {
        slice(
            self.content,
            number.checked_sub(1)?.checked_mul(self.page)?,
            self.usable,
        )
    }

    /// Gives every record of a table's tree to `see`.
    fn walk(&self, root: usize, see: &mut dyn FnMut(&[u8]) -> Option<()>) -> Result<(), Broken> {
        // A tree has each page once, so one that leads to more of them is none.
        let mut pages = self.content.len() / self.page;
        let mut records = Records {
            budget: self.content.len(),
            record: Vec::new(),
        };
        let mut pending = vec![(root, 0)];
        let mut result = Ok(());
        while let Some((number, depth)) = pending.pop() {
            if pages == 0 || depth > MAX_DEPTH {
                return Err(Broken);
            }
            pages -= 1;
            let node = Node::new(self, number);
            if node
                .and_then(|node| self.walk_node(&node, depth, &mut pending, &mut records, see))
                .is_none()
            {
                result = Err(Broken);
            }
        }
        result
    }

    fn walk_node(
        &self,
        node: &Node<'a>,
        depth: usize,
        pending: &mut Vec<(usize, usize)>,
        records: &mut Records,
        see: &mut dyn FnMut(&[u8]) -> Option<()>,
    ) -> Option<()> {
        match node.kind {
            INNER => {
                pending.push((Endian::Big.size(node.header, 8)?, depth + 1));
                for cell in node.cells(12) {
                    pending.push((Endian::Big.size(cell?, 0)?, depth + 1));
                }
            }
            LEAF => {
                for cell in node.cells(8) {
                    self.read_record(cell?, records)?;
                    see(&records.record)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Puts a record together from its cell and the pages that continue it.
    fn read_record(&self, cell: &[u8], records: &mut Records) -> Option<()> {
        let (size, cell) = varint(cell)?;
        let (_key, cell) = varint(cell)?;
        let size = usize::try_from(size).ok()?;
        records.budget = records.budget.checked_sub(size)?;
        let local = self.local(size);
        let record = &mut records.record;
        record.clear();
        record.extend_from_slice(cell.get(..local)?);
        if local == size {
            return Some(());
        }
        let mut next = Endian::Big.size(cell, local)?;
        while record.len() < size {
            let page = self.page(next)?;
            let count = (size - record.len()).min(page.len() - 4);
            record.extend_from_slice(&page[4..4 + count]);
            next = Endian::Big.size(page, 0)?;
        }
        Some(())
    }

    /// Tells how much of a record stands in its cell.
    fn local(&self, size: usize) -> usize {
        let most = self.usable - 35;
        if size <= most {
            return size;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (size - least) % (self.usable - 4);
        if fitting <= most { fitting } else { least }
    }
}

/// The record that is read, and how many bytes further ones may have: a page belongs to one record, so that all of them
/// are no longer than the file.
struct Records {
    budget: usize,
    record: Vec<u8>,
}

/// A page of a tree.
struct Node<'a> {
    kind: u8,
    page: &'a [u8],
    header: &'a [u8],
}

impl<'a> Node<'a> {
    fn new(database: &Database<'a>, number: usize) -> Option<Self> {
        let page = database.page(number)?;
        let header = if number == 1 {
            page.get(FILE_HEADER..)?
        } else {
            page
        };
        Some(Self {
            kind: *header.first()?,
            page,
            header,
        })
    }

    /// Lists the cells, each up to the page's end.
    fn cells(&self, header: usize) -> impl Iterator<Item = Option<&'a [u8]>> {
        let (page, after) = (self.page, self.header);
        let count = Endian::Big.u16(after, 3).unwrap_or_default();
        (0..usize::from(count)).map(move |cell| {
            let place = Endian::Big.u16(after, header + 2 * cell)?;
            page.get(usize::from(place)..)
        })
    }
}

/// The values of a record.
struct Values<'a> {
    types: &'a [u8],
    values: &'a [u8],
}

impl<'a> Values<'a> {
    fn new(record: &'a [u8]) -> Option<Self> {
        let (header, rest) = varint(record)?;
        let header = usize::try_from(header).ok()?;
        let types = rest.get(..header.checked_sub(record.len() - rest.len())?)?;
        Some(Self {
            types,
            values: &record[header..],
        })
    }

    /// Returns the next value's bytes; none for those that are written without any.
    fn next(&mut self) -> Option<&'a [u8]> {
        let (kind, types) = varint(self.types)?;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            size => usize::try_from((size - 12) / 2).ok()?,
        };
        self.types = types;
        let (value, rest) = self.values.split_at_checked(size)?;
        self.values = rest;
        Some(value)
    }
}

/// Splits off a number of up to nine bytes, seven bits in each of them but the last, which has eight.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().enumerate().take(9) {
        if index == 8 {
            return Some((number << 8 | u64::from(byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_one_to_nine_bytes() {
        for (bytes, number, left) in [
            (&[0x7f, 1][..], 127, 1),
            (&[0x81, 0x00], 128, 0),
            (&[0xff; 9], u64::MAX, 0),
        ] {
            let (found, rest) = varint(bytes).unwrap();
            assert_eq!((found, rest.len()), (number, left));
        }
        assert_eq!(varint(&[0x80]), None);
        assert_eq!(varint(&[]), None);
    }
}
