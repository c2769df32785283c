//! What the Go linker puts into a program: the version of Go, and the modules that it was built from.
//!
//! Since Go 1.18 both texts stand behind a mark. Before, there were pointers to them behind the mark: the list of modules
//! is then found by the marks that it has itself, and the version by following the pointer, to a place that comes later,
//! and from there to one that has passed by, for which every text that could be a version is remembered.
//! Source: Go's `debug/buildinfo` and `cmd/link`.

mod layout;
mod modules;

use memchr::memmem;

use self::layout::Layout;
use super::{Evidence, window::Window};
use crate::{PartialCode, facts::Declared, number::Endian};

/// The mark, and what follows it: the size of pointers, and flags.
const MARK: &[u8] = b"\xff Go buildinf:";
const POINTER_SIZE: usize = 14;
const FLAGS: usize = 15;
/// Where the pointers stand.
const POINTERS: usize = 16;
/// Where the texts stand, if there are no pointers.
const TEXTS: usize = 32;
/// The linker places the mark so.
const ALIGNMENT: u64 = 16;

const IS_BIG_ENDIAN: u8 = 1;
const HAS_TEXTS: u8 = 2;

/// What the list of modules stands between.
const LIST_START: &[u8] = &[
    0x30, 0x77, 0xaf, 0x0c, 0x92, 0x74, 0x08, 0x02, 0x41, 0xe1, 0xc1, 0x07, 0xe6, 0xd6, 0x18, 0xe6,
];
const LIST_END: &[u8] = &[
    0xf9, 0x32, 0x43, 0x31, 0x86, 0x18, 0x20, 0x72, 0x00, 0x82, 0x42, 0x10, 0x41, 0x16, 0xd8, 0xf2,
];

/// How versions begin, and how long they are at most.
const VERSION: &[u8] = b"go1.";
const MAX_VERSION: usize = 48;
/// How many texts that could be the version are remembered; programs have a few hundred.
const MAX_CANDIDATES: usize = 4096;

#[derive(Default)]
pub(super) struct Go {
    layout: Layout,
    /// What stands behind the mark.
    version: Option<String>,
    modules: Option<String>,
    /// A list of modules that was met before or without the mark.
    list: Option<String>,
    /// Where the version's text and length stand, for older programs.
    pointer: Option<Pointer>,
    candidates: Vec<(u64, [u8; MAX_VERSION])>,
    flaw: Option<PartialCode>,
}

#[derive(Debug, Clone, Copy)]
struct Pointer {
    offset: u64,
    is_wide: bool,
    endian: Endian,
}

impl Evidence for Go {
    fn look(&mut self, window: &mut Window<'_>, count: usize) {
        if window.offset() == 0 {
            self.layout = Layout::read(window.bytes());
        }
        if self.version.is_none() {
            self.remember_versions(window, count);
            self.follow(window, count);
            self.find_mark(window, count);
        }
        if self.modules.is_none() && self.list.is_none() {
            self.find_list(window, count);
        }
    }

    fn finish(self: Box<Self>) -> (Vec<Declared>, Option<PartialCode>) {
        let Some(version) = self.version else {
            // Without the mark it is no program of Go's, whatever else is in it.
            return (Vec::new(), None);
        };
        let modules = self.modules.or(self.list).unwrap_or_default();
        (modules::declare(&version, &modules), self.flaw)
    }
}

impl Go {
    fn find_mark(&mut self, window: &mut Window<'_>, count: usize) {
        let places: Vec<usize> = starts(window, count, MARK).collect();
        for at in places {
            if (window.offset() + at as u64).is_multiple_of(ALIGNMENT) && self.version.is_none() {
                // A program that reads such marks has one of them that nothing follows.
                self.read_mark(window, at);
            }
        }
    }

    fn read_mark(&mut self, window: &mut Window<'_>, at: usize) -> Option<()> {
        let head: [u8; TEXTS] = window.get(at, TEXTS)?.try_into().ok()?;
        if head[FLAGS] & HAS_TEXTS == 0 {
            let endian = match head[FLAGS] & IS_BIG_ENDIAN {
                0 => Endian::Little,
                _ => Endian::Big,
            };
            let is_wide = match head[POINTER_SIZE] {
                4 => false,
                8 => true,
                _ => return None,
            };
            let offset = self.layout.offset(address(&head, POINTERS, is_wide, endian)?)?;
            self.pointer.get_or_insert(Pointer {
                offset,
                is_wide,
                endian,
            });
            return Some(());
        }
        let (version, next) = self.text(window, at + TEXTS)?;
        if !is_version(&version) {
            return None;
        }
        self.version = Some(version);
        let (list, _) = self.text(window, next)?;
        self.modules = Some(list);
        Some(())
    }

