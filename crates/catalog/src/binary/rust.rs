use flate2::{Decompress, FlushDecompress, Status};
use serde::Deserialize;

use super::{Evidence, window::Window};
use crate::{
    PartialCode,
    facts::{Declared, PackageKind},
};

/// The list of crates that `cargo auditable` puts into a program: JSON, compressed with zlib.
///
/// It stands in a section of its own, `.dep-v0`, but what that one holds tells itself: nearly nothing else inflates to
/// such a beginning. Source: the Rust Secure Code working group, `cargo-auditable`, `PARSING.md`.
#[derive(Default)]
pub(super) struct Audit {
    inflate: Option<Decompress>,
    packages: Option<Vec<Declared>>,
    flaw: Option<PartialCode>,
}

const BEGINNING: &[u8] = br#"{"packages":["#;

/// What a zlib stream starts with, without a dictionary and with a window of 32 KiB (RFC 1950, 2.2).
const ZLIB: u8 = 0x78;
const LEVELS: [u8; 4] = [0x01, 0x5e, 0x9c, 0xda];

/// Enough for the tables of a first block, and for its beginning.
const TRIAL: usize = 512;

impl Evidence for Audit {
    fn look(&mut self, window: &mut Window<'_>, count: usize) {
        if self.packages.is_some() {
            return;
        }
        let bytes = window.bytes();
        let found = memchr::memchr_iter(ZLIB, &bytes[..count]).find(|&at| {
            let stream = &bytes[at..bytes.len().min(at + TRIAL)];
            // The next two bits but one say how the first block is compressed; plain text is not.
            matches!(stream, [_, level, block, ..] if LEVELS.contains(level) && matches!(block & 6, 2 | 4))
                && begins_rightly(&mut self.inflate, stream)
        });
        if let Some(at) = found {
            self.read(window, at);
        }
    }

    fn finish(self: Box<Self>) -> (Vec<Declared>, Option<PartialCode>) {
        (self.packages.unwrap_or_default(), self.flaw)
    }
}

fn begins_rightly(inflate: &mut Option<Decompress>, stream: &[u8]) -> bool {
    let inflate = inflate.get_or_insert_with(|| Decompress::new(true));
    inflate.reset(true);
    let mut start = [0; BEGINNING.len()];
    let result = inflate.decompress(stream, &mut start, FlushDecompress::None);
    result.is_ok() && start == BEGINNING
}

impl Audit {
    fn read(&mut self, window: &mut Window<'_>, at: usize) {
        let most = window.most();
        let mut inflate = Decompress::new(true);
        let mut json = Vec::new();
        loop {
            let taken = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
            let from = at.saturating_add(taken);
            window.ensure(from.saturating_add(TRIAL));
            let input = window.bytes().get(from..).unwrap_or_default();
            json.reserve(64 << 10);
            let before = (inflate.total_in(), json.len());
            match inflate.decompress_vec(input, &mut json, FlushDecompress::None) {
                Ok(Status::StreamEnd) => break,
                _ if json.len() > most => return self.flaw = Some(PartialCode::RecordBytes),
                Ok(_) if (inflate.total_in(), json.len()) != before => {}
                _ => return self.flaw = Some(PartialCode::Malformed),
            }
        }
        match parse(&json) {
            Some(packages) => self.packages = Some(packages),
            None => self.flaw = Some(PartialCode::Malformed),
        }
    }
}

#[derive(Deserialize)]
struct List {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    #[serde(default)]
    kind: Kind,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// It helped to build the program and is not in it.
    Build,
    #[default]
    #[serde(other)]
    Runtime,
}

fn parse(json: &[u8]) -> Option<Vec<Declared>> {
    let list: List = serde_json::from_slice(json).ok()?;
    let crates = list
        .packages
        .into_iter()
        .filter(|package| matches!(package.kind, Kind::Runtime));
    Some(
        crates
            .filter_map(|package| Declared::new(PackageKind::Cargo, &package.name, Some(&package.version)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::ZlibEncoder};
    use proptest::prelude::*;

    use super::*;
    use crate::binary::{PIECE, look_through};

    const JSON: &str = r#"{"packages":[
        {"name":"app","version":"0.1.0","source":"local","dependencies":[1,2],"root":true},
        {"name":"cc","version":"1.0.83","source":"crates.io","kind":"build"},
        {"name":"serde","version":"1.0.188","source":"crates.io"}]}"#;

    fn compressed(json: &str, level: u32) -> Vec<u8> {
        let json = json.replace('\n', "").replace("  ", "");
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(json.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn found(program: &[u8], record_bytes: usize) -> (Vec<String>, Option<PartialCode>) {
        let mut evidence: [Box<dyn Evidence>; 1] = [Box::new(Audit::default())];
        look_through(&mut { program }, &mut evidence, record_bytes);
        let [audit] = evidence;
        let (packages, flaw) = audit.finish();
        let text = |package: Declared| format!("{} {}", package.name, package.version.unwrap());
        (packages.into_iter().map(text).collect(), flaw)
    }

    #[test]
    fn the_list_is_found_wherever_it_stands() {
        for level in [1, 6, 9] {
            let list = compressed(JSON, level);
            for before in [0, 1, 100, PIECE - 1, PIECE, PIECE + 40, 3 * PIECE - 3] {
                // What is before has many streams that begin and come to nothing.
                let noise: Vec<u8> = [0x78, 0x9c, 0x05].into_iter().cycle().take(before).collect();
                let program = [&noise, &list, &[0x78; 100][..]].concat();
                let expected = vec!["app 0.1.0".to_owned(), "serde 1.0.188".to_owned()];
                assert_eq!(found(&program, 1 << 20), (expected, None), "{level} {before}");
            }
        }
    }

    #[test]
    fn a_list_that_is_cut_off_or_too_long_is_missed_with_notice() {
        let list = compressed(JSON, 6);
        assert_eq!(
            found(&list[..list.len() - 20], 1 << 20),
            (vec![], Some(PartialCode::Malformed))
        );
        let long = format!(r#"{{"packages":["{}"]}}"#, "x".repeat(1 << 20));
        assert_eq!(
            found(&compressed(&long, 9), 300 << 10),
            (vec![], Some(PartialCode::RecordBytes))
        );
        assert_eq!(found(b"x\x9cnothing", 1 << 20), (vec![], None));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_through(mut program: Vec<u8>, at: prop::sample::Index, byte: u8) {
            found(&program, 1 << 20);
            program = compressed(JSON, 6);
            let at = at.index(program.len());
            program[at] = byte;
            prop_assert!(found(&program, 1 << 20).0.len() <= 3);
        }
    }
}
