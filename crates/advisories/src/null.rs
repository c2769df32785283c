//! What programs write as `null` where the formats have nothing.

use serde::{Deserialize, Deserializer};

/// Takes `null` for nothing.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