    /// Reads a text that has its length before it, and returns where it ends.
    fn text(&mut self, window: &mut Window<'_>, at: usize) -> Option<(String, usize)> {
        let mut size = 0;
        let mut from = at;
        for shift in (0..35).step_by(7) {
            let byte = window.get(from, 1)?[0];
            from += 1;
            size |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        if from + size > window.most() {
            self.flaw = Some(PartialCode::RecordBytes);
            return None;
        }
        let text = without_marks(window.get(from, size)?);
        Some((String::from_utf8_lossy(text).into_owned(), from + size))
    }

    fn remember_versions(&mut self, window: &Window<'_>, count: usize) {
        let bytes = window.bytes();
        for at in starts(window, count, VERSION) {
            if self.candidates.len() == MAX_CANDIDATES {
                break;
            }
            let text = &bytes[at..bytes.len().min(at + MAX_VERSION)];
            let mut candidate = [0; MAX_VERSION];
            candidate[..text.len()].copy_from_slice(text);
            self.candidates.push((window.offset() + at as u64, candidate));
        }
    }

    /// Follows the pointer when its place passes by.
    fn follow(&mut self, window: &mut Window<'_>, count: usize) -> Option<()> {
        let pointer = self.pointer?;
        let at = usize::try_from(pointer.offset.checked_sub(window.offset())?).ok()?;
        if at >= count {
            return None;
        }
        self.pointer = None;
        let bytes = window.get(at, 16)?;
        let Pointer { is_wide, endian, .. } = pointer;
        let text = self.layout.offset(address(bytes, 0, is_wide, endian)?)?;
        let size = address(bytes, if is_wide { 8 } else { 4 }, is_wide, endian)?;
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_VERSION)?;
        let (_, candidate) = self.candidates.iter().find(|(offset, _)| *offset == text)?;
        let version = String::from_utf8_lossy(&candidate[..size]).into_owned();
        self.version = is_version(&version).then_some(version);
        Some(())
    }

    fn find_list(&mut self, window: &mut Window<'_>, count: usize) {
        let Some(at) = starts(window, count, LIST_START).next() else {
            return;
        };
        let from = at + LIST_START.len();
        let mut reach = from + (16 << 10);
        loop {
            let available = window.ensure(reach);
            let bytes = &window.bytes()[from.min(available)..];
            if let Some(end) = memmem::find(bytes, LIST_END) {
                self.list = Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
                return;
            }
            if available < reach {
                // Either the stream ends, or the list is longer than may be; most likely it is none.
                return;
            }
            reach *= 2;
        }
    }
}

/// Finds the places in the first `count` bytes of the window where a mark starts.
fn starts<'w>(window: &'w Window<'_>, count: usize, mark: &'w [u8]) -> impl Iterator<Item = usize> + 'w {
    let bytes = window.bytes();
    memmem::find_iter(&bytes[..bytes.len().min(count + mark.len() - 1)], mark)
}

fn address(bytes: &[u8], at: usize, is_wide: bool, endian: Endian) -> Option<u64> {
    if is_wide {
        endian.u64(bytes, at)
    } else {
        endian.u32(bytes, at).map(u64::from)
    }
}

fn is_version(text: &str) -> bool {
    text.starts_with("go1") || text.starts_with("devel ")
}

