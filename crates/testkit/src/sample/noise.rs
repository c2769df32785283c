/// Makes `length` bytes that look random and are always the same for the same `seed`.
///
/// They come from `SplitMix64` (Steele, Lea, Flood 2014), seeded with the text's FNV-1a hash.
pub(super) fn bytes(seed: &str, length: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Picks a number below `end` that is always the same for the same `seed`.
pub(super) fn below(end: usize, seed: &str) -> usize {
    let bytes = bytes(seed, 4);
    bytes
        .iter()
        .fold(0, |number, &byte| (number << 8) | usize::from(byte))
        % end
}
