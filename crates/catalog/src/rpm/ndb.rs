use super::Broken;
use crate::number::{Endian, slice};

const MAGIC: &[u8] = b"RpmP";
const SLOT_MAGIC: &[u8] = b"Slot";
const BLOB_MAGIC: &[u8] = b"BlbS";

const PAGE: usize = 4096;
const BLOCK: usize = 16;

/// Tells rpm's own kind of database by its first bytes.
pub(super) fn is(content: &[u8]) -> bool {
    content.starts_with(MAGIC)
}

/// Gives every package's blob to `add`.
///
/// Some pages of slots, the first two being the header; each slot says where a blob starts, in blocks of 16 bytes.
/// Source: rpm, `lib/backend/ndb/rpmpkg.c`.
pub(super) fn each_blob(content: &[u8], add: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
    let pages = Endian::Little.size(content, 12).ok_or(Broken)?;
    let slots = pages
        .checked_mul(PAGE)
        .and_then(|end| content.get(2 * BLOCK..end))
        .ok_or(Broken)?;
    // A blob belongs to one slot, so that all of them are no longer than the file.
    let mut budget = content.len();
    let mut result = Ok(());
    for slot in slots.chunks_exact(BLOCK) {
        if !slot.starts_with(SLOT_MAGIC) {
            return Err(Broken);
        }
        let package = Endian::Little.u32(slot, 4);
        if package == Some(0) {
            continue;
        }
        let blob = blob(content, slot, package).filter(|blob| blob.len() <= budget);
        match blob {
            Some(blob) => {
                budget -= blob.len();
                add(blob);
            }
            None => result = Err(Broken),
        }
    }
    result
}

fn blob<'a>(content: &'a [u8], slot: &[u8], package: Option<u32>) -> Option<&'a [u8]> {
    let place = Endian::Little.size(slot, 8)?.checked_mul(BLOCK)?;
    let head = slice(content, place, BLOCK)?;
    let is_right = head.starts_with(BLOB_MAGIC) && Endian::Little.u32(head, 4) == package;
    is_right.then(|| slice(content, place + BLOCK, Endian::Little.size(head, 12)?))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn database(blobs: &[&[u8]]) -> Vec<u8> {
        let mut content = vec![0; PAGE];
        content[..4].copy_from_slice(MAGIC);
        content[12] = 1;
        for slot in content[2 * BLOCK..].chunks_exact_mut(BLOCK) {
            slot[..4].copy_from_slice(SLOT_MAGIC);
        }
        for (index, blob) in (1..).zip(blobs) {
            let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
            let slot = (index + 1) * BLOCK;
            let place = content.len() / BLOCK;
            content[slot + 4..slot + 8].copy_from_slice(&number(index));
            content[slot + 8..slot + 12].copy_from_slice(&number(place));
            content.extend([BLOB_MAGIC, &number(index), &number(1), &number(blob.len()), blob].concat());
            content.resize(content.len().next_multiple_of(BLOCK), 0);
        }
        content
    }

    fn blobs(content: &[u8]) -> (Vec<Vec<u8>>, Result<(), Broken>) {
        let mut blobs = Vec::new();
        let result = each_blob(content, &mut |blob| blobs.push(blob.to_vec()));
        (blobs, result)
    }

    #[test]
    fn used_slots_lead_to_blobs() {
        let content = database(&[b"first", b"the second one"]);
        assert_eq!(
            blobs(&content),
            (vec![b"first".to_vec(), b"the second one".to_vec()], Ok(()))
        );
        assert_eq!(blobs(&database(&[])), (vec![], Ok(())));
    }

    #[test]
    fn one_broken_blob_does_not_hide_the_others() {
        let mut content = database(&[b"first", b"second"]);
        content[PAGE] = b'x';
        assert_eq!(blobs(&content), (vec![b"second".to_vec()], Err(Broken)));
    }

    proptest! {
        #[test]
        fn mutated_databases_can_be_read(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut content = database(&[b"first", b"second"]);
            // Most of the first page is empty slots.
            let places: Vec<usize> = (0..64).chain(PAGE..content.len()).collect();
            content[*at.get(&places)] = byte;
            let whole = blobs(&content);
            content.truncate(cut.index(content.len()));
            prop_assert!(blobs(&content).0.len() <= whole.0.len().max(2));
        }
    }
}
