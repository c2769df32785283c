#![doc = include_str!("../README.md")]
#![allow(
    clippy::unwrap_used,
    reason = "a target that cannot go on has found something"
)]

mod law;
mod memory;
#[cfg(test)]
mod smoke;
mod targets;

pub use targets::targets;

/// One parser, or a few that belong together, and what must hold of it for any bytes.
pub struct Target {
    /// The name, which is also that of its folder of seeds.
    pub name: &'static str,
    check: fn(&[u8]),
}

impl Target {
    /// Finds a target.
    pub fn named(name: &str) -> Option<&'static Self> {
        targets().find(|target| target.name == name)
    }

    /// Checks what must hold for `input`.
    ///
    /// # Panics
    ///
    /// When something does not hold, or when it took more memory than such an input is worth.
    pub fn run(&self, input: &[u8]) {
        let peak = memory::peak_of(|| (self.check)(input));
        let most = MEMORY + input.len() * MEMORY_PER_BYTE;
        assert!(
            peak <= most,
            "{peak} bytes of memory for an input of {}",
            input.len()
        );
    }
}

/// How many bytes of memory a target may take at once: an Argon2 hash takes 19 MiB, everything else far less.
const MEMORY: usize = 24 << 20;

/// How many bytes of memory each byte of the input may cost besides: a tree of JSON values takes up to some 70.
const MEMORY_PER_BYTE: usize = 128;
