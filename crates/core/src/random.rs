//! Where randomness comes from, so that tests and the simulation can own it.

use secrecy::SecretString;

/// A source of random bytes.
pub trait Randomness: Send + Sync {
    /// Fills `bytes` with random ones.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's randomness: fit for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandomness;

impl Randomness for OsRandomness {
    /// # Panics
    ///
    /// When the operating system has no randomness: nothing that needs a secret may go on then.
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// Makes a secret of `characters` letters and digits, 5 random bits each.
pub(crate) fn random_secret(randomness: &dyn Randomness, characters: usize) -> SecretString {
    crate::id::random_text(randomness, characters).into()
}
