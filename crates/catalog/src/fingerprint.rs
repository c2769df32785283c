use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A set of paths in eight bytes each, which tells whether a path is in it.
///
/// What an upper layer puts in a place hides what lower layers have there and below, and that can be any path; keeping
/// all of them would cost more than all packages together. Two paths collide with a probability of 2^-64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PathFingerprints(Vec<u64>);

impl PathFingerprints {
    pub(crate) fn of(mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.shrink_to_fit();
        Self(hashes)
    }

    /// Tells whether a normalised path, or a directory above it, is in the set.
    pub(crate) fn contains_or_covers(&self, path: &str) -> bool {
        let mut hash = OFFSET_BASIS;
        for &byte in path.as_bytes() {
            if byte == b'/' && self.has(hash) {
                return true;
            }
            hash = add(hash, byte);
        }
        self.has(hash)
    }

    /// Tells whether a normalised path itself is in the set.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.has(fingerprint(path))
    }

    fn has(&self, hash: u64) -> bool {
        self.0.binary_search(&hash).is_ok()
    }
}

/// Computes a normalised path's fingerprint.
///
/// 64-bit FNV-1a (RFC 9923): it goes from left to right, so a path's directories come for free.
pub(crate) fn fingerprint(path: &str) -> u64 {
    path.bytes().fold(OFFSET_BASIS, add)
}

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

fn add(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(PRIME)
}

impl Serialize for PathFingerprints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        serializer.serialize_str(&BASE64.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for PathFingerprints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
        let (hashes, []) = bytes.as_chunks() else {
            return Err(D::Error::custom("a fingerprint is cut off"));
        };
        Ok(Self::of(hashes.iter().copied().map(u64::from_le_bytes).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> PathFingerprints {
        PathFingerprints::of(paths.iter().map(|path| fingerprint(path)).collect())
    }

    #[test]
    fn a_path_covers_itself_and_what_is_below() {
        let covered = set(&["a/b", "c"]);
        for (path, expected) in [
            ("a/b", true),
            ("a/b/c/d", true),
            ("a", false),
            ("a/bc", false),
            ("c/d", true),
            ("", false),
        ] {
            assert_eq!(covered.contains_or_covers(path), expected, "{path}");
            assert_eq!(covered.contains(path), path == "a/b", "{path}");
        }
    }

    #[test]
    fn is_stored_and_read_back() {
        for paths in [&[][..], &["a"], &["a", "b/c", "a"]] {
            let json = serde_json::to_string(&set(paths)).unwrap();
            assert_eq!(
                serde_json::from_str::<PathFingerprints>(&json).unwrap(),
                set(paths)
            );
        }
        let cut = serde_json::from_str::<PathFingerprints>("\"AAAA\"").unwrap_err();
        assert_eq!(cut.to_string(), "a fingerprint is cut off");
    }

    #[test]
    fn fingerprints_are_those_of_fnv_1a() {
        assert_eq!(fingerprint("foobar"), 0x8594_4171_f739_67e8);
    }
}
