//! Programs and libraries (ELF, PE, Mach-O), which carry the list of what they were built from.
//!
//! They can be of any size, and tables that say what is where stand at their ends as often as at their starts. So no
//! table is used: what is looked for starts with something that can be told when it passes by.

mod go;
mod known;
mod rust;
mod window;

use std::io::BufRead;

use self::{go::Go, known::Version, rust::Audit, window::Window};
use crate::{
    Limits, PartialCode,
    cataloguer::{Inspector, Reading},
    facts::Declared,
    path::split,
};

pub(crate) struct Binaries;

impl Inspector for Binaries {
    fn wants(&self, _path: &str, start: &[u8]) -> bool {
        matches!(
            start,
            [0x7f, b'E', b'L', b'F', ..]
                | [b'M', b'Z', ..]
                | [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..]
                | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..]
        )
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, limits: &Limits) -> Reading {
        let mut evidence: [Box<dyn Evidence>; 3] = [
            Box::new(Go::default()),
            Box::new(Audit::default()),
            Box::new(Version::of(split(path).1)),
        ];
        look_through(content, &mut evidence, limits.record_bytes);
        let mut packages = Vec::new();
        let mut flaws = Vec::new();
        for found in evidence {
            let (found, flaw) = found.finish();
            packages.extend(found);
            flaws.extend(flaw);
        }
        Reading {
            flaws,
            ..Reading::of_packages(packages)
        }
    }
}

/// Something that can be found in a program as it passes by.
trait Evidence {
    /// Looks for what starts in the first `count` bytes of the window, which may be looked into further than that.
    fn look(&mut self, window: &mut Window<'_>, count: usize);

    /// Returns what was found, and what is missing.
    fn finish(self: Box<Self>) -> (Vec<Declared>, Option<PartialCode>);
}

fn look_through(content: &mut dyn BufRead, evidence: &mut [Box<dyn Evidence>], record_bytes: usize) {
    let mut window = Window::new(content, record_bytes);
    loop {
        let available = window.ensure(PIECE + MARK);
        let count = if available < PIECE + MARK {
            available
        } else {
            PIECE
        };
        if count == 0 {
            break;
        }
        for evidence in &mut *evidence {
            evidence.look(&mut window, count);
        }
        window.consume(count);
    }
}

/// How much is looked through at once.
const PIECE: usize = 64 << 10;

/// At least as long as each mark that evidence starts with, and each text that is all of it.
const MARK: usize = 160;