/// Takes off what a list of modules stands between.
fn without_marks(text: &[u8]) -> &[u8] {
    text.strip_prefix(LIST_START)
        .and_then(|text| text.strip_suffix(LIST_END))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::binary::{PIECE, look_through};

    const LIST: &str =
        "path\tr.example/app\nmod\tr.example/app\tv1.0.0\t\ndep\tr.example/lib\tv0.2.0\th1:x=\n";
    const EXPECTED: [&str; 3] = ["r.example/app v1.0.0", "r.example/lib v0.2.0", "stdlib 1.17.13"];

    fn list() -> Vec<u8> {
        [LIST_START, LIST.as_bytes(), LIST_END].concat()
    }

    /// A program with texts behind the mark, which stands at `at`.
    fn inline(at: usize) -> Vec<u8> {
        let mut program = vec![0; at];
        program.extend(MARK);
        program.extend([0, HAS_TEXTS]);
        program.extend([0; 16]);
        for text in [b"go1.17.13".to_vec(), list()] {
            let mut size = text.len();
            while size >= 0x80 {
                program.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
                size >>= 7;
            }
            program.push(u8::try_from(size).unwrap());
            program.extend(text);
        }
        program
    }

    /// A program of 64 bits with one segment, at the address 0x400000, and pointers behind the mark.
    fn with_pointers(endian: Endian) -> Vec<u8> {
        let number = |number: u64| match endian {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        };
        let short = |number: u16| match endian {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        };
        let mut program = vec![0; 2 * PIECE];
        let end = program.len() as u64;
        let is_big = u8::from(endian == Endian::Big);
        program[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1 + is_big]);
        program[32..40].copy_from_slice(&number(64));
        program[54..56].copy_from_slice(&short(56));
        program[56..58].copy_from_slice(&short(1));
        program[64 + usize::from(is_big) * 3] = 1;
        program[80..88].copy_from_slice(&number(0x40_0000));
        program[96..104].copy_from_slice(&number(end));
        program[1000..1020].copy_from_slice(b"go1.99go1.17.13tail!");
        program[3000..3000 + list().len()].copy_from_slice(&list());
        program[32_000..32_014].copy_from_slice(MARK);
        program[32_014..32_016].copy_from_slice(&[8, is_big]);
        let variable = PIECE + 80;
        program[32_016..32_024].copy_from_slice(&number(0x40_0000 + variable as u64));
        program[variable..variable + 8].copy_from_slice(&number(0x40_0000 + 1006));
        program[variable + 8..variable + 16].copy_from_slice(&number(9));
        program
    }

    fn found(program: &[u8]) -> (Vec<String>, Option<PartialCode>) {
        let mut evidence: [Box<dyn Evidence>; 1] = [Box::new(Go::default())];
        look_through(&mut { program }, &mut evidence, 1 << 20);
        let [go] = evidence;
        let (packages, flaw) = go.finish();
        let text =
            |package: Declared| format!("{} {}", package.name, package.version.as_deref().unwrap_or("?"));
        (packages.into_iter().map(text).collect(), flaw)
    }

    #[test]
    fn texts_behind_the_mark_are_found_wherever_it_stands() {
        for at in [0, 16, PIECE - 16, PIECE, 3 * PIECE + 48] {
            assert_eq!(
                found(&inline(at)),
                (EXPECTED.map(str::to_owned).to_vec(), None),
                "{at}"
            );
        }
        assert_eq!(found(&inline(8)), (vec![], None));
    }

    #[test]
    fn pointers_are_followed_to_what_has_passed_by() {
        for endian in [Endian::Little, Endian::Big] {
            assert_eq!(
                found(&with_pointers(endian)),
                (EXPECTED.map(str::to_owned).to_vec(), None),
                "{endian:?}"
            );
        }
    }

    #[test]
    fn a_mark_that_nothing_follows_does_not_hide_another_one() {
        let mut program = MARK.to_vec();
        program.extend([8, 0, 9, 9, 9, 9, 9, 9, 9, 9]);
        program.resize(64, 0);
        program.extend(inline(0));
        assert_eq!(found(&program).0, EXPECTED);
        // Nor is a list of modules, without the mark, a program.
        assert_eq!(found(&list()), (vec![], None));
    }

    #[test]
    fn a_list_that_claims_to_be_too_long_is_missed_with_notice() {
        let mut program = inline(0);
        program[TEXTS + 10..TEXTS + 14].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
        let (found, flaw) = found(&program);
        assert_eq!(found, ["stdlib 1.17.13"]);
        assert_eq!(flaw, Some(PartialCode::RecordBytes));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_through(program: Vec<u8>) {
            found(&program);
        }

        #[test]
        fn mutated_programs_can_be_looked_through(at: prop::sample::Index, byte: u8, is_inline: bool) {
            let mut program = if is_inline { inline(16) } else { with_pointers(Endian::Little) };
            // Where there is something.
            let places: Vec<usize> = (0..program.len()).filter(|&at| program[at] != 0).collect();
            program[*at.get(&places)] = byte;
            prop_assert!(found(&program).0.len() <= 3);
        }
    }
}
