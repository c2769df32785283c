use super::Broken;
use crate::number::{Endian, slice};

const HASH_MAGIC: u32 = 0x0006_1561;
const PAGE_HEADER: usize = 26;

const UNSORTED_HASH_PAGE: u8 = 2;
const OVERFLOW_PAGE: u8 = 7;
const HASH_PAGE: u8 = 13;

const INLINE: u8 = 1;
const OFF_PAGE: u8 = 3;

/// Gives every package's blob to `add`.
///
/// The database is a hash table, but every page says what it is, so all of its pages are gone through one by one. Keys
/// and values take turns; a value of any length stands on overflow pages. The key 0 has the number of the last package
/// for a value. Source: Berkeley DB 5.3, `dbinc/db_page.h`.
pub(super) fn each_blob(content: &[u8], add: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
    let database = Database::new(content).ok_or(Broken)?;
    let mut result = Ok(());
    // A page belongs to one value, so that all of them are no longer than the file.
    let mut budget = content.len();
    let mut value = Vec::new();
    for page in content.chunks_exact(database.page) {
        if !matches!(page[25], HASH_PAGE | UNSORTED_HASH_PAGE) {
            continue;
        }
        let entries = usize::from(database.endian.u16(page, 20).unwrap_or_default());
        for index in (1..entries).step_by(2) {
            value.clear();
            let read = database.read_value(page, index, budget, &mut value);
            budget -= value.len();
            match read {
                Some(()) if value.len() == size_of::<u32>() => {}
                Some(()) => add(&value),
                None => result = Err(Broken),
            }
        }
    }
    result
}

struct Database<'a> {
    content: &'a [u8],
    /// Written in the order of the machine that made it.
    endian: Endian,
    page: usize,
}

impl<'a> Database<'a> {
    fn new(content: &'a [u8]) -> Option<Self> {
        let endian = [Endian::Little, Endian::Big]
            .into_iter()
            .find(|endian| endian.u32(content, 12) == Some(HASH_MAGIC))?;
        let page = endian.size(content, 20)?;
        (page.is_power_of_two() && (512..=1 << 16).contains(&page)).then_some(Self {
            content,
            endian,
            page,
        })
    }

    fn page(&self, number: usize) -> Option<&'a [u8]> {
        slice(self.content, number.checked_mul(self.page)?, self.page)
    }

    /// Reads one entry of a page, up to `budget` bytes.
    fn read_value(&self, page: &[u8], index: usize, budget: usize, value: &mut Vec<u8>) -> Option<()> {
        let place = |index: usize| Some(usize::from(self.endian.u16(page, PAGE_HEADER + 2 * index)?));
        // Entries grow from the page's end towards its start.
        let entry = page.get(place(index)?..place(index - 1)?)?;
        match *entry.first()? {
            INLINE => value.extend_from_slice(entry.get(1..)?.get(..budget.min(entry.len() - 1))?),
            OFF_PAGE => {
                let size = self.endian.size(entry, 8).filter(|size| *size <= budget)?;
                self.read_overflow(self.endian.size(entry, 4)?, size, value)?;
            }
            _ => return None,
        }
        Some(())
    }

    /// Follows a chain of overflow pages.
    fn read_overflow(&self, first: usize, size: usize, value: &mut Vec<u8>) -> Option<()> {
        let mut next = first;
        while value.len() < size {
            let page = self.page(next).filter(|page| page[25] == OVERFLOW_PAGE)?;
            let used = usize::from(self.endian.u16(page, 22)?).min(size - value.len());
            let part = slice(page, PAGE_HEADER, used).filter(|part| !part.is_empty())?;
            value.extend_from_slice(part);
            next = self.endian.size(page, 16)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: usize = 512;

    /// A metadata page, a hash page with two values of which one is on overflow pages, and these.
    fn database(endian: Endian) -> Vec<u8> {
        let short = |number: u16| match endian {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        };
        let long = |number: u32| match endian {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        };
        let mut content = vec![0; 4 * PAGE];
        content[12..16].copy_from_slice(&long(HASH_MAGIC));
        content[20..24].copy_from_slice(&long(512));
        let page = &mut content[PAGE..2 * PAGE];
        page[25] = HASH_PAGE;
        page[20..22].copy_from_slice(&short(4));
        let off_page = [&[OFF_PAGE, 0, 0, 0][..], &long(2), &long(600)].concat();
        let mut end = PAGE;
        for (index, entry) in [&[INLINE, 1][..], &off_page, &[INLINE, 2], b"\x01inline"]
            .into_iter()
            .enumerate()
        {
            end -= entry.len();
            page[end..end + entry.len()].copy_from_slice(entry);
            let at = PAGE_HEADER + 2 * index;
            page[at..at + 2].copy_from_slice(&short(u16::try_from(end).unwrap()));
        }
        for (number, used, next) in [(2, 486, 3), (3, 114, 0)] {
            let page = &mut content[number * PAGE..(number + 1) * PAGE];
            page[25] = OVERFLOW_PAGE;
            page[16..20].copy_from_slice(&long(next));
            page[22..24].copy_from_slice(&short(used));
            page[PAGE_HEADER..PAGE_HEADER + usize::from(used)].fill(b'v');
        }
        content
    }

    fn blobs(content: &[u8]) -> (Vec<Vec<u8>>, Result<(), Broken>) {
        let mut blobs = Vec::new();
        let result = each_blob(content, &mut |blob| blobs.push(blob.to_vec()));
        (blobs, result)
    }

    #[test]
    fn values_are_read_from_their_page_and_from_others_in_either_order_of_bytes() {
        for endian in [Endian::Little, Endian::Big] {
            assert_eq!(
                blobs(&database(endian)),
                (vec![vec![b'v'; 600], b"inline".to_vec()], Ok(()))
            );
        }
    }

    #[test]
    fn a_chain_that_ends_early_or_goes_in_circles_hides_one_value_only() {
        for next in [9, 2] {
            let mut content = database(Endian::Little);
            content[2 * PAGE + 16] = next;
            let (found, result) = blobs(&content);
            // The circle has as many bytes as are wanted; the header in them is what fails then.
            assert_eq!(result.is_err(), next == 9);
            assert_eq!(found.last().unwrap(), b"inline");
        }
    }

    proptest! {
        #[test]
        fn mutated_databases_can_be_read(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut content = database(Endian::Little);
            let at = at.index(content.len());
            content[at] = byte;
            let whole = blobs(&content);
            content.truncate(cut.index(content.len()));
            prop_assert!(blobs(&content).0.len() <= whole.0.len().max(2));
        }
    }
}
