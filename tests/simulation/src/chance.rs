//! Randomness that comes from a seed, and from nothing else.

use std::sync::{Mutex, PoisonError};

use portwarden_core::random::Randomness;

/// A stream of random numbers; the same seed gives the same stream, on every machine.
///
/// Source: `SplitMix64`, Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Starts the stream of a seed.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 up to, and without, `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        // The bias of the remainder is far below what anything here could notice.
        usize::try_from(self.number() % limit.max(1) as u64).unwrap_or_default()
    }

    /// Returns a number from `low` up to, and without, `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low).max(1)
    }

    /// Tells whether something happens that happens in so many of a thousand cases.
    pub fn per_mille(&mut self, cases: u32) -> bool {
        self.number() % 1000 < u64::from(cases)
    }

    /// Picks one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// Starts another stream.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }
}

/// The randomness that the functions are given.
#[derive(Debug)]
pub(crate) struct Seeded(Mutex<Chance>);

impl Seeded {
    pub(crate) fn new(chance: Chance) -> Self {
        Self(Mutex::new(chance))
    }
}

impl Randomness for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        let mut chance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&chance.number().to_le_bytes()[..piece.len()]);
        }
    }
}
