//! The targets with plain mutations of their seeds, without a fuzzer: what `make test` runs.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use portwarden_core::random::{OsRandomness, Randomness};
use portwarden_oci::Digest;

use crate::Target;

/// How long each target is tried.
const TRIED_FOR: Duration = Duration::from_secs(1);

/// No mutation is longer, in bytes.
const LONGEST: usize = 64 << 10;

/// Tries a target on its seeds, and then on mutations of them for a second.
pub(crate) fn try_target(name: &str) {
    let target = Target::named(name).unwrap();
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "seeds/{name} holds no seed");
    for seed in &seeds {
        try_input(target, seed);
    }
    let mut mutations = Mutations::new(&seeds);
    let started = Instant::now();
    while started.elapsed() < TRIED_FOR {
        try_input(target, &mutations.next());
    }
}

/// Runs a target, and keeps an input that it fails on.
fn try_input(target: &Target, input: &[u8]) {
    let Err(failure) = panic::catch_unwind(AssertUnwindSafe(|| target.run(input))) else {
        return;
    };
    let name = target.name;
    let folder = folder().join("../../target/fuzz/failures").join(name);
    let file = folder.join(&Digest::of(input).hex()[..16]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(&file, input).unwrap();
    println!(
        "{name} fails on {}; once it is mended, keep that in tests/fuzz/seeds/{name}",
        file.display()
    );
    panic::resume_unwind(failure);
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut folders = vec![folder().join("seeds").join(name)];
    while let Some(folder) = folders.pop() {
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            if file.is_dir() {
                folders.push(file);
            } else {
                seeds.push(fs::read(file).unwrap());
            }
        }
    }
    seeds
}

/// Changes seeds in the ways that parsers stumble over.
struct Mutations<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
}

/// Bytes and words that mean something to one format or another.
const TOKENS: [&[u8]; 20] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"[",
    b"/../",
    b"/",
    b":",
    b"=",
    b",",
    b"-1",
    b"0",
    b"null",
    b"18446744073709551616",
    b"\xff",
    b"\xc3\x28",
    b"\xe2\x80\xae",
    b" ",
];

impl<'a> Mutations<'a> {
    fn new(seeds: &'a [Vec<u8>]) -> Self {
        let mut start = [0; 8];
        OsRandomness.fill(&mut start);
        Self {
            seeds,
            state: u64::from_le_bytes(start),
        }
    }

    fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed().to_vec();
        for _ in 0..=self.below(6) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = at + self.below((input.len() - at).min(64) + 1);
        match self.below(7) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            0 | 1 => input.insert(at, u8::try_from(self.below(256)).unwrap()),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let piece = input[at..end].repeat(1 + self.below(40));
                input.splice(at..at, piece);
            }
            5 => {
                let other = self.seed();
                let from = self.below(other.len() + 1);
                input.splice(at..end, other[from..].iter().copied());
            }
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                input.splice(at..at, token.iter().copied());
            }
        }
    }

    fn seed(&mut self) -> &'a [u8] {
        let which = self.below(self.seeds.len());
        &self.seeds[which]
    }

    /// Returns a number below `end`; Steele, Lea and Flood's `SplitMix64` makes it.
    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap_or_default() % end
    }
}
